"""However the same events come, in any order, split into any batches, repeated: what is made of them is the same."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import Account
from catalog.models import Meter
from catalog.services.publishing import publish_document
from invoicing.queries.previews import preview_running
from metering.models import AccountQuota, UsageCounter, UsageMember, UsageRollup
from metering.queries.quotas import list_quota_uses
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

NOW = datetime(2023, 11, 20, 12, tzinfo=UTC)
METERS = {"sums": "sum", "counts": "count", "peaks": "max", "lasts": "last", "people": "unique"}
PRICES: dict[str, dict[str, Any]] = {
    "sums": {"model": "per_unit", "unit_amount": "7", "variants": [{"when": {"region": "eu"}, "unit_amount": "11"}]},
    "counts": {
        "model": "graduated",
        "tiers": [{"up_to": 5, "unit_amount": "70"}, {"up_to": None, "unit_amount": "30"}],
    },
    "peaks": {"model": "per_unit", "unit_amount": "100"},
    "lasts": {"model": "per_unit", "unit_amount": "50"},
    "people": {"model": "package", "package_size": 2, "unit_amount": "900"},
}

moments = st.integers(0, int((NOW - world.NOVEMBER).total_seconds()) // 60).map(
    lambda minutes: world.NOVEMBER + timedelta(minutes=minutes)
)
events = st.lists(
    st.tuples(
        st.sampled_from(list(METERS)), moments, st.integers(0, 30), st.sampled_from(["", "ada", "bob"]),
        st.sampled_from([{}, {"region": "eu"}, {"region": "us"}]),
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip


def make_document() -> dict[str, Any]:
    prices = [{"currency": "usd", "interval": "month", "meter": name, **terms} for name, terms in PRICES.items()]
    return {
        "version": 1,
        "products": [{"id": "app", "name": "App"}],
        "meters": [
            {
                "name": name,
                "unit": "units",
                "display_name": name.capitalize(),
                "aggregation_type": aggregation,
                "dimensions": ["region"],
            }
            for name, aggregation in METERS.items()
        ],
        "plans": [{"id": "all", "product_id": "app", "name": "All", "prices": prices}],
    }


def open_account(handle: str) -> Account:
    """Return an account with a price and a quota of every window for each meter."""
    account = world.open_account(handle)
    world.subscribe(account, "all")
    for meter in Meter.objects.filter(event_name__in=METERS):
        for window in ("hour", "day", "week", "month", "total", "billing_period"):
            AccountQuota.objects.create(
                account=account,
                meter=meter,
                resource_type=meter.event_name,
                window=window,
                limit=Decimal(10),
                stated_limit=Decimal(10),
                unit=meter.unit,
                created_at=world.OCTOBER,
                updated_at=world.OCTOBER,
            )
    return account


def look_at(account: Account) -> dict[str, Any]:
    """Return everything that is made of an account's events, without ids and shards."""
    rollups: Counter[tuple[Any, ...]] = Counter()
    counters: Counter[tuple[Any, ...]] = Counter()
    for row in UsageRollup.objects.filter(account_id=account.pk):
        place = (row.meter_id, row.span, row.starts_at, str(row.dimensions))
        rollups[*place, "total"] += row.total  # type: ignore[assignment]
        rollups[*place, "events"] += row.events
        rollups[*place, "highest"] = max(rollups[*place, "highest"], row.highest)  # type: ignore[assignment]
    for counter in UsageCounter.objects.filter(account_id=account.pk):
        bucket = (counter.meter_id, counter.span, counter.starts_at)
        counters[*bucket, "total"] += counter.total  # type: ignore[assignment]
        counters[*bucket, "events"] += counter.events
    return {
        "rollups": rollups,
        "counters": counters,
        "members": set(UsageMember.objects.filter(account_id=account.pk).values_list("meter_id", "day", "member")),
        "quotas": {
            (use.quota.meter_event_name, use.quota.window): use.used for use in list_quota_uses(account=account, at=NOW)
        },
        "draft": sorted(
            (line.meter.event_name if line.meter else "", line.line.quantity, line.line.amount)
            for line in preview_running(account=account, as_of=NOW)
        ),
    }


class TestAnyOrder(TestCase):
    @settings(max_examples=25)
    @given(events, st.randoms(use_true_random=False), st.integers(1, 7))
    def test_gives_the_same(self, drawn: list[Any], random: Any, size: int) -> None:
        publish_document(org_id="default", document=make_document(), at=world.OCTOBER, actor=world.TESTER)
        seen = []
        for handle in ("in-order", "shuffled"):
            account = open_account(handle)
            sent = [
                NewUsageEvent(
                    account, meter, Decimal(value), timestamp=moment, idempotency_key=f"k{number}", actor_id=actor,
                    dimensions=dimensions,
                )
                for number, (meter, moment, value, actor, dimensions) in enumerate(drawn)
            ]  # fmt: skip
            step = len(sent)
            if handle == "shuffled":
                sent += random.sample(sent, k=len(sent) // 2)
                random.shuffle(sent)
                step = size
            for start in range(0, len(sent), step):
                record_usage_events(events=sent[start : start + step], at=NOW, actor=world.TESTER)
            seen.append(look_at(account))
        for part, expected in seen[0].items():
            assert seen[1][part] == expected, part
        assert len(seen[0]["quotas"]) == len(METERS) * 6
        billed = {name for name, _, amount in seen[0]["draft"] if amount}
        assert billed >= {meter for meter, _, value, _, _ in drawn if value and meter in ("sums", "counts", "peaks")}
