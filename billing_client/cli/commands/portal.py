"""billing portal"""

from __future__ import annotations

from typing import Annotated

import typer

from billing_client.cli.commands.hosted_pages import explain_missing_customer, open_portal, show_page
from billing_client.cli.session import Session
from billing_client.errors import InvalidState

RETURN_URL = "Where the page leads back to; its origin must be allowed there."


def run(
    context: typer.Context, *, return_url: Annotated[str, typer.Option("--return-url", help=RETURN_URL)] = ""
) -> None:
    """Print the address of the page on which cards, invoices and subscriptions are managed."""
    run_portal(Session.of(context), return_url=return_url)


def run_portal(session: Session, *, return_url: str) -> None:
    """Open the portal and print its address."""
    with session.connect("billing:read") as client:
        try:
            page = open_portal(session, client, return_url=return_url)
        except InvalidState as error:
            raise explain_missing_customer(session, error) or error from error
    show_page(session, page)
