"""Cost alerts and spend alerts, made through their services."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import Account
from metering.models import CostAlert
from metering.services.cost_alerts import create_cost_alert, create_spend_alert
from tests.support import world


def make_cost_alert(account: Account, *, at: datetime = world.NOVEMBER, **options: Any) -> CostAlert:
    """Return an alert of type absolute over 5.00 unless `options` say otherwise."""
    options.setdefault("threshold_type", "absolute")
    if options["threshold_type"] in ("absolute", "daily_rate"):
        options.setdefault("threshold_amount", 500)
    elif options["threshold_type"] == "percentage_of_budget":
        options.setdefault("threshold_percent", Decimal(80))
    return create_cost_alert(account=account, at=at, actor=world.TESTER, **options)


def make_spend_alert(
    account: Account, threshold: int = 500, *, at: datetime = world.NOVEMBER, **options: Any
) -> CostAlert:
    """Return a spend alert over `threshold` minor units of usd."""
    options.setdefault("currency", "usd")
    return create_spend_alert(account=account, threshold=threshold, at=at, actor=world.TESTER, **options)
