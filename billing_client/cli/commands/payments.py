"""billing payment …: what an account pays with. Card data never goes through here."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.commands.hosted_pages import (
    explain_missing_customer,
    find_named,
    open_checkout,
    open_portal,
    show_page,
)
from billing_client.cli.commands.shared import confirm
from billing_client.cli.failures import CliError
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import BillingError, InvalidState, NotFound

app = make_app()

_METHODS: Final = "/api/v1/billing/payment-methods"
_COLUMNS: Final = ("id", "type", "name", "brand", "last4", "exp_month", "exp_year", "is_default")
_DETAILS: Final = ("funding", "line1", "line2", "city", "state", "postal_code", "country")
_TYPES: Final = {"card": "card", "bank_account": "bank account", "balance": "balance"}


@app.command("list")
def list_methods(
    context: typer.Context,
    *,
    detailed: Annotated[bool, typer.Option("--detailed", help="Also funding and billing address.")] = False,
) -> None:
    """List payment methods, the default first. Alias: billing payment."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        methods = list(client.iterate(_METHODS, {"account": session.find_account()}))
    session.output.write(_render(methods, {"items": methods}, detailed=detailed))


@app.command("add")
def add_method(context: typer.Context) -> None:
    """Print the page on which a payment method is added. It asks for the card; this command never does."""
    session = Session.of(context)
    with session.connect("billing:read", "billing:setup") as client:
        try:
            page = open_portal(session, client)
        except InvalidState as error:
            missing = explain_missing_customer(session, error)
            if missing is None:
                raise
            if find_named(session) is not None:
                raise missing from error
            # The portal is for those whom the provider knows; the first method is entered on the setup page.
            page = open_checkout(session, client)
    session.output.say("Open this page in a browser to add a payment method:")
    show_page(session, page)


@app.command("remove")
def remove_method(
    context: typer.Context,
    *,
    payment_method_id: Annotated[str, typer.Argument(help="pm_…")],
    new_default: Annotated[
        str, typer.Option("--new-default", help="Which one becomes the default; else the newest that is left.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Without a question.")] = False,
) -> None:
    """Remove a payment method. Invoices that it paid keep its name."""
    session = Session.of(context)
    path = f"{_METHODS}/{quote(payment_method_id, safe='')}"
    with session.connect("billing:payment:write", "billing:read") as client:
        try:
            if not force:
                method = client.get(path)
                session.output.say(f"{method['name']}{', the default' if method['is_default'] else ''}")
                confirm(f"Remove {payment_method_id}?")
            result = client.request("DELETE", path, params={"new_default": new_default or None}).data
        except NotFound as error:
            raise _explain_unknown(error, payment_method_id, new_default) from error
        except InvalidState as error:
            if error.code != "last_payment_method":
                raise
            hint = "billing payment add, then remove this one; or billing subscription cancel"
            raise CliError("this is the only payment method of a paying account", hint=hint) from error
    session.output.write(Document(data=result, after=[f"{payment_method_id} is removed"]))


@app.command("default")
def choose_default(context: typer.Context, payment_method_id: Annotated[str, typer.Argument(help="pm_…")]) -> None:
    """Choose the payment method that renewals are charged to. What is being collected keeps its method."""
    session = Session.of(context)
    with session.connect("billing:payment:write") as client:
        path = f"/api/v1/billing/customers/{quote(session.find_account(), safe='')}/default-payment-method"
        try:
            method = client.post(path, {"payment_method_id": payment_method_id})
        except NotFound as error:
            raise _explain_unknown(error, payment_method_id) from error
    session.output.write(_render([method], method))
    session.output.say(f"{method['name']} is the default")


def _explain_unknown(error: NotFound, *names: str) -> BillingError | CliError:
    if error.code not in {"not_found", ""} or error.members.get("object_type") == "account":
        return error
    return CliError(f"payment method not found: {' or '.join(filter(None, names))}", hint="billing payment list")


def _render(methods: list[dict[str, Any]], data: Any, *, detailed: bool = False) -> Document:
    columns = ["ID", "Type", "Name", "Expires", "Default"] + (["Funding", "Address"] if detailed else [])
    rows = []
    for method in methods:
        card, address = method.get("card") or {}, method.get("billing_address") or {}
        place = ", ".join(str(part) for name in _DETAILS[1:] if (part := address.get(name)))
        more = [card.get("funding") or "", place] if detailed else []
        kind = _TYPES.get(method["type"], method["type"])
        rows.append([method["id"], kind, _name(method), _show_expiry(card), _mark(method), *more])
    return Document(
        data=data,
        tables=[Table(columns, rows)],
        after=[] if rows else ["No payment method; billing payment add"],
        header=[*_COLUMNS, *_DETAILS] if detailed else _COLUMNS,
        records=[_record(method, detailed=detailed) for method in methods],
    )


def _name(method: dict[str, Any]) -> str:
    """Return what the service calls it; brand and last four where it says nothing."""
    shown = method.get("card") or method.get("bank_account") or {}
    said = " ".join(filter(None, [shown.get("brand") or shown.get("bank_name"), shown.get("last4")]))
    return str(method.get("name") or said)


def _mark(method: dict[str, Any]) -> str:
    return "yes" if method["is_default"] else ""


def _show_expiry(card: dict[str, Any]) -> str:
    month, year = card.get("exp_month"), card.get("exp_year")
    return f"{int(month):02d}/{year}" if month and year else ""


def _record(method: dict[str, Any], *, detailed: bool) -> list[Any]:
    shown = method.get("card") or method.get("bank_account") or {}
    values = {
        **{name: shown.get(name) for name in ("last4", "exp_month", "exp_year", "funding")},
        "brand": shown.get("brand") or shown.get("bank_name"),
        **{name: method.get(name) for name in ("id", "type", "name")},
        "is_default": str(bool(method["is_default"])).lower(),
    }
    address = method.get("billing_address") or {}
    record = [values[name] for name in _COLUMNS]
    return [*record, values["funding"], *(address.get(name) for name in _DETAILS[1:])] if detailed else record
