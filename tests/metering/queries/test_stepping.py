"""Cost as time goes by: exactly what the engine asks for the usage up to each instant, for every price."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from billing_site.kernel.periods import Period
from catalog.models import Meter, Price
from catalog.pricing.engine import price_usage
from catalog.queries.prices import get_price_terms
from metering.models import UsageEvent
from metering.queries.measuring import MeasureRequest, measure_usage
from metering.queries.stepping import SteppedRequest, rate_steps
from metering.services.corrections import void_usage_event
from metering.stores import insert_events
from tests.factories.metering import make_row
from tests.support import costs, world

pytestmark = pytest.mark.django_db
PERIOD = Period(world.NOVEMBER, world.NOVEMBER + timedelta(days=9))
PLANS = [plan for plan, prices in costs.PRICES.items() if "meter" in prices[-1]]


@pytest.fixture
def account() -> Account:
    costs.publish_plans()
    return world.open_account()


def make_request(account: Account, plan: str, *, cuts: int = 40, seed: int = 1) -> SteppedRequest:
    price = Price.objects.select_related("meter").get(plan_version__plan__key=plan, currency="usd", meter__isnull=False)
    assert price.meter is not None
    rng = random.Random(seed)
    # Some steps begin on the hour, some at midnight, some in between; some are shorter than an hour.
    hours = {*rng.sample(range(1, 9 * 24), cuts), 24, 48, 120, 144}
    moments = {PERIOD.start + timedelta(hours=each) for each in hours}
    moments |= {PERIOD.start + timedelta(minutes=rng.randint(1, 9 * 24 * 60 - 1)) for _ in range(10)}
    measure = MeasureRequest(account.pk, price.meter.pk, PERIOD, get_price_terms(price))
    return SteppedRequest(measure, price.meter.aggregation, (*sorted(moments), PERIOD.end))


def disturb(account: Account, request: SteppedRequest, *, seed: int) -> None:
    """Void some events, and record others that were charged at once."""
    rng = random.Random(seed)
    events = list(UsageEvent.objects.filter(account=account, meter_id=request.measure.meter_id).order_by("id"))
    for event in rng.sample(events, len(events) // 5):
        void_usage_event(event=event, at=PERIOD.end, actor=world.TESTER, reason="It did not happen.")
    meter = Meter.objects.get(pk=request.measure.meter_id)
    moments = [PERIOD.start + PERIOD.duration * rng.random() for _ in range(8)]
    insert_events([make_row(account, meter, 500, timestamp=moment, charged=True) for moment in moments])


class TestRateSteps:
    @pytest.mark.parametrize("plan", PLANS)
    @pytest.mark.parametrize("seed", [3, 4])
    def test_is_the_engine_at_every_instant(self, account: Account, plan: str, seed: int) -> None:
        costs.use_randomly(account, PERIOD, events=150, seed=seed)
        request = make_request(account, plan, seed=seed)
        disturb(account, request, seed=seed)
        measure = request.measure
        (steps,) = rate_steps([request])
        upto = [
            MeasureRequest(measure.account_id, measure.meter_id, Period(PERIOD.start, cut), measure.price)
            for cut in request.cuts
        ]
        measured = measure_usage(upto)
        expected = [price_usage(measure.price, each.usage).amount_decimal for each in measured]
        assert [step.amount for step in steps] == expected
        assert len(set(expected)) > 1 or plan == "flat"
        counted = [sum(step.event_count for step in steps[: place + 1]) for place in range(len(steps))]
        assert counted == [each.event_count for each in measured]

    def test_leaves_out_what_was_charged_at_once_and_what_lies_outside(self, account: Account) -> None:
        before, after = PERIOD.start - timedelta(seconds=1), PERIOD.end
        for key, at in (("a", before), ("b", PERIOD.start), ("c", after)):
            world.use(account, "calls", [3], at=at, key=key)
        (steps,) = rate_steps([make_request(account, "per_unit")])
        assert [step.event_count for step in steps if step.event_count] == [1]
        assert steps[0].event_count == 1

    def test_takes_as_many_statements_for_any_number_of_events_and_requests(self, account: Account) -> None:
        counts: list[tuple[int, Any]] = []
        for events in (5, 200):
            costs.use_randomly(account, PERIOD, events=events, seed=events)
            for plans in (["per_unit", "by_model", "free_by_model"], PLANS):
                with CaptureQueriesContext(connection) as captured:
                    rate_steps([make_request(account, plan) for plan in plans])
                counts.append((len(captured) - len(plans), len(plans)))
        assert {count for count, _ in counts} == {3}

    def test_of_nothing_asks_nothing(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            assert rate_steps([]) == []

    def test_of_no_usage_costs_what_none_costs(self, account: Account) -> None:
        meter = Meter.objects.get(event_name="calls")
        (steps,) = rate_steps([make_request(account, "graduated")])
        price = Price.objects.get(plan_version__plan__key="graduated", currency="usd", meter=meter)
        nothing = MeasureRequest(account.pk, meter.pk, PERIOD, get_price_terms(price))
        (measured,) = measure_usage([nothing])
        assert {step.amount for step in steps} == {price_usage(nothing.price, measured.usage).amount_decimal}
