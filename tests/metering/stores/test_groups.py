"""Usage by dimension values and event by event: complete, in order, and within its period and account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from billing_site.kernel.periods import Period
from catalog.models import Meter
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.stores import GroupRequest, stream_events, sum_groups
from tests.factories.metering import make_account, make_meter
from tests.support import world

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
DAY = Period(NOON - timedelta(hours=12), NOON + timedelta(hours=12))


def record(account: Account, meter: Meter, *events: tuple[str, dict[str, str], int]) -> None:
    """Record (value, dimensions, minutes before noon)."""
    record_usage_events(
        events=[
            NewUsageEvent(
                account,
                meter.event_name,
                Decimal(value),
                timestamp=NOON - timedelta(minutes=minutes),
                idempotency_key=f"{meter.event_name}-{number}",
                dimensions=dimensions,
                metadata={"unit_amount": str(number)},
            )
            for number, (value, dimensions, minutes) in enumerate(events)
        ],
        at=NOON,
        actor=world.TESTER,
    )


class TestSumGroups:
    def test_adds_up_per_set_of_values_in_the_order_of_the_names(self) -> None:
        account, meter = make_account(), make_meter("calls")
        record(
            account,
            meter,
            ("1", {"model": "a", "region": "eu"}, 1),
            ("2", {"model": "a", "region": "eu"}, 2),
            ("4", {"model": "a", "region": "us"}, 3),
            ("8", {"model": "b"}, 4),
            ("16", {}, 5),
        )
        (groups,) = sum_groups([GroupRequest(account.id, meter.id, DAY, ("region", "model"))])
        found: dict[Any, Any] = {group.values: (group.quantity, group.event_count) for group in groups}
        assert found == {
            ("eu", "a"): (3, 2),
            ("us", "a"): (4, 1),
            (None, "b"): (8, 1),
            (None, None): (16, 1),
        }

    def test_counts_for_a_meter_that_counts(self) -> None:
        account, meter = make_account(), make_meter("calls", aggregation="count")
        record(account, meter, ("5", {"model": "a"}, 1), ("7", {"model": "a"}, 2))
        (groups,) = sum_groups([GroupRequest(account.id, meter.id, DAY, ("model",))])
        (group,) = groups
        assert (group.values, group.quantity) == (("a",), Decimal(2))

    def test_answers_many_requests_apart_with_one_statement(self) -> None:
        one, other, meter = make_account(), make_account(), make_meter("calls")
        record(one, meter, ("1", {"model": "a"}, 1))
        record(other, meter, ("2", {"model": "a"}, 1), ("4", {"model": "a"}, 100))
        hour = Period(NOON - timedelta(hours=1), NOON)
        requests = [
            GroupRequest(other.id, meter.id, DAY, ("model",)),
            GroupRequest(one.id, meter.id, DAY, ()),
            GroupRequest(other.id, meter.id, hour, ("model",)),
            GroupRequest(one.id, make_meter("other").id, DAY, ("model",)),
        ]
        with CaptureQueriesContext(connection) as queries:
            found = sum_groups(requests)
        assert len(queries) == 1
        assert [[(group.values, group.quantity) for group in groups] for groups in found] == [
            [(("a",), 6)],
            [((), 1)],
            [(("a",), 2)],
            [],
        ]

    def test_of_nothing_asks_nothing(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            assert sum_groups([]) == []
        assert len(queries) == 0


class TestStreamEvents:
    def test_yields_the_events_of_each_request_in_order_of_time(self) -> None:
        one, other, meter = make_account(), make_account(), make_meter("calls")
        record(one, meter, ("1", {"model": "a"}, 1), ("2", {}, 3), ("4", {"model": "b"}, 2))
        record(other, meter, ("8", {}, 5))
        requests = [
            GroupRequest(other.id, meter.id, DAY),
            GroupRequest(one.id, meter.id, DAY, ("model",)),
        ]
        found = list(stream_events(requests))
        shown: list[Any] = [(event.position, event.value, event.values, event.unit_amount) for event in found]
        assert shown == [
            (0, 8, (), "0"),
            (1, 2, (None,), "1"),
            (1, 4, ("b",), "2"),
            (1, 1, ("a",), "0"),
        ]
