"""billing setup"""

from __future__ import annotations

from typing import Annotated

import typer

from billing_client.cli.commands.hosted_pages import open_checkout, show_page
from billing_client.cli.failures import CliError
from billing_client.cli.session import Session
from billing_client.errors import NotFound


def run(
    context: typer.Context,
    *,
    feature: Annotated[str, typer.Option(help="What is wanted, such as llm:proxy: the cheapest plan with it.")] = "",
    plan: Annotated[str, typer.Option(help="Plan to subscribe to; wins over --feature.")] = "",
    return_url: Annotated[
        str, typer.Option("--return-url", help="Where the page leads back to; its origin must be allowed there.")
    ] = "",
) -> None:
    """Print the address of the page on which payment is set up. Card data is entered there, never here."""
    session = Session.of(context)
    wanted = {"plan": plan} if plan else {"feature": feature}
    with session.connect("billing:setup") as client:
        try:
            page = open_checkout(session, client, return_url=return_url, **wanted)
        except NotFound as error:
            if error.code != "plan_not_found":
                raise
            missing = f"plan not found: {plan}" if plan else f"no plan offers {feature}"
            raise CliError(missing, hint="billing plan list; names are case-sensitive") from error
    show_page(session, page)
