"""Quantities by cost center: by each meter's own aggregation, within period and account, in one statement."""

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
from metering.stores import CenterQuantity, CenterRequest, insert_events, sum_centers
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import make_account, make_meter, make_row

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
DAY = Period(NOON - timedelta(hours=12), NOON + timedelta(hours=12))


def store(account: Account, meter: Meter, *events: tuple[str, Any], **values: Any) -> None:
    """Store (value, center) a minute after each other."""
    insert_events(
        [
            make_row(
                account,
                meter,
                value,
                **{
                    "timestamp": NOON + timedelta(minutes=number),
                    "cost_center_id": None if center is None else center.pk,
                    **values,
                },
            )
            for number, (value, center) in enumerate(events)
        ]
    )


class TestSumCenters:
    @pytest.mark.parametrize(
        ("aggregation", "ops", "dev", "nobody"),
        [("sum", "4", "2", "9"), ("count", "2", "1", "2"), ("max", "3", "2", "8"), ("last", "1", "2", "1")],
    )
    def test_aggregates_as_the_meter_does(self, aggregation: str, ops: str, dev: str, nobody: str) -> None:
        account, meter = make_account(), make_meter(aggregation=aggregation)
        first, second = make_cost_center(account, "ops"), make_cost_center(account, "dev")
        store(account, meter, ("3", first), ("8", None), ("2", second), ("1", first), ("1", None))
        [found] = sum_centers([CenterRequest(account.id, meter.id, DAY)])
        assert [(each.center_id, each.quantity) for each in found] == [
            (first.pk, Decimal(ops)),
            (second.pk, Decimal(dev)),
            (None, Decimal(nobody)),
        ]

    def test_counts_an_actor_once_for_each_center(self) -> None:
        account, meter = make_account(), make_meter(aggregation="unique")
        ops, dev = make_cost_center(account, "ops"), make_cost_center(account, "dev")
        store(account, meter, ("1", ops), ("1", ops), ("1", dev), actor_id="ada")
        store(account, meter, ("1", dev), resource_id="vm")
        [found] = sum_centers([CenterRequest(account.id, meter.id, DAY)])
        assert found == [CenterQuantity(ops.pk, Decimal(1), 2), CenterQuantity(dev.pk, Decimal(2), 2)]

    def test_keeps_to_account_meter_and_period(self) -> None:
        account, other, meter, second = make_account(), make_account(), make_meter(), make_meter("second")
        ops = make_cost_center(account, "ops")
        store(account, meter, ("1", ops), timestamp=DAY.start)
        store(account, meter, ("10", ops), timestamp=DAY.end)
        store(account, meter, ("100", ops), timestamp=DAY.start - timedelta(microseconds=1))
        store(account, second, ("1000", ops))
        store(other, meter, ("10000", None))
        requests = [CenterRequest(account.id, meter.id, DAY), CenterRequest(account.id, second.id, DAY)]
        nothing = CenterRequest(other.id, second.id, DAY)
        with CaptureQueriesContext(connection) as asked:
            first, last, none = sum_centers([*requests, nothing])
        assert len(asked) == 1
        assert [int(each.quantity) for each in (*first, *last)] == [1, 1000]
        assert none == []

    def test_asks_nothing_without_a_request(self) -> None:
        with CaptureQueriesContext(connection) as asked:
            assert sum_centers([]) == []
        assert len(asked) == 0
