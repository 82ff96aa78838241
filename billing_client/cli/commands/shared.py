"""What several commands show the same way: instants, periods, amounts."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import typer

from billing_client.cli.failures import CliError, misuse
from billing_client.money import format_money


def show_day(instant: str | None) -> str:
    """Return the day of an instant or date."""
    return (instant or "")[:10]


def show_minute(instant: str | None) -> str:
    """Return an instant to the minute, UTC."""
    return f"{instant[:10]} {instant[11:16]}" if instant and len(instant) > 16 else instant or ""


def show_period(start: str | None, end: str | None) -> str:
    """Return a half-open period as the service gives it: its first day and the day it ends on."""
    return f"{show_day(start)} to {show_day(end)}" if start or end else ""


def show_money(amount: Any, currency: str | None) -> str:
    """Return minor units for people; nothing where there is no amount."""
    return "" if amount is None else format_money(int(amount), currency or "usd")


def read_decimal(value: Any) -> Decimal:
    """Return an exact number of an answer, which may be text or number."""
    return Decimal(str(value if value is not None else 0))


def check_date(text: str | None, name: str) -> str | None:
    """
    Return a date as it was given.

    :raises CliError: exit code 2 if it is none.
    """
    from datetime import date

    if text is None:
        return None
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise misuse(f"{name}: {text} is not a date such as 2026-01-31") from error
    return text


def confirm(question: str) -> None:
    """
    Ask before something that costs or ends something.

    :raises CliError: exit code 2 where nobody can answer, 1 when the answer is no.
    """
    if not sys.stdin.isatty():
        raise misuse("there is nobody to ask", hint="--force does it without a question")
    if not typer.confirm(question, err=True):
        raise CliError("nothing was done")
