"""billing transactions"""

from __future__ import annotations

from typing import Annotated

import typer

from billing_client.cli.commands.shared import show_minute, show_money
from billing_client.cli.output import Document, Table
from billing_client.cli.session import Session

_COLUMNS = ("id", "created_at", "type", "amount", "currency", "tags", "notes")


def run(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 100,
    offset: Annotated[int, typer.Option(help="How many to pass over.", min=0)] = 0,
    currency: Annotated[str, typer.Option(help="Only this currency.")] = "",
) -> None:
    """List the movements of prepaid money, newest first."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        page = client.get(
            "/api/v1/billing/transactions",
            {
                "account": session.find_account(),
                "limit": limit,
                "offset": offset,
                "currency": currency.lower() or None,
            },
        )
    movements = page["transactions"]
    rows = [
        [
            show_minute(movement.get("created_at")),
            movement["type"],
            show_money(movement["amount"], movement["currency"]),
            movement.get("tags") or "",
            movement.get("notes") or "",
            movement["id"],
        ]
        for movement in movements
    ]
    more = page["count"] - offset - len(movements)
    session.output.write(
        Document(
            data=page,
            tables=[Table(["Date", "Type", "Amount", "Tags", "Notes", "ID"], rows, right=frozenset({"Amount"}))],
            after=[f"{more} more: --offset {offset + len(movements)}"] if more > 0 else [],
            header=_COLUMNS,
            records=[[movement.get(column) for column in _COLUMNS] for movement in movements],
        )
    )
