"""A plan with any prices, usage of its meters, and the bill of a month, checked three ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Account
from catalog.services.publishing import publish_document
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.verification import verify_invoice
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

NOON = datetime(2023, 11, 15, 12, tzinfo=UTC)
METERS = [
    {"name": "calls", "unit": "calls", "display_name": "Calls", "dimensions": ["model", "region"]},
    {"name": "payments", "unit": "cents", "display_name": "Payments"},
]


def publish_prices(
    *prices: dict[str, Any], quotas: list[dict[str, Any]] | None = None, at: datetime = world.OCTOBER
) -> None:
    """Publish a plan `pay` with these prices in usd by the month."""
    plan = {
        "id": "pay",
        "product_id": "app",
        "name": "Pay",
        "features": ["app:use"],
        "prices": [{"currency": "usd", "interval": "month", **price} for price in prices],
        "quotas": [{"feature": "app:use", **quota} for quota in quotas or []],
    }
    products = [{"id": "app", "name": "App"}]
    document = {"version": 1, "products": products, "meters": METERS, "plans": [plan]}
    publish_document(org_id="default", document=document, at=at, actor=world.TESTER)


def record(account: Account, meter: str, *events: tuple[str, dict[str, Any]]) -> None:
    """Record events, a second after each other."""
    record_usage_events(
        events=[
            NewUsageEvent(
                account,
                meter,
                Decimal(value),
                timestamp=NOON + timedelta(seconds=number),
                idempotency_key=f"{meter}-{number}",
                **more,
            )
            for number, (value, more) in enumerate(events)
        ],
        at=NOON + timedelta(hours=1),
        actor=world.TESTER,
    )


def bill(account: Account, *, quantity: int = 1) -> list[InvoiceLine]:
    """Bill November and return the lines of what it issued, after previewing, recomputing and reading them again."""
    subscription = account.subscriptions.first() or world.subscribe(account, "pay", quantity=quantity)
    (previewed,) = preview_subscriptions(subscription_ids=[subscription.id], as_of=world.DECEMBER)
    known = set(Invoice.objects.values_list("id", flat=True))
    world.run_cycle(as_of=world.DECEMBER, org_id=account.org_id)
    issued = list(Invoice.objects.exclude(id__in=known).order_by("id"))
    assert [draft.total for draft in previewed.drafts] == [invoice.total for invoice in issued]
    for invoice in issued:
        assert verify_invoice(invoice, check_usage=True).differences == []
    return [line for invoice in issued for line in invoice.lines.all()]
