"""billing balance"""

from __future__ import annotations

from typing import Any

import typer

from billing_client.cli.commands.shared import show_day, show_money
from billing_client.cli.output import Document, Table
from billing_client.cli.session import Session
from billing_client.errors import NotFound


def run(context: typer.Context) -> None:
    """Show prepaid money, invoice credit and promotional credit in one table."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        account = session.find_account()
        prepaid = client.get("/api/v1/billing/balance/all", {"account": account})
        currencies = [str(balance["currency"]) for balance in prepaid["balances"]]
        invoice_credit = []
        for currency in currencies or ["usd"]:
            credit = _get(client, "/api/v1/billing/customer-balance", {"account": account, "currency": currency})
            if credit is not None:
                invoice_credit.append(credit)
        promotional = _get(client, "/api/v1/billing/credit-balance/breakdown", {"account": account}) or {}
    rows = _list_rows(prepaid, invoice_credit, promotional)
    shown = [
        [kind, show_money(balance, currency), show_money(holds, currency), show_money(available, currency), note]
        for kind, currency, balance, holds, available, note in rows
    ]
    session.output.write(
        Document(
            data={
                "account_id": prepaid.get("account_id"),
                "balances": prepaid["balances"],
                "customer_balances": invoice_credit,
                "credit": promotional,
            },
            tables=[
                Table(
                    ["Kind", "Balance", "Held", "Available", "Note"],
                    shown,
                    right=frozenset({"Balance", "Held", "Available"}),
                )
            ],
            after=[] if shown else ["No money was ever booked"],
            header=["kind", "currency", "balance", "holds", "available", "note"],
            records=rows,
        )
    )


def _list_rows(
    prepaid: dict[str, Any], invoice_credit: list[dict[str, Any]], promotional: dict[str, Any]
) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["Prepaid", entry["currency"], entry["balance"], entry.get("holds", 0), entry.get("available"), ""]
        for entry in prepaid["balances"]
    ]
    rows.extend(
        ["Invoice credit", entry["currency"], entry["balance"], 0, entry["balance"], ""]
        for entry in invoice_credit
        if entry.get("balance")
    )
    for tag, entry in (promotional.get("breakdown") or {}).items():
        note = f"until {show_day(entry['expires_at'])}" if entry.get("expires_at") else ""
        rows.append([f"Credit: {tag}", entry.get("currency"), entry.get("cents"), 0, entry.get("cents"), note])
    return rows


def _get(client: Any, path: str, params: dict[str, str]) -> Any:
    """Return an answer, or None from a service that does not keep this kind of money."""
    try:
        return client.get(path, params)
    except NotFound:
        return None
