"""billing account …: any account, for those who serve customers."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from billing_client.cli.commands.shared import show_minute, show_money
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session

app = make_app()

_COLUMNS: Final = ("at", "kind", "subject", "text", "amount", "currency")


@app.command("agenda")
def show_agenda(
    context: typer.Context,
    *,
    account: Annotated[str, typer.Argument(help="Id or external id: acc_…, acme/alice.")],
    until: Annotated[
        str, typer.Option(help="Up to when: a date or a time with offset; default 90 days, at most 400.")
    ] = "",
) -> None:
    """Show what will happen to an account if nobody does anything: renewals, changes, ends, money that expires."""
    session = Session.of(context)
    with session.connect("billing:read", caller="operator") as client:
        agenda = client.get_agenda(account, until=until or None)
    rows = [
        [
            show_minute(entry["at"]),
            entry["text"],
            show_money(entry.get("amount"), entry.get("currency")),
            entry["subject"],
        ]
        for entry in agenda["items"]
    ]
    session.output.write(
        Document(
            data=agenda,
            tables=[Table(["When (UTC)", "What", "Amount", "Subject"], rows, right=frozenset({"Amount"}))]
            if rows
            else [],
            header=_COLUMNS,
            records=[[entry.get(column) for column in _COLUMNS] for entry in agenda["items"]],
            after=[] if rows else [f"Nothing is to be expected before {show_minute(agenda['until'])}"],
        )
    )


@app.callback()
def _accounts() -> None:
    """Keeps this a group although it holds one command."""
