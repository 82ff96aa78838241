"""billing customer …"""

from __future__ import annotations

from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import show_day
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session

app = make_app()


@app.command("show")
def show_customer(context: typer.Context) -> None:
    """Show the account. Alias: billing customer, billing customer info."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        account = client.get(f"/api/v1/billing/accounts/{quote(session.find_account(), safe='')}")
    row = [account["id"], account.get("name"), account.get("email"), show_day(account.get("created_at"))]
    session.output.write(
        Document(
            data=account,
            tables=[Table(["Customer ID", "Name", "Email", "Created"], [row])],
            header=["id", "external_id", "name", "email", "currency", "status", "created_at"],
            records=[
                [account.get(key) for key in ("id", "external_id", "name", "email", "currency", "status", "created_at")]
            ],
        )
    )


@app.callback()
def _group() -> None:
    """Keeps this a group although it holds one command."""
