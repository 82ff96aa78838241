"""billing status, billing operator status"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.output import Document, Table
from billing_client.cli.session import Session

_FIELDS: Final = (
    "account_id",
    "status",
    "plan_id",
    "provider",
    "tier",
    "features",
    "setup_required",
    "upgrade_required",
    "next_action",
    "recommended_plan",
    "command",
    "has_payment_method",
    "credit_balance",
)
_NEXT: Final = {"setup_billing": "set up billing", "upgrade_plan": "upgrade the plan"}


def run(context: typer.Context) -> None:
    """Show the billing state: subscription, features, quota use, and what to do next."""
    session = Session.of(context)
    with session.connect("billing:read") as client:
        status = client.get_status(session.find_account())
    _show(session, status)


def run_for_operator(context: typer.Context) -> None:
    """Show the billing state of --account."""
    session = Session.of(context)
    account = session.require_account()
    with session.connect("billing:read", caller="operator") as client:
        status = client.get(f"/api/internal/billing/accounts/{quote(account, safe='')}/status")
    _show(session, status)


def _show(session: Session, status: dict[str, Any]) -> None:
    row = [
        status["account_id"],
        status["status"],
        status.get("plan_id") or "",
        status.get("tier") or "",
        ", ".join(status["features"]),
        status.get("credit_balance"),
    ]
    quotas = [
        [each["feature"], each["meter_event_name"], each["window"], each["used"], each["limit"], each["remaining"]]
        for each in status["usage"]
    ]
    tables = [Table(["Account", "Status", "Plan", "Tier", "Features", "Credit (minor units)"], [row])]
    if quotas:
        titles = ["Feature", "Meter", "Window", "Used", "Limit", "Left"]
        tables.append(Table(titles, quotas, right=frozenset({"Used", "Limit", "Left"})))
    session.output.write(
        Document(
            data=status,
            tables=tables,
            after=_advise(status),
            header=_FIELDS,
            records=[[_flatten(status.get(name)) for name in _FIELDS]],
        )
    )


def _advise(status: dict[str, Any]) -> list[str]:
    """Return what to do next, in a line; nothing when there is nothing."""
    action = status.get("next_action")
    if not action:
        return []
    how = status.get("command") or (
        f"billing subscription upgrade {status['recommended_plan']}" if status.get("recommended_plan") else ""
    )
    return [f"Next: {_NEXT.get(action, action)}{f' ({how})' if how else ''}"]


def _flatten(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value
