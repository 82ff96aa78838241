"""Cost so far: the numbers of the next invoice, however the account buys, and the same step by step."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from billing_site.kernel.periods import Period
from invoicing.models import Invoice
from invoicing.queries.realtime import get_realtime_cost, get_realtime_resources
from tests.support import costs, world

pytestmark = pytest.mark.django_db
NOVEMBER = Period(world.NOVEMBER, world.DECEMBER)
AT = datetime(2023, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    costs.publish_plans()


class TestEqualsTheInvoice:
    @pytest.mark.parametrize("plan", [*costs.PRICES])
    def test_of_every_price(self, plan: str) -> None:
        account = world.open_account(plan)
        subscription = world.subscribe(account, plan)
        costs.use_randomly(account, Period(world.NOVEMBER, AT), events=120, seed=len(plan))
        found = get_realtime_cost(account=account, at=AT)
        costs.check_timeline(account, at=AT, granularity="hour")
        costs.check_timeline(account, at=AT, granularity="day")
        resources = get_realtime_resources(account=account, at=AT)
        assert sum(item.cost for item in resources.items) == found.running.total
        world.run_cycle(as_of=world.DECEMBER)
        invoice = Invoice.objects.filter(subscription=subscription).order_by("-id")[0]
        # The same fee is billed for December, so the whole invoice is what November costs.
        assert found.running.total == invoice.total > 0
        assert (found.running.period, found.running.currency) == (NOVEMBER, "usd")
