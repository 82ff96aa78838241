"""billing customer …"""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.commands.portal import RETURN_URL, run_portal
from billing_client.cli.commands.shared import show_day
from billing_client.cli.failures import CliError
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session

app = make_app()

_COLUMNS: Final = ("id", "external_id", "name", "email", "currency", "status", "created_at")


@app.command("show")
def show_customer(context: typer.Context) -> None:
    """Show the account. Alias: billing customer, billing customer info."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        account = client.get(_path(session.find_account()))
    session.output.write(_render(account))


@app.command("update")
def update_customer(
    context: typer.Context,
    *,
    email: Annotated[str | None, typer.Option(help="E-mail address for invoices.")] = None,
    name: Annotated[str | None, typer.Option(help="Name on invoices.")] = None,
    phone: Annotated[str | None, typer.Option(help="Phone number.")] = None,
    company: Annotated[str | None, typer.Option(help="Company.")] = None,
    address: Annotated[str | None, typer.Option(help="First line of the address.")] = None,
    city: Annotated[str | None, typer.Option(help="City.")] = None,
    state: Annotated[str | None, typer.Option(help="Code of the region or province.")] = None,
    postal_code: Annotated[str | None, typer.Option("--zip", help="Postal code.")] = None,
    country: Annotated[str | None, typer.Option(help="ISO code of the country, such as DE.")] = None,
    tax_id: Annotated[str | None, typer.Option("--tax-id", help="Tax number, as the country has it.")] = None,
) -> None:
    """Change the profile of the account. What is left out stays; an empty text ('') empties a field."""
    profile = {"email": email, "name": name, "phone": phone, "company": company, "tax_id": tax_id}
    place = {"line1": address, "city": city, "state": state, "postal_code": postal_code, "country": country}
    body: dict[str, Any] = {key: value for key, value in profile.items() if value is not None}
    if parts := {key: value for key, value in place.items() if value is not None}:
        body["address"] = parts
    if not body:
        raise CliError("nothing to change", hint="billing customer update --help lists what can be changed")
    session = Session.of(context)
    with session.connect("billing:account:write") as client:
        # The same change twice is one change.
        path = _path(session.find_account())
        account = client.request("PATCH", path, json_body=body, repeatable=True).data
    session.output.write(_render(account))
    session.output.say("Customer updated")


@app.command("portal")
def open_customer_portal(
    context: typer.Context,
    *,
    return_url: Annotated[str, typer.Option("--return-url", help=RETURN_URL)] = "",
    url: Annotated[bool, typer.Option("--url", help="Print nothing but the address.")] = False,
) -> None:
    """Print the address of the page on which cards, invoices and subscriptions are managed."""
    session = Session.of(context)
    run_portal(session, return_url=return_url)
    if not url:
        session.output.say("Portal session created")


def _path(account: str) -> str:
    return f"/api/v1/billing/accounts/{quote(account, safe='')}"


def _render(account: dict[str, Any]) -> Document:
    row = [account["id"], account.get("name"), account.get("email"), show_day(account.get("created_at"))]
    return Document(
        data=account,
        tables=[Table(["Customer ID", "Name", "Email", "Created"], [row])],
        header=list(_COLUMNS),
        records=[[account.get(key) for key in _COLUMNS]],
    )
