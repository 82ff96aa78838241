"""Accounts with meters, usage, and subscriptions that price it: rows as the services would have left them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from accounts.models import Account, Subscription, SubscriptionItem
from billing_site.kernel.actors import SYSTEM
from catalog.models import CatalogRevision, Meter, Plan, PlanVersion, Price, Product
from metering.services.ingest import NewUsageEvent, RecordedUsage, record_usage_events
from metering.stores import EventRow

AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
_numbers = itertools.count(1)


def make_account(external_id: str | None = None, **values: Any) -> Account:
    """Return a new account of organization `default`."""
    number = next(_numbers)
    return Account.objects.create(
        **{"external_id": external_id or f"tenant-{number}", "name": f"Tenant {number}", **values}
    )


def make_meter(event_name: str = "requests", **values: Any) -> Meter:
    """Return a new meter of organization `default`, summing."""
    defaults = {
        "org_id": "default",
        "display_name": event_name.capitalize(),
        "unit": "requests",
        "aggregation": "sum",
        "lookup_key": f"{values.get('org_id', 'default')}:meter:{event_name}",
    }
    return Meter.objects.create(event_name=event_name, **{**defaults, **values})


def make_row(account: Account, meter: Meter, value: str | int = 1, **values: Any) -> EventRow:
    """Return a row for the store, not written."""
    defaults = {
        "account_id": account.id,
        "meter_id": meter.id,
        "idempotency_key": f"key-{next(_numbers)}",
        "value": Decimal(value),
        "timestamp": AT,
        "recorded_at": AT,
    }
    return EventRow(**{**defaults, **values})


def record(account: Account, meter: str, quantity: str | int = 1, at: datetime = AT, **values: Any) -> RecordedUsage:
    """Record one event through the service, at `at`."""
    event = NewUsageEvent(account=account, meter=meter, quantity=Decimal(quantity), **{"timestamp": at, **values})
    [recorded] = record_usage_events(events=[event], at=max(at, AT), actor=SYSTEM)
    return recorded


def make_subscription(
    account: Account,
    unit_amounts: Mapping[Meter, str],
    *,
    currency: str = "usd",
    start: datetime = datetime(2026, 3, 1, tzinfo=UTC),
    end: datetime = datetime(2026, 4, 1, tzinfo=UTC),
    **values: Any,
) -> Subscription:
    """Return a running subscription with a usage price (minor units per unit, exact) for each meter."""
    number = next(_numbers)
    revision = CatalogRevision.objects.create(
        org_id="default",
        revision=number,
        document={},
        document_hash=f"{number:064}",
        is_active=False,
        published_at=AT,
        published_by="tests",
    )
    product = Product.objects.create(
        org_id="default", key=f"product-{number}", name="Product", lookup_key=f"default:product:{number}"
    )
    plan = Plan.objects.create(org_id="default", key=f"plan-{number}", product=product)
    version = PlanVersion.objects.create(
        plan=plan, version=1, revision=revision, name="Plan", content_hash=f"{number:064}", created_at=AT
    )
    subscription = Subscription.objects.create(
        **{
            "account": account,
            "product": product,
            "plan_version": version,
            "status": "active",
            "currency": currency,
            "interval": "month",
            "timezone": "UTC",
            "anchor_date": date(start.year, start.month, start.day),
            "current_period_start": start,
            "current_period_end": end,
            "started_at": start,
            **values,
        }
    )
    for meter, unit_amount in unit_amounts.items():
        price = Price.objects.create(
            plan_version=version,
            currency=currency,
            interval="month",
            billing_timing="arrears",
            model="per_unit",
            unit_amount=Decimal(unit_amount),
            meter=meter,
            lookup_key=f"default:price:{number}:{meter.event_name}",
        )
        SubscriptionItem.objects.create(
            subscription=subscription, price=price, meter=meter, billing_mode="metered", started_at=start
        )
    return subscription
