"""billing operator …: for those who run billing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from billing_client.cli.commands import (
    operator_catalog,
    operator_credit,
    operator_cycle,
    operator_impact,
    operator_invoice,
    operator_moves,
    operator_prices,
    operator_stripe,
    operator_usage,
    operator_usage_events,
    status,
)
from billing_client.cli.commands.shared import show_money
from billing_client.cli.failures import misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.money import parse_major

app = make_app()
app.add_typer(operator_catalog.app, name="catalog", help="The catalog: products, plans, prices, meters, quotas.")
operator_catalog.app.command("impact")(operator_impact.show_impact)
app.add_typer(operator_moves.app, name="plan", help="Running subscriptions and the versions of their plan.")
app.add_typer(operator_prices.app, name="price", help="Prices negotiated with single accounts.")
app.add_typer(operator_credit.app, name="credit", help="Credit: give it, take it back.")
app.add_typer(operator_cycle.app, name="cycle", help="Billing cycles: issue what is due.")
app.add_typer(operator_invoice.app, name="invoice", help="Finalize and void invoices.")
app.add_typer(operator_stripe.app, name="stripe", help="The payment provider: test the key, synchronise the catalog.")
app.add_typer(operator_usage.app, name="usage", help="Usage events: collect the feed, find and correct single ones.")
operator_usage.app.command("find")(operator_usage_events.find_events)
operator_usage.app.command("show")(operator_usage_events.show_event)
operator_usage.app.command("void")(operator_usage_events.void_event)
operator_usage.app.command("amend")(operator_usage_events.amend_event)
app.command("status")(status.run_for_operator)
accounts = make_app()
app.add_typer(accounts, name="account", help="Accounts.")


@accounts.command("create")
def create_account(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="Name on invoices; default: the external id.")] = "",
    external_id: Annotated[str, typer.Option(help="Your handle for it, such as acme/alice.")] = "",
    email: Annotated[str, typer.Option(help="Where invoices go.")] = "",
    currency: Annotated[str, typer.Option(help="Its currency.")] = "usd",
    timezone: Annotated[str, typer.Option(help="IANA zone whose midnights bound its periods; default UTC.")] = "",
) -> None:
    """Open an account."""
    if not name and not external_id:
        raise misuse("--name or --external-id is required")
    body = {"name": name or external_id, "currency": currency.lower()}
    optional = {"external_id": external_id, "email": email, "timezone": timezone}
    body.update({key: value for key, value in optional.items() if value})
    session = Session.of(context)
    with session.connect("billing:account:write", caller="operator") as client:
        account = client.post("/api/v1/billing/accounts", body)
    columns = ("id", "external_id", "name", "email", "currency")
    row = [account.get(column) for column in columns]
    session.output.write(
        Document(
            data=account,
            tables=[Table(["Customer ID", "External ID", "Name", "Email", "Currency"], [row])],
            header=columns,
            records=[row],
        )
    )


@accounts.callback()
def _accounts() -> None:
    """Keeps this a group although it holds one command."""


@app.command("deposit")
def deposit(
    context: typer.Context,
    *,
    amount: Annotated[str, typer.Argument(help="In major units: 25.00.")],
    currency: Annotated[str, typer.Option(help="Currency of the amount.")] = "usd",
    notes: Annotated[str, typer.Option(help="Shown in the list of movements.")] = "",
    tags: Annotated[str, typer.Option(help="Tags.")] = "",
    expires_in: Annotated[int, typer.Option(help="Days until the rest lapses; 0 = never.", min=0)] = 0,
    idempotency_key: Annotated[str, typer.Option(help="Deposits once, however often it is sent.")] = "",
) -> None:
    """Put money on the prepaid balance of --account."""
    session = Session.of(context)
    account = session.require_account()
    try:
        minor = parse_major(amount, currency)
    except ValueError as error:
        raise misuse(f"amount: {error}") from error
    if minor <= 0:
        raise misuse("amount: it must be above zero")
    body: dict[str, Any] = {"account": account, "amount": minor, "currency": currency.lower()}
    optional = {"notes": notes, "tags": tags, "expires_in": expires_in}
    body.update({key: value for key, value in optional.items() if value})
    with session.connect("billing:money", caller="operator") as client:
        result = client.post("/api/v1/billing/deposit", body, key=idempotency_key or None)
    columns = ("transaction_id", "account_id", "amount", "currency", "expires_at")
    session.output.write(
        Document(
            data=result,
            tables=[
                Table(
                    ["Transaction", "Account", "Amount", "Expires"],
                    [
                        [
                            result["transaction_id"],
                            result["account_id"],
                            show_money(result["amount"], result["currency"]),
                            result.get("expires_at") or "never",
                        ]
                    ],
                    right=frozenset({"Amount"}),
                )
            ],
            header=columns,
            records=[[result.get(column) for column in columns]],
        )
    )
