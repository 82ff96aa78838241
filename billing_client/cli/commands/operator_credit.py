"""billing operator credit …: credit with its own order, end and meters."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import show_day, show_money
from billing_client.cli.failures import misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.money import parse_major

app = make_app()

_COLUMNS: Final = (
    "id",
    "account_id",
    "name",
    "amount_cents",
    "remaining_cents",
    "currency",
    "priority",
    "expires_at",
    "tags",
    "voided",
)


@app.command("grant")
def grant(
    context: typer.Context,
    *,
    amount: Annotated[str, typer.Argument(help="In major units: 25.00.")],
    currency: Annotated[str, typer.Option(help="Currency of the amount.")] = "usd",
    name: Annotated[str, typer.Option(help="What the customer sees.")] = "",
    expires_in: Annotated[str, typer.Option(help="How long it can be used: 720h, 90m or P30D; default: always.")] = "",
    priority: Annotated[int, typer.Option(help="Lower burns first.")] = 0,
    meter: Annotated[
        list[str] | None, typer.Option(help="A meter whose usage alone it pays (id or event name); may be repeated.")
    ] = None,
    tags: Annotated[str, typer.Option(help="Tags; “paid” marks credit that was paid for.")] = "",
    idempotency_key: Annotated[str, typer.Option(help="Grants once, however often it is sent.")] = "",
) -> None:
    """Give --account credit that pays its invoices before money does."""
    session = Session.of(context)
    account = session.require_account()
    try:
        minor = parse_major(amount, currency)
    except ValueError as error:
        raise misuse(f"amount: {error}") from error
    if minor <= 0:
        raise misuse("amount: it must be above zero")
    body: dict[str, Any] = {"account": account, "amount_cents": minor, "currency": currency.lower()}
    optional = {
        "name": name,
        "expires_in": expires_in,
        "priority": priority,
        "eligibility": list(meter or []),
        "tags": tags,
    }
    body.update({key: value for key, value in optional.items() if value})
    with session.connect("billing:money", caller="operator") as client:
        result = client.post("/api/v1/billing/credit-grants", body, key=idempotency_key or None)
    _show(session, result)


@app.command("void")
def void(
    context: typer.Context,
    *,
    grant_id: Annotated[str, typer.Argument(help="The grant: cgr_….")],
    reason: Annotated[str, typer.Option(help="Why; kept with the grant.")],
) -> None:
    """Make what is left of a grant unusable. What it paid stays paid."""
    session = Session.of(context)
    with session.connect("billing:money", caller="operator") as client:
        result = client.post(f"/api/v1/billing/credit-grants/{quote(grant_id, safe='')}/void", {"reason": reason})
    _show(session, result)


def _show(session: Session, result: dict[str, Any]) -> None:
    row = [
        result["id"],
        result["account_id"],
        result.get("name") or "",
        show_money(result["amount_cents"], result["currency"]),
        show_money(result["remaining_cents"], result["currency"]),
        show_day(result["expires_at"]) if result.get("expires_at") else "never",
        "void" if result.get("voided") else "usable" if result.get("active") else "not usable now",
    ]
    session.output.write(
        Document(
            data=result,
            tables=[
                Table(
                    ["Grant", "Account", "Name", "Amount", "Left", "Ends", "State"],
                    [row],
                    right=frozenset({"Amount", "Left"}),
                )
            ],
            header=_COLUMNS,
            records=[[result.get(column) for column in _COLUMNS]],
        )
    )
