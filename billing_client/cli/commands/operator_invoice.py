"""billing operator invoice …"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

import typer

from billing_client.cli.commands.invoices import render_invoices
from billing_client.cli.failures import CliError
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound

app = make_app()


@app.command("finalize")
def finalize_invoice(
    context: typer.Context,
    invoice_id: Annotated[str, typer.Argument(help="Id of a draft.")],
    collect: Annotated[bool, typer.Option("--collect", help="Try to collect at once.")] = False,
) -> None:
    """Close a draft: it gets its number, its amounts are fixed, it can be paid."""
    _act(context, invoice_id, "finalize", {"collect": collect})


@app.command("void")
def void_invoice(
    context: typer.Context,
    invoice_id: Annotated[str, typer.Argument(help="Id or number.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the invoice.")] = "",
) -> None:
    """Cancel a draft or open invoice. Its number stays used."""
    _act(context, invoice_id, "void", {"reason": reason} if reason else {})


def _act(context: typer.Context, invoice_id: str, action: str, body: dict[str, Any]) -> None:
    session = Session.of(context)
    with session.connect("billing:invoice:write", caller="operator") as client:
        try:
            invoice = client.post(f"/api/v1/billing/invoices/{quote(invoice_id, safe='')}/{action}", body)
        except NotFound as error:
            raise CliError(f"invoice not found: {invoice_id}", hint="billing invoice list") from error
    session.output.write(replace(render_invoices([invoice]), data=invoice))
