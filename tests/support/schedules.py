"""Schedules over a small catalog: three plans of one product, 10.00, 20.00 and 30.00 a month."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from accounts.models import Account, SubscriptionSchedule
from accounts.services.schedule_phases import NewItem, NewPhase
from catalog.services.publishing import publish_document
from invoicing.models import InvoiceLine
from invoicing.services.schedules import create_schedule
from tests.support import world

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)
MARCH = datetime(2024, 3, 1, tzinfo=UTC)
APRIL = datetime(2024, 4, 1, tzinfo=UTC)
MAY = datetime(2024, 5, 1, tzinfo=UTC)
FEES = {"ten": 1000, "twenty": 2000, "thirty": 3000}


def publish_ramp(*, at: datetime = world.OCTOBER, without: str = "") -> None:
    """Publish the three plans, another product's, and one that is sold by staff only; `without` one of them."""
    plans: list[dict[str, Any]] = [
        {
            "id": name,
            "product_id": "app",
            "name": name.title(),
            "prices": [
                {"currency": "usd", "interval": "month", "unit_amount": fee},
                {"currency": "usd", "interval": "month", "meter": "calls", "unit_amount": "1"},
            ],
        }
        for name, fee in FEES.items()
    ]
    plans += [
        {
            "id": "yearly",
            "product_id": "app",
            "name": "Yearly",
            "prices": [
                {"currency": "usd", "interval": "year", "unit_amount": 9000},
                {"currency": "usd", "interval": "year", "meter": "calls", "unit_amount": "1"},
            ],
        },
        {
            "id": "other",
            "product_id": "desk",
            "name": "Other",
            "prices": [{"currency": "usd", "interval": "month", "unit_amount": 500}],
        },
        {
            "id": "custom",
            "product_id": "app",
            "name": "Custom",
            "contact_sales": True,
            "prices": [
                {"currency": "usd", "interval": "month", "unit_amount": 5000},
                {"currency": "usd", "interval": "month", "meter": "calls", "unit_amount": "1"},
            ],
        },
    ]
    document = {
        "version": 1,
        "products": [{"id": "app", "name": "App"}, {"id": "desk", "name": "Desk"}],
        "meters": [{"name": "calls", "unit": "calls", "display_name": "Calls"}],
        "plans": [plan for plan in plans if plan["id"] != without],
    }
    publish_document(org_id="default", document=document, at=at, actor=world.TESTER)


def phase(plan: str, start: datetime | None = None, end: datetime | None = None, **more: Any) -> NewPhase:
    """A phase; `quantity` stands for one item."""
    quantity = more.pop("quantity", None)
    items = None if quantity is None else [NewItem(quantity=quantity)]
    return NewPhase(plan, items=items, start=start, end=end, **more)


def make_ramp(account: Account, *, at: datetime = JANUARY, **options: Any) -> SubscriptionSchedule:
    """Ten in January, twenty in February, thirty from March to April."""
    phases = [phase("ten", JANUARY), phase("twenty", FEBRUARY), phase("thirty", MARCH, APRIL)]
    return create_schedule(**{"account": account, "phases": phases, "at": at, "actor": world.TESTER, **options})


def list_lines() -> list[tuple[str, str, str, int]]:
    """Every line as (type, plan, first day, amount), by invoice and position."""
    lines = InvoiceLine.objects.select_related("plan_version__plan").order_by("invoice_id", "position")
    return [
        (line.type, line.plan_version.plan.key if line.plan_version else "", f"{line.period_start:%m-%d}", line.amount)
        for line in lines
    ]
