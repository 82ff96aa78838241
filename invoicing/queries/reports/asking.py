"""What somebody asks of a report, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from billing_site.kernel.csv_text import keep_as_text, write_lines
from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import add_months

MAX_MONTHS: Final = 120
# Columns in minor units of the row's currency.
AMOUNTS: Final = frozenset(
    """
    recurring_revenue new_revenue expansion contraction churned_revenue reactivation average_revenue lifetime_value
    amount receivables discount revenue net tax total base
    """.split()
)
_MONTH: Final = re.compile(r"\d{4}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Whose report, of which calendar months (UTC), in which currency; None is all.

    `first` and `last` are the first days of the first and the last month, both included.
    """

    at: datetime
    first: date
    last: date
    org_id: str | None = None
    currency: str | None = None

    @property
    def months(self) -> list[date]:
        count = (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1
        return [add_months(self.first, number) for number in range(count)]

    @property
    def start(self) -> datetime:
        return month_start(self.first)

    @property
    def end(self) -> datetime:
        """The end of the last month, exclusive."""
        return month_start(add_months(self.last, 1))

    @property
    def values(self) -> dict[str, Any]:
        """What every statement is given."""
        return {
            "org": self.org_id,
            "currency": self.currency,
            "start": self.start,
            "end": self.end,
            "first": self.first,
            "after": add_months(self.last, 1),
            "at": self.at,
        }


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Named columns and rows of plain values: text, whole numbers, exact decimals, nothing."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]

    def as_csv(self) -> Iterator[str]:
        """Yield the lines of a file."""
        yield from write_lines([list(self.columns)])
        yield from write_lines([_write(row[name]) for name in self.columns] for row in self.rows)


def _write(value: Any) -> str:
    if value is None:
        return ""
    return keep_as_text(value) if isinstance(value, str) else f"{value}"


def month_start(day: date) -> datetime:
    """Return the instant at which a month begins in UTC."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def choose_months(*, start: str | None, end: str | None, count: int, at: datetime) -> tuple[date, date]:
    """
    Return the first days of the first and the last month that `start` and `end` (`YYYY-MM` or dates) name.

    The last is that of `at` unless `end` names one; without `start` there are `count` of them.
    :raises PeriodNotValid: for what cannot be read, a reversed period, or one of more than ten years.
    """
    last = _read_month(end) or at.astimezone(UTC).date().replace(day=1)
    first = _read_month(start) or add_months(last, 1 - count)
    if first > last:
        raise PeriodNotValid("The end is before the start.")
    if (last.year - first.year) * 12 + last.month - first.month >= MAX_MONTHS:
        raise PeriodNotValid(f"A report covers {MAX_MONTHS} months at most.")
    return first, last


def _read_month(text: str | None) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text).replace(day=1)
    except ValueError:
        raise PeriodNotValid(f"{text!r:.40} is neither YYYY-MM nor a date.") from None


def divide(part: int, whole: int, *, places: str = "0.0001") -> Decimal | None:
    """Return `part / whole` as an exact decimal cut to `places`; None of nothing."""
    return None if not whole else (Decimal(part) / whole).quantize(Decimal(places))


def last_moment(month: date, at: datetime) -> datetime:
    """Return the last instant of a month, or `at` where the month is not over."""
    return min(at, month_start(add_months(month, 1)) - timedelta(microseconds=1))
