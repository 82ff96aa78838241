"""Summaries: which period, which meters, what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import Period
from metering.queries.meters import MeterNotFound
from metering.queries.usage import summarize_usage
from tests.factories.metering import AT, make_account, make_meter, make_subscription, record

pytestmark = pytest.mark.django_db


def costs(account: Any, **arguments: Any) -> dict[str, int]:
    summary = summarize_usage(account=account, at=AT, **arguments)
    return {metric.meter.event_name: metric.cost for metric in summary.metrics}


class TestSummarizeUsage:
    def test_prices_each_meter_and_rounds_each_once(self) -> None:
        account = make_account()
        tokens, calls, free = make_meter("tokens"), make_meter("calls"), make_meter("free")
        make_subscription(account, {tokens: "0.00015", calls: "0.5"})
        for quantity in ("1000", "2000.5", "0.000000000001"):
            record(account, "tokens", quantity)
        record(account, "calls")
        record(account, "free", 9)
        summary = summarize_usage(account=account, at=AT)
        by_name = {metric.meter: metric for metric in summary.metrics}
        # 3000.500000000001 x 0.00015 = 0.45… cents; 1 x 0.5 = 0.5 cents, up; no price, no cost
        assert (by_name[tokens].quantity, by_name[tokens].cost) == (Decimal("3000.500000000001"), 0)
        assert (by_name[calls].cost, by_name[free].cost, int(by_name[free].quantity)) == (1, 0, 9)
        assert (summary.total_cost, summary.currency) == (1, "usd")
        assert {metric.included for metric in summary.metrics} == {None}

    def test_defaults_to_the_current_billing_period(self) -> None:
        account, meter = make_account(), make_meter()
        start, end = datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC)
        make_subscription(account, {meter: "1"}, start=start, end=end)
        record(account, "requests", at=start - timedelta(microseconds=1))
        record(account, "requests", at=start)
        summary = summarize_usage(account=account, at=AT)
        assert summary.period == Period(start, end)
        assert [metric.event_count for metric in summary.metrics] == [1]

    def test_defaults_to_the_calendar_month_of_the_account_without_one(self) -> None:
        account = make_account(timezone="America/New_York")
        summary = summarize_usage(account=account, at=AT)
        # Clocks went forward on 8 March: UTC-5 at the start, UTC-4 at the end.
        assert summary.period == Period(datetime(2026, 3, 1, 5, tzinfo=UTC), datetime(2026, 4, 1, 4, tzinfo=UTC))
        assert (summary.metrics, summary.total_cost) == ((), 0)

    def test_takes_the_older_of_two_prices(self) -> None:
        account, meter = make_account(), make_meter()
        make_subscription(account, {meter: "2"})
        make_subscription(account, {meter: "3"})
        record(account, "requests")
        assert costs(account) == {"requests": 2}

    def test_ignores_canceled_subscriptions_and_other_currencies(self) -> None:
        account, meter = make_account(currency="eur"), make_meter()
        make_subscription(account, {meter: "2"}, status="canceled", ended_at=AT)
        make_subscription(account, {}, currency="eur")
        make_subscription(account, {meter: "3"}, currency="usd")
        record(account, "requests")
        assert costs(account) == {"requests": 0}

    def test_narrows_to_one_metric(self) -> None:
        account = make_account()
        make_meter("api"), make_meter("database")
        record(account, "api")
        record(account, "database")
        assert costs(account, metric="API_CALLS").keys() == {"api"}
        with pytest.raises(MeterNotFound):
            summarize_usage(account=account, at=AT, metric="nope")

    def test_shows_retired_meters_that_were_used(self) -> None:
        account, meter = make_account(), make_meter()
        record(account, "requests")
        meter.is_active = False
        meter.save()
        assert costs(account).keys() == {"requests"}

    def test_groups_by_day(self) -> None:
        account, _ = make_account(), make_meter()
        for day in (3, 3, 5):
            record(account, "requests", 2, at=datetime(2026, 3, day, 23, 59, tzinfo=UTC))
        [metric] = summarize_usage(account=account, at=AT, group_by="day").metrics
        assert [(bucket.start.day, int(bucket.quantity), bucket.event_count) for bucket in metric.buckets] == [
            (3, 4, 2),
            (5, 2, 1),
        ]

    @pytest.mark.parametrize("days", [400, 0])
    def test_takes_periods_up_to_400_days(self, days: int) -> None:
        account = make_account()
        assert summarize_usage(account=account, at=AT, start=AT - timedelta(days=days), end=AT).metrics == ()
        with pytest.raises(PeriodNotValid):
            summarize_usage(account=account, at=AT, start=AT - timedelta(days=days), end=AT + timedelta(days=401))

    def test_refuses_a_reversed_period(self) -> None:
        with pytest.raises(PeriodNotValid):
            summarize_usage(account=make_account(), at=AT, start=AT, end=AT - timedelta(seconds=1))

    def test_takes_a_fixed_number_of_queries(self) -> None:
        def count_queries() -> int:
            with CaptureQueriesContext(connection) as queries:
                summarize_usage(account=account, at=AT, group_by="hour")
            return len(queries)

        account, meters = make_account(), [make_meter(f"m{number}") for number in range(6)]
        make_subscription(account, {meters[0]: "1"})
        record(account, "m0")
        few = count_queries()
        for number, meter in enumerate(meters[1:], 1):
            make_subscription(account, {meter: "1"})
            record(account, f"m{number}", at=AT - timedelta(hours=number))
        # subscriptions, meters, sums, buckets, prices; negotiated prices, rules, overages
        assert count_queries() == few == 8
