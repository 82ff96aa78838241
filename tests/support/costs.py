"""Plans with every way of pricing, random usage of them, and what the closing invoice of a running period asks for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.models import Account, Subscription
from billing_site.kernel.periods import Period
from catalog.services.publishing import publish_document
from invoicing.models import InvoiceLine
from invoicing.queries.realtime import Granularity, Timeline, get_timeline
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

THIRD = "0.333333333333"
TIERS = [
    {"up_to": 50, "unit_amount": "3", "flat_amount": "100"},
    {"up_to": 200, "unit_amount": THIRD},
    {"up_to": None, "unit_amount": "0.07", "flat_amount": "11"},
]
METERS: list[dict[str, Any]] = [
    {"name": "calls", "unit": "calls", "dimensions": ["model", "region"]},
    {"name": "payments", "unit": "cents", "dimensions": ["model", "region"]},
    {"name": "uploads", "unit": "uploads", "aggregation_type": "count", "dimensions": ["model"]},
    {"name": "peak", "unit": "connections", "aggregation_type": "max"},
    {"name": "level", "unit": "gb", "aggregation_type": "last"},
    {"name": "users", "unit": "users", "aggregation_type": "unique"},
]
LARGE = {"model": "large"}
LARGE_EU = {"model": "large", "region": "eu"}
# Every price by the plan that has it; the plan is the price's name, and a product of its own.
PRICES: dict[str, list[dict[str, Any]]] = {
    "fee": [{"unit_amount": 1999}],
    "late_fee": [{"unit_amount": 777, "billing_timing": "arrears"}, {"meter": "calls", "unit_amount": THIRD}],
    "per_unit": [{"unit_amount": 500}, {"meter": "calls", "unit_amount": THIRD}],
    "graduated": [{"meter": "calls", "model": "graduated", "tiers": TIERS}],
    "volume": [{"meter": "calls", "model": "volume", "tiers": TIERS}],
    "stairstep": [
        {
            "meter": "calls",
            "model": "stairstep",
            "tiers": [{"up_to": 100, "flat_amount": "900"}, {"up_to": None, "flat_amount": "1500"}],
        }
    ],
    "package": [{"meter": "calls", "model": "package", "unit_amount": "40", "package_size": 30, "free_quantity": 20}],
    "flat": [{"meter": "calls", "model": "flat", "unit_amount": "250"}],
    "divided": [
        {
            "meter": "calls",
            "model": "per_unit",
            "unit_amount": "99",
            "transform_quantity": {"divide_by": "7", "round": "up"},
        }
    ],
    "percent": [{"meter": "payments", "model": "percentage", "percent": "1.7"}],
    "per_event": [
        {
            "meter": "payments",
            "model": "percentage",
            "percent": "1.7",
            "fixed_amount": "10",
            "event_minimum": "12",
            "event_maximum": "16",
        }
    ],
    "free_events": [
        {"meter": "payments", "model": "percentage", "percent": "3", "fixed_amount": "7", "free_events": 4}
    ],
    "free_amount": [
        {"meter": "payments", "model": "percentage", "percent": "9", "free_amount": "300", "free_events": 9}
    ],
    "free_by_model": [
        {
            "meter": "payments",
            "model": "percentage",
            "percent": "2",
            "free_amount": "250",
            "variants": [
                {"when": LARGE, "percent": "4", "free_events": 3, "fixed_amount": "5"},
                {"when": LARGE_EU, "percent": "6", "event_minimum": "9"},
            ],
        }
    ],
    "dynamic": [{"meter": "payments", "model": "dynamic", "maximum_amount": "900"}],
    "by_model": [
        {
            "meter": "calls",
            "model": "graduated",
            "tiers": TIERS,
            "variants": [
                {"when": LARGE, "tiers": [{"up_to": 40, "unit_amount": "8"}, {"up_to": None, "unit_amount": "5"}]},
                {"when": LARGE_EU, "tiers": [{"up_to": None, "unit_amount": "6.5"}]},
            ],
        }
    ],
    "counted": [{"meter": "uploads", "model": "per_unit", "unit_amount": "3.3"}],
    "counted_by_model": [
        {
            "meter": "uploads",
            "model": "per_unit",
            "unit_amount": "3.3",
            "variants": [{"when": LARGE, "unit_amount": "4.4"}],
        }
    ],
    "highest": [{"meter": "peak", "model": "volume", "tiers": TIERS}],
    "newest": [{"meter": "level", "model": "per_unit", "unit_amount": "12.5"}],
    "people": [{"meter": "users", "model": "graduated", "tiers": [{"up_to": 3, "unit_amount": "50"}, {"up_to": None}]}],
    "committed": [{"meter": "calls", "model": "per_unit", "unit_amount": "2", "minimum_amount": "1500"}],
    "capped": [{"meter": "calls", "model": "per_unit", "unit_amount": "2", "maximum_amount": "400"}],
    "included": [{"unit_amount": 1000}],
}
QUOTAS = {
    "included": [
        {
            "meter_event_name": "calls",
            "window": "billing_period",
            "limit": 100,
            "enforcement": "soft",
            "overage_price": "2.5",
        }
    ]
}
NAMES = [
    {},
    {"model": "large"},
    {"model": "large", "region": "eu"},
    {"model": "small", "region": "eu"},
    {"region": "us"},
]


def publish_plans(*, at: datetime = world.OCTOBER) -> None:
    """Publish the plans above in usd and eur, each of a product of its own, and three more beside `fee`."""
    plans = []
    more: dict[str, list[dict[str, Any]]] = {
        "bigger": [{"unit_amount": 4999}],
        "weekly": [{"unit_amount": 250, "interval": "week"}],
        "yearly": [{"unit_amount": 9900, "interval": "year"}],
    }
    for name, prices in (PRICES | more).items():
        plans.append(
            {
                "id": name,
                "product_id": "fee" if name in more else name,
                "name": name.title(),
                "features": ["use"],
                "prices": [
                    {"currency": currency, "interval": "month", **price}
                    for currency in ("usd", "eur")
                    for price in prices
                ],
                "quotas": [{"feature": "use", **quota} for quota in QUOTAS.get(name, [])],
            }
        )
    products = [{"id": name, "name": name.title()} for name in PRICES]
    document = {"version": 1, "products": products, "meters": METERS, "plans": plans}
    publish_document(org_id="default", document=document, at=at, actor=world.TESTER)


def use_randomly(account: Account, within: Period, *, events: int, seed: int, centers: Sequence[str] = ("",)) -> None:
    """Record events of every meter at random moments, some of them on the hour."""
    rng = random.Random(seed)
    found = []
    for number in range(events):
        moment = within.start + within.duration * rng.random()
        if rng.random() < 0.2:
            moment = max(within.start, moment.replace(minute=0, second=0, microsecond=0))
        meter = rng.choice(METERS)["name"]
        found.append(
            NewUsageEvent(
                account,
                meter,
                Decimal(rng.choice(["0", "1", "2.5", "7", "33", "60", "140"])),
                timestamp=moment,
                idempotency_key=f"{seed}-{number}",
                actor_id=rng.choice(["ada", "bob", "cyn", "dan", "eve", ""]),
                dimensions=rng.choice(NAMES),
                metadata={"unit_amount": rng.choice(["0.5", "2", "7.77"])} if meter == "payments" else {},
                cost_center=rng.choice(list(centers)),
            )
        )
    record_usage_events(events=found, at=within.end, actor=world.TESTER)


def add_up_invoices(subscriptions: Sequence[UUID | Subscription], period: Period, *, currency: str) -> int:
    """Return what all invoices ask for of a period that has been closed, after discounts."""
    lines = InvoiceLine.objects.filter(
        invoice__subscription__in=subscriptions,
        currency=currency,
        period_start__gte=period.start,
        period_start__lt=period.end,
    ).exclude(invoice__status="void")
    return sum(line.amount - line.discount for line in lines)


def check_timeline(account: Account, *, at: datetime, granularity: Granularity, **options: Any) -> Timeline:
    """Return a timeline after looking that its steps follow each other and add up to the total."""
    found = get_timeline(account=account, at=at, granularity=granularity, **options)
    sums = 0
    for point in found.points:
        sums += point.cost
        assert sums == point.cumulative
    starts = [point.at for point in found.points]
    assert starts == sorted(set(starts))
    assert starts[0] == found.running.period.start
    assert starts[-1] <= at < starts[-1] + timedelta(hours=25 if granularity == "day" else 1)
    assert found.points[-1].cumulative == found.running.total
    return found
