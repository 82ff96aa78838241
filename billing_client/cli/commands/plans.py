"""billing plan …"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import read_decimal, show_money
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound
from billing_client.money import format_number, format_unit_price

app = make_app()


@app.command("list")
def list_plans(
    context: typer.Context,
    interval: Annotated[str, typer.Option(help="month or year: the price billed so.")] = "month",
    category: Annotated[str, typer.Option(help="Only this category.")] = "",
    features: Annotated[bool, typer.Option("--features", help="With all features.")] = False,
) -> None:
    """List the plans on offer. Alias: billing plan."""
    if interval not in {"month", "year"}:
        raise misuse(f"--interval: {interval} is neither month nor year")
    session = Session.of(context)
    with session.connect("billing:read") as client:
        plans = list(client.iterate("/api/v1/billing/plans", {"category": category or None}))
    key = "price" if interval == "month" else "price_annual"
    rows = [[plan["id"], _show_price(plan, key), _show_features(plan, every=features)] for plan in plans]
    session.output.write(
        Document(
            data={"items": plans},
            tables=[Table(["Plan", "Price/Month", "Features"], rows, right=frozenset({"Price/Month"}))],
            after=[
                "billing plan show PLAN shows limits and prices",
                "billing subscription create PLAN starts a subscription",
            ],
            header=["id", "name", "product_id", "price", "price_annual", "currency"],
            records=[
                [plan.get(name) for name in ("id", "name", "product_id", "price", "price_annual", "currency")]
                for plan in plans
            ],
        )
    )


@app.command("show")
def show_plan(context: typer.Context, plan: Annotated[str, typer.Argument(help="Plan id; case-sensitive.")]) -> None:
    """Show the limits and prices of PLAN."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        try:
            found = client.get(f"/api/v1/billing/plans/{quote(plan, safe='')}")
        except NotFound as error:
            raise CliError(f"plan not found: {plan}", hint="billing plan list; names are case-sensitive") from error
    limits = [
        [quota["meter_event_name"], f"{_show_limit(quota['limit'])} per {str(quota['window']).replace('_', ' ')}"]
        for quota in found.get("quotas") or []
    ]
    prices = [[_name_price(price), _show_rate(price)] for price in found.get("prices") or []]
    price = _show_price(found, "price")
    terms = {"Usage": "billed by usage", "Custom": "price on request"}.get(price, f"{price} per month")
    head = f"{found.get('name') or found['id']}, {terms}"
    session.output.write(
        Document(
            data=found,
            tables=[
                Table(["Service", "Limit"], limits or [["all", "Unlimited"]], title=head),
                *([Table(["Price", "Amount"], prices, right=frozenset({"Amount"}))] if prices else []),
            ],
            after=[str(found["description"])] if found.get("description") else [],
            header=["service", "limit", "window", "enforcement"],
            records=[
                [quota["meter_event_name"], quota["limit"], quota["window"], quota.get("enforcement")]
                for quota in found.get("quotas") or []
            ],
        )
    )


def _show_price(plan: dict[str, Any], key: str) -> str:
    if plan.get("contact_sales"):
        return "Custom"
    if plan.get(key) is None:
        return "Usage" if any(price.get("meter") for price in plan.get("prices") or []) else "-"
    return show_money(plan[key], plan.get("currency"))


def _show_features(plan: dict[str, Any], *, every: bool) -> str:
    texts = [str(text) for text in plan.get("features") or plan.get("feature_scopes") or []]
    if every or len(texts) <= 2:
        return ", ".join(texts)
    return f"{', '.join(texts[:2])} and {len(texts) - 2} more"


def _show_limit(limit: Any) -> str:
    return "Unlimited" if limit is None or int(limit) == -1 else format_number(read_decimal(limit))


def _name_price(price: dict[str, Any]) -> str:
    count = int(price.get("interval_count") or 1)
    interval = price.get("interval") if count == 1 else f"{count} {price.get('interval')}s"
    return f"{price['meter']}, by the {interval}" if price.get("meter") else f"Fee per {interval}"


def _show_rate(price: dict[str, Any]) -> str:
    currency = str(price["currency"])
    if not price.get("meter") and price.get("unit_amount") is not None:
        return show_money(price["unit_amount"], currency)
    amount = read_decimal(price.get("unit_amount_decimal", price.get("unit_amount")))
    return f"{format_unit_price(amount, currency)} {price.get('unit') or 'units'}"
