"""Voided events leave every total, by every aggregation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import Account
from billing_site.kernel.periods import Period
from catalog.models import Meter
from metering.models import UsageCounter, UsageEvent
from metering.stores import (
    CounterRequest,
    EventRow,
    GroupRequest,
    QuantityRequest,
    find_event,
    insert_events,
    insert_voiding,
    make_voiding,
    read_counters,
    sum_groups,
    sum_quantities,
)
from tests.factories.metering import AT, make_account, make_meter, make_row

AGGREGATIONS = ("sum", "count", "max", "last", "unique")
MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))


def void(row: EventRow, meter: Meter) -> bool:
    voiding = make_voiding(row, declared=meter.dimensions, recorded_at=AT)
    return insert_voiding(voiding, aggregation=meter.aggregation, at=AT)


def aggregate(aggregation: str, rows: list[EventRow]) -> Decimal:
    """The plain model: what a meter says of events, in Python."""
    members = {row.actor_id or row.resource_id for row in rows} - {""}
    newest = max(rows, key=lambda row: (row.timestamp, row.id), default=None)
    found: dict[str, Callable[[], Any]] = {
        "sum": lambda: sum((row.value for row in rows), Decimal(0)),
        "count": lambda: len(rows),
        "max": lambda: max((row.value for row in rows), default=0),
        "last": lambda: newest.value if newest else 0,
        "unique": lambda: len(members),
    }
    return Decimal(found[aggregation]())


@pytest.mark.django_db
class TestInsertVoiding:
    def test_takes_an_event_out_once(self) -> None:
        account, meter = make_account(), make_meter(dimensions=["model"])
        rows = [make_row(account, meter, value, dimensions={"model": "a"}) for value in (5, 7)]
        insert_events([row._replace(rolled_dimensions={"model": "a"}) for row in rows])
        assert void(rows[0], meter) is True
        assert void(rows[0], meter) is False
        day = AT.replace(hour=0)
        counter = CounterRequest(account.id, meter.id, "day", day)
        use = read_counters([counter])[counter]
        assert (int(use.total), use.events) == (7, 1)
        [[group]] = sum_groups([GroupRequest(account.id, meter.id, MARCH, ("model",))])
        assert group.values == ("a",)
        assert (int(group.quantity), group.event_count) == (7, 1)
        assert UsageEvent.objects.filter(corrects=rows[0].id, weight=-1, value=-5).count() == 1

    def test_forgets_the_highest_and_the_member_in_every_bucket(self) -> None:
        account = make_account()
        highest, members = make_meter("highest", aggregation="max"), make_meter("members", aggregation="unique")
        peaks = [make_row(account, highest, value) for value in (3, 9)]
        people = [make_row(account, members, actor_id=name) for name in ("ada", "bob", "ada")]
        insert_events([*peaks, *people])
        void(peaks[1], highest)
        assert set(UsageCounter.objects.filter(meter_id=highest.id).values_list("highest", flat=True)) == {3}
        requests = [QuantityRequest(account.id, meter.id, MARCH) for meter in (highest, members)]
        void(people[1], members)
        assert [found.quantity for found in sum_quantities(requests).values()] == [3, 1]
        void(people[0], members)
        assert sum_quantities(requests)[requests[1]].quantity == 1  # ada was active twice
        void(people[2], members)
        assert sum_quantities(requests)[requests[1]].quantity == 0

    def test_finds_events_by_id(self) -> None:
        account, meter = make_account(), make_meter()
        row = make_row(account, meter, 5, metadata={"a": "b"})
        insert_events([row])
        assert find_event(row.id) == row
        assert find_event(make_row(account, meter).id) is None


moments = st.integers(0, 31 * 24 * 60 - 1).map(lambda minutes: MARCH.start + timedelta(minutes=minutes))
events = st.tuples(moments, st.integers(0, 9), st.sampled_from(["", "ada", "bob"]), st.booleans())


class TestAnyHistory(TestCase):
    """However events come, split, repeated, late and voided: totals are those of the plain model."""

    account: Account
    meters: list[Meter]

    @settings(max_examples=40)
    @given(
        st.lists(events, min_size=1, max_size=25),
        st.randoms(use_true_random=False),
        st.integers(1, 5),
        st.tuples(moments, moments).map(sorted),
    )
    def test_totals(self, given_events: list[Any], random: Any, size: int, cut: list[datetime]) -> None:
        account = make_account()
        periods = [MARCH, *([Period(*cut)] if cut[0] < cut[1] else [])]
        for aggregation in AGGREGATIONS:
            meter = make_meter(f"{account.external_id}-{aggregation}", aggregation=aggregation)
            rows = [
                make_row(account, meter, value, timestamp=moment, actor_id=actor)
                for moment, value, actor, _ in given_events
            ]
            sent = [*rows, *random.sample(rows, k=len(rows) // 2)]
            random.shuffle(sent)
            for start in range(0, len(sent), size):
                insert_events(sent[start : start + size])
            standing = []
            for row, (_, _, _, voided) in zip(rows, given_events, strict=True):
                if voided:
                    assert void(row, meter)
                else:
                    standing.append(row)
            for period in periods:
                request = QuantityRequest(account.id, meter.id, period)
                within = [row for row in standing if period.start <= row.timestamp < period.end]
                found = sum_quantities([request])[request]
                assert (found.quantity, found.event_count) == (aggregate(aggregation, within), len(within))
