"""Plans with limits and accounts with limits of their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from accounts.models import Account
from catalog.models import Meter
from catalog.services.publishing import publish_document
from metering.models import AccountQuota
from tests.support import world


def limit(meter: str, amount: int, window: str = "month", **more: Any) -> dict[str, Any]:
    """Return a quota of a catalog document, of the feature `use:<meter>`."""
    return {"feature": f"use:{meter}", "meter_event_name": meter, "window": window, "limit": amount, **more}


def make_plan(key: str, fee: int, *quotas: dict[str, Any], product: str = "llm", **more: Any) -> dict[str, Any]:
    """Return a plan of a catalog document with the features that its quotas name."""
    return {
        "id": key,
        "product_id": product,
        "name": key.title(),
        "features": ["llm:proxy", *dict.fromkeys(quota["feature"] for quota in quotas)],
        "prices": [{"currency": "usd", "interval": "month", "unit_amount": fee}],
        "quotas": list(quotas),
        **more,
    }


def publish_limits(*plans: dict[str, Any]) -> None:
    """Publish plans over the meters `tokens` and `calls`, the gauge `seats` and the distinct count `people`."""
    document = {
        "version": 1,
        "products": [{"id": "llm", "name": "Models"}, {"id": "other", "name": "Other"}],
        "meters": [
            {"name": "tokens", "unit": "tokens"},
            {"name": "calls", "unit": "calls", "aggregation_type": "count"},
            {"name": "seats", "unit": "seats", "aggregation_type": "last"},
            {"name": "people", "unit": "people", "aggregation_type": "unique"},
            {"name": "peak", "unit": "calls", "aggregation_type": "max"},
        ],
        "plans": list(plans) or [make_plan("small", 1000, limit("tokens", 100), limit("tokens", 40, "day"))],
    }
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)


def make_quota(
    account: Account, meter: str, amount: str | int | None, window: str = "month", **more: Any
) -> AccountQuota:
    """Store a quota of an account as its service would."""
    found = Meter.objects.get(event_name=meter)
    value = None if amount is None else Decimal(amount)
    values = {"resource_type": meter, "unit": found.unit, "stated_limit": value, "limit": value, **more}
    return AccountQuota.objects.create(account=account, meter=found, window=window, **values)
