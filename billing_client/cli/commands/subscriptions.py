"""billing subscription …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from billing_client.cli.commands.plans import list_plans
from billing_client.cli.commands.shared import confirm, show_day, show_minute, show_money, show_period
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound

if TYPE_CHECKING:
    from billing_client.http import BillingClient

app = make_app()
_REASONS: Final = ("low_quality", "too_expensive", "switching_providers", "no_longer_needed", "other")

_COLUMNS = ("id", "plan_id", "status", "quantity", "current_period_start", "current_period_end", "cancel_at_period_end")


@app.command("show")
def show_subscription(
    context: typer.Context,
    include: Annotated[str, typer.Option(help="history: what happened to it.", metavar="history")] = "",
    product: Annotated[str, typer.Option(help="Product id, when several subscriptions run.")] = "",
) -> None:
    """Show the running subscription. Alias: billing subscription, billing subscription current."""
    from billing_client.http import account_path

    if include not in {"", "history"}:
        raise misuse(f"--include: {include} is not history")
    session = Session.of(context)
    with session.connect("billing:read") as client:
        account = session.find_account()
        try:
            subscription = client.get(account_path(account, "subscription"), {"product": product or None})
        except NotFound as error:
            if error.code == "subscription_not_found":
                raise CliError(
                    "no active subscription", hint="billing plan list; billing subscription create"
                ) from error
            raise
        events: list[dict[str, Any]] = []
        if include:
            events = list(
                client.iterate(
                    "/api/v1/billing/events", {"account": account, "object_id": subscription["id"]}, limit=100
                )
            )
    session.output.write(_render(subscription, events, with_history=bool(include)))


@app.command("create")
def create_subscription(
    context: typer.Context,
    *,
    plan: Annotated[str, typer.Argument(help="Plan id; case-sensitive.")],
    quantity: Annotated[int, typer.Option(help="Seats.", min=1)] = 1,
    interval: Annotated[str, typer.Option(help="month or year.")] = "month",
    coupon: Annotated[str, typer.Option(help="Coupon code.")] = "",
    payment_method: Annotated[str, typer.Option(help="Id of a payment method.")] = "",
    currency: Annotated[str, typer.Option(help="Currency of the prices.")] = "",
) -> None:
    """Start a subscription to PLAN."""
    if interval not in {"month", "year"}:
        raise misuse(f"--interval: {interval} is neither month nor year")
    session = Session.of(context)
    body: dict[str, Any] = {"plan_id": plan, "quantity": quantity, "interval": interval}
    optional = {"coupon_code": coupon, "default_payment_method": payment_method, "currency": currency.lower()}
    body.update({name: value for name, value in optional.items() if value})
    with session.connect("billing:subscription:write") as client:
        body["account"] = session.find_account()
        try:
            subscription = client.post("/api/v1/billing/subscriptions", body)
        except NotFound as error:
            if error.code == "plan_not_found":
                raise CliError(f"plan not found: {plan}", hint="billing plan list; names are case-sensitive") from error
            raise
    session.output.write(_render(subscription, []))
    session.output.say("Subscription created")


@app.command("cancel")
def cancel_subscription(
    context: typer.Context,
    *,
    immediate: Annotated[
        bool, typer.Option("--immediate", "--immediately", help="Now; what was used so far is invoiced.")
    ] = False,
    at_period_end: Annotated[bool, typer.Option("--at-period-end", help="With the period, the default.")] = False,
    reason: Annotated[str, typer.Option(help=f"One of: {', '.join(_REASONS)}.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> None:
    """Cancel the running subscription: with its period, or at once."""
    if immediate and at_period_end:
        raise misuse("--immediate and --at-period-end contradict each other")
    reason = reason.replace("-", "_")
    if reason and reason not in _REASONS:
        raise misuse(f"--reason: {reason} is not one of {', '.join(_REASONS)}")
    session = Session.of(context)
    with session.connect("billing:subscription:write", "billing:read") as client:
        subscription = _get_running(session, client)
        when = "now" if immediate else f"on {show_day(subscription['current_period_end'])}"
        if not force:
            confirm(f"Cancel {subscription['plan_id']} {when}?")
        body = {"immediately": immediate, **({"reason": reason} if reason else {})}
        subscription = client.post(f"/api/v1/billing/subscriptions/{subscription['id']}/cancel", body)
    session.output.write(_render(subscription, []))
    session.output.say("Subscription canceled" if immediate else f"Subscription ends {when}")


@app.command("reactivate")
def reactivate_subscription(context: typer.Context) -> None:
    """Take back a scheduled cancellation."""
    session = Session.of(context)
    with session.connect("billing:subscription:write", "billing:read") as client:
        subscription = _get_running(session, client)
        if not subscription.get("cancel_at_period_end"):
            raise CliError("the subscription is not set to cancel")
        subscription = client.post(f"/api/v1/billing/subscriptions/{subscription['id']}/reactivate", {})
    session.output.write(_render(subscription, []))
    session.output.say("Subscription goes on")


@app.command("upgrade")
def upgrade_subscription(
    context: typer.Context,
    *,
    plan: Annotated[str, typer.Argument(help="Plan id; case-sensitive.")],
    preview: Annotated[bool, typer.Option("--preview", help="Show the amounts, change nothing.")] = False,
    interval: Annotated[str, typer.Option(help="month or year.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> None:
    """Move to the dearer PLAN at once; the prorated difference is invoiced now."""
    if interval not in {"", "month", "year"}:
        raise misuse(f"--interval: {interval} is neither month nor year")
    body = {"effective": "immediate", "proration_behavior": "always_invoice"}
    _change_plan(
        Session.of(context),
        plan,
        {**body, **({"interval": interval} if interval else {})},
        direction="upgrade",
        is_preview=preview,
        force=force,
    )


@app.command("downgrade")
def downgrade_subscription(
    context: typer.Context,
    *,
    plan: Annotated[str, typer.Argument(help="Plan id; case-sensitive.")],
    preview: Annotated[bool, typer.Option("--preview", help="Show the effect, change nothing.")] = False,
    immediate: Annotated[bool, typer.Option("--immediate", help="Now, with credit for unused time.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> None:
    """Move to the cheaper PLAN with the next period, or at once."""
    at_once = {"effective": "immediate", "proration_behavior": "always_invoice"}
    body = at_once if immediate else {"effective": "period_end"}
    _change_plan(Session.of(context), plan, body, direction="downgrade", is_preview=preview, force=force)


@app.command("pause")
def pause_subscription(
    context: typer.Context,
    until: Annotated[str, typer.Option(help="When it goes on by itself: 2026-03-01T00:00:00Z or a date.")] = "",
) -> None:
    """Stop billing and access for a while."""
    session = Session.of(context)
    with session.connect("billing:subscription:write", "billing:read") as client:
        subscription = _get_running(session, client)
        body = {"resume_at": until} if until else {}
        subscription = client.post(f"/api/v1/billing/subscriptions/{subscription['id']}/pause", body)
    session.output.write(_render(subscription, []))
    session.output.say("Subscription paused" + (f" until {until}" if until else ""))


@app.command("resume")
def resume_subscription(context: typer.Context) -> None:
    """End a pause."""
    session = Session.of(context)
    with session.connect("billing:subscription:write", "billing:read") as client:
        subscription = _get_running(session, client)
        subscription = client.post(f"/api/v1/billing/subscriptions/{subscription['id']}/resume", {})
    session.output.write(_render(subscription, []))
    session.output.say("Subscription goes on")


def _change_plan(
    session: Session, plan: str, body: dict[str, Any], *, direction: str, is_preview: bool, force: bool
) -> None:
    """Look what the change would come to, ask, and do it."""
    asked = {"plan_id": plan, **body}
    with session.connect("billing:subscription:write", "billing:read") as client:
        door = f"/api/v1/billing/subscriptions/{_get_running(session, client)['id']}/change-plan"
        try:
            shown = client.post(door, {**asked, "preview": True})
        except NotFound as error:
            if error.code == "plan_not_found":
                raise CliError(f"plan not found: {plan}", hint="billing plan list; names are case-sensitive") from error
            raise
        preview = shown["preview"]
        if preview["direction"] != direction:
            what = "dearer" if direction == "upgrade" else "cheaper"
            raise CliError(f"{plan} is not {what} than the present plan", hint="billing plan compare")
        if is_preview:
            session.output.write(_render_preview(shown, preview))
            return
        if not force:
            session.output.say("\n".join(_describe_change(preview)))
            confirm(f"Change to {plan}?")
        subscription = client.post(door, asked)
    session.output.write(_render(subscription, []))
    session.output.say("\n".join(_describe_change(preview)))


def _render_preview(shown: dict[str, Any], preview: dict[str, Any]) -> Document:
    currency = preview["currency"]
    rows = [
        [
            line["description"],
            show_period(line["period_start"], line["period_end"]),
            str(line["quantity"]),
            line["share"] or "",
            show_money(line["amount"], currency),
        ]
        for line in preview["lines"]
    ]
    columns = ["Description", "Period", "Quantity", "Share", "Amount"]
    return Document(
        data=shown,
        tables=[Table(columns, rows)] if rows else [],
        after=_describe_change(preview),
        header=tuple(columns),
        records=rows,
    )


def _describe_change(preview: dict[str, Any]) -> list[str]:
    day = show_day(preview["effective_at"])
    if preview["when"] == "period_end":
        return [f"Takes effect at the end of the period, {day}; nothing is charged now"]
    total, due = int(preview["total"]), int(preview["amount_due"])
    if total < 0:
        return [f"Takes effect now, {show_money(-total, preview['currency'])} become credit"]
    return [f"Takes effect now, {show_money(due, preview['currency'])} to pay"]


def _get_running(session: Session, client: BillingClient) -> dict[str, Any]:
    from billing_client.http import account_path

    try:
        found: dict[str, Any] = client.get(account_path(session.find_account(), "subscription"))
    except NotFound as error:
        raise CliError("no active subscription", hint="billing plan list; billing subscription create") from error
    return found


def _render(subscription: dict[str, Any], events: list[dict[str, Any]], *, with_history: bool = False) -> Document:
    plan = subscription.get("plan") or {}
    start, end = subscription.get("current_period_start"), subscription.get("current_period_end")
    name = str(plan.get("name") or subscription["plan_id"])
    if plan.get("price"):
        price = show_money(plan["price"], plan.get("currency"))
        name = f"{name} ({price} per {plan.get('interval') or 'month'})"
    row = [subscription["id"], name, subscription["status"], show_period(start, end)]
    tables = [Table(["Subscription ID", "Plan", "Status", "Current Period"], [row])]
    if with_history:
        rows = [
            [show_minute(event.get("created_at")), event.get("type"), event.get("reason") or ""] for event in events
        ]
        tables.append(Table(["Date", "Event", "Reason"], rows))
    after = [f"Ends at the period end, {show_day(end)}"] if subscription.get("cancel_at_period_end") else []
    if subscription.get("pending_plan_id"):
        after.append(f"Becomes {subscription['pending_plan_id']} on {show_day(end)}")
    return Document(
        data={**subscription, "history": events} if with_history else subscription,
        tables=tables,
        after=after,
        header=_COLUMNS,
        records=[[_plain(subscription.get(key)) for key in _COLUMNS]],
    )


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


app.command("plans", help="List the plans on offer: the same as billing plan list.")(list_plans)
