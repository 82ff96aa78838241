"""billing alert …: being told about costs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import read_decimal, show_minute, show_money
from billing_client.cli.failures import misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound
from billing_client.money import format_number, parse_major

app = make_app()

Kind = Literal["spend", "absolute", "percentage_of_budget", "daily_rate", "anomaly"]
_SPEND: Final = "/api/v1/billing/spend-alerts"
_COLUMNS: Final = ("id", "type", "threshold", "percent", "currency", "status", "triggered_at", "title", "email")
_NAMES: Final = {
    "spend": "spend of the month",
    "absolute": "cost of the period",
    "percentage_of_budget": "share of the budget",
    "daily_rate": "usage of a day",
    "anomaly": "unusual day",
}


@app.command("list")
def list_alerts(context: typer.Context) -> None:
    """List spend alerts and cost alerts."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        account = session.find_account()
        spend = list(client.iterate(_SPEND, {"account": account}))
        cost = list(client.iterate(_cost_path(account)))
    _show(session, {"spend_alerts": spend, "cost_alerts": cost}, [*map(_read_spend, spend), *map(_read_cost, cost)])


@app.command("add")
def add(
    context: typer.Context,
    *,
    amount: Annotated[str, typer.Argument(help="In major units: 25.00; a percentage for shares and unusual days.")],
    kind: Annotated[Kind, typer.Option("--type", help="What to look at.")] = "spend",
    title: Annotated[str, typer.Option(help="Of a spend alert.")] = "",
    email: Annotated[str, typer.Option(help="Where to send mail; a spend alert goes to the account's address.")] = "",
    currency: Annotated[str, typer.Option(help="Currency of the amount.")] = "usd",
) -> None:
    """Ask to be told when a cost reaches an amount, once in each month, period or day."""
    if title and kind != "spend":
        raise misuse("--title goes with spend alerts")
    if email and kind == "spend":
        raise misuse("--email goes with --type", hint="a spend alert is sent to the account's own address")
    number = _read_number(amount, kind, currency)
    session = Session.of(context)
    with session.connect("billing:alert:write") as client:
        account = session.find_account()
        if kind == "spend":
            body = {"account": account, "title": title, "threshold": number, "currency": currency.lower()}
            result = client.post(_SPEND, body)
            return _show(session, result, [_read_spend(result)])
        body = {"threshold_type": kind, _name_field(kind): number, "currency": currency.lower()}
        result = client.post(_cost_path(account), body | ({"notify_email": email} if email else {}))
    return _show(session, result, [_read_cost(result)])


@app.command("remove")
def remove(context: typer.Context, alert_id: Annotated[str, typer.Argument(help="alert_…")]) -> None:
    """Delete a spend alert; a cost alert says nothing until its next period."""
    session = Session.of(context)
    name = quote(alert_id, safe="")
    with session.connect("billing:alert:write") as client:
        try:
            client.request("DELETE", f"{_SPEND}/{name}")
        except NotFound:
            result = client.post(f"/api/v1/billing/realtime-cost/alerts/{name}/dismiss", None)
            return _show(session, result, [_read_cost(result)])
    session.output.write(Document(data={"id": alert_id, "deleted": True}, after=[f"{alert_id} is deleted"]))
    return None


def _cost_path(account: str) -> str:
    return f"/api/v1/billing/realtime-cost/tenants/{quote(account, safe='')}/alerts"


def _name_field(kind: str) -> str:
    return "threshold_percent" if kind in ("percentage_of_budget", "anomaly") else "threshold_amount"


def _read_number(text: str, kind: str, currency: str) -> int | str:
    """Return minor units, or the percentage as text."""
    if _name_field(kind) == "threshold_percent":
        try:
            value = read_decimal(text.removesuffix("%").strip())
        except ArithmeticError as error:
            raise misuse(f"amount: {text} is not a percentage") from error
        return str(value)
    try:
        return parse_major(text, currency)
    except ValueError as error:
        raise misuse(f"amount: {error}") from error


def _read_spend(alert: dict[str, Any]) -> dict[str, Any]:
    status = "triggered" if alert.get("triggered_at") else "armed"
    return {**alert, "type": "spend", "status": status}


def _read_cost(alert: dict[str, Any]) -> dict[str, Any]:
    return {
        **alert,
        "type": alert["threshold_type"],
        "threshold": alert.get("threshold_amount"),
        "percent": alert.get("threshold_percent"),
        "email": alert.get("notify_email"),
    }


def _show(session: Session, data: Any, alerts: list[dict[str, Any]]) -> None:
    rows = [
        [
            alert["id"],
            alert.get("title") or _NAMES.get(alert["type"], alert["type"]),
            f"{format_number(read_decimal(alert['percent']))} %"
            if alert.get("percent")
            else show_money(alert.get("threshold"), alert["currency"]),
            alert["status"],
            show_minute(alert.get("triggered_at")),
            alert.get("email") or "",
        ]
        for alert in alerts
    ]
    session.output.write(
        Document(
            data=data,
            tables=[
                Table(["ID", "Alert", "Told from", "State", "Fired", "Mail"], rows, right=frozenset({"Told from"}))
            ],
            after=[] if rows else ["No alert"],
            header=_COLUMNS,
            records=[[alert.get(column) for column in _COLUMNS] for alert in alerts],
        )
    )
