"""billing plan …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from billing_client.cli.commands.plan_prices import name_price, show_limit, show_price, show_quota, show_rate
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound

if TYPE_CHECKING:
    from billing_client.http import BillingClient

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
    rows = [[plan["id"], show_price(plan, key), _show_features(plan, every=features)] for plan in plans]
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
def show_plan(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(help="Plan id; case-sensitive.")],
    compare: Annotated[bool, typer.Option("--compare", help="Against the present plan.")] = False,
) -> None:
    """Show the limits and prices of PLAN."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        found = _get_plan(client, plan)
        present = _get_plan(client, _get_current_plan_id(session, client)) if compare else None
    if present is not None:
        session.output.write(_compare([present, found]))
        return
    session.output.write(_render(found))


@app.command("compare")
def compare_plans(
    context: typer.Context, plans: Annotated[str, typer.Option(help="Plan ids, separated by commas.")] = ""
) -> None:
    """Show plans side by side: the price first, then a row per service."""
    session = Session.of(context)
    wanted = [name.strip() for name in plans.split(",") if name.strip()]
    with session.connect("billing:read") as client:
        found = {plan["id"]: plan for plan in client.iterate("/api/v1/billing/plans", {})}
    for name in wanted:
        if name not in found:
            raise CliError(f"plan not found: {name}", hint="billing plan list; names are case-sensitive")
    session.output.write(_compare([found[name] for name in wanted] if wanted else list(found.values())))


@app.command("current")
def show_current_plan(context: typer.Context) -> None:
    """Show the plan of the account's subscription."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        found = _get_plan(client, _get_current_plan_id(session, client))
    session.output.write(_render(found))


def _get_plan(client: BillingClient, plan: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.get(f"/api/v1/billing/plans/{quote(plan, safe='')}")
    except NotFound as error:
        raise CliError(f"plan not found: {plan}", hint="billing plan list; names are case-sensitive") from error
    return found


def _get_current_plan_id(session: Session, client: BillingClient) -> str:
    from billing_client.http import account_path

    try:
        return str(client.get(account_path(session.find_account(), "subscription"))["plan_id"])
    except NotFound as error:
        raise CliError("no active subscription", hint="billing subscription create PLAN") from error


def _render(found: dict[str, Any]) -> Document:
    quotas = found.get("quotas") or []
    limits = [[quota["meter_event_name"], show_quota(quota)] for quota in quotas]
    prices = [[name_price(price), show_rate(price)] for price in found.get("prices") or []]
    price = show_price(found, "price")
    terms = {"Usage": "billed by usage", "Custom": "price on request"}.get(price, f"{price} per month")
    head = f"{found.get('name') or found['id']}, {terms}"
    return Document(
        data=found,
        tables=[
            Table(["Service", "Limit"], limits or [["all", "Unlimited"]], title=head),
            *([Table(["Price", "Amount"], prices, right=frozenset({"Amount"}))] if prices else []),
        ],
        after=[str(found["description"])] if found.get("description") else [],
        header=["service", "limit", "window", "enforcement"],
        records=[
            [quota["meter_event_name"], quota["limit"], quota["window"], quota.get("enforcement")] for quota in quotas
        ],
    )


def _compare(plans: list[dict[str, Any]]) -> Document:
    """Return plans side by side; a service without a limit is unlimited, one without a price included."""
    rows: list[list[str]] = [
        ["Price/Month", *(show_price(plan, "price") for plan in plans)],
        ["Price/Month, yearly", *(show_price(plan, "price_annual") for plan in plans)],
    ]
    quotas = [
        {(quota["meter_event_name"], quota["window"]): quota for quota in plan.get("quotas") or []} for plan in plans
    ]
    for service, window in dict.fromkeys(key for each in quotas for key in each):
        found = [each.get((service, window)) for each in quotas]
        name = f"{service} per {str(window).replace('_', ' ')}"
        rows.append([name, *("Unlimited" if quota is None else show_limit(quota["limit"]) for quota in found)])
    prices = [{price["meter"]: price for price in _list_usage_prices(plan)} for plan in plans]
    for meter in dict.fromkeys(key for each in prices for key in each):
        rates = [each.get(meter) for each in prices]
        rows.append([f"{meter}, price", *("-" if price is None else show_rate(price) for price in rates)])
    names = [str(plan.get("name") or plan["id"]) for plan in plans]
    return Document(
        data={"items": plans},
        tables=[Table(["", *names], rows, right=frozenset(names))],
        header=["row", *(str(plan["id"]) for plan in plans)],
        records=rows,
    )


def _list_usage_prices(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the usage prices that go with the price shown: those in its currency, by its interval where it has one."""
    prices = [price for price in plan.get("prices") or [] if price.get("meter")]
    in_currency = [price for price in prices if price["currency"] == plan.get("currency")] or prices
    return [price for price in in_currency if price.get("interval") == plan.get("interval")] or in_currency


def _show_features(plan: dict[str, Any], *, every: bool) -> str:
    texts = [str(text) for text in plan.get("features") or plan.get("feature_scopes") or []]
    if every or len(texts) <= 2:
        return ", ".join(texts)
    return f"{', '.join(texts[:2])} and {len(texts) - 2} more"
