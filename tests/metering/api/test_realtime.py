"""The doors of the cost so far, and the estimate: fields, currencies, refusals, one tenant never sees another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account
from billing_site.kernel import clock
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.accounts import make_member
from tests.support import costs, world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
NOW = datetime(2023, 11, 20, 10, 30, tzinfo=UTC)
DOOR = "/api/v1/billing/realtime-cost/tenants/acme"
ESTIMATE = "/api/v1/billing/tenants/acme/billing/estimate"


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    costs.publish_plans()
    account = world.open_account("acme")
    world.subscribe(account, "included")
    world.use(account, "calls", [110], at=datetime(2023, 11, 2, tzinfo=UTC))
    return account


def get(path: str, **query: str) -> dict[str, Any]:
    answer = make_client().get(path, query)
    assert answer.status_code == 200, answer.content
    shown: dict[str, Any] = answer.json()
    return shown


class TestCurrent:
    def test_answers_as_the_contract_says(self, account: Account) -> None:
        # The fee is 10.00; 10 calls above the 100 that are included at 2.5 cents.
        assert get(f"{DOOR}/current") == {
            "account_id": account.public_id,
            "currency": "usd",
            "period_start": "2023-11-01T00:00:00Z",
            "period_end": "2023-12-01T00:00:00Z",
            "fixed_cost": 1000,
            "usage_cost": 25,
            "total_cost": 1025,
            "previous_total": 0,
            "as_of": "2023-11-20T10:30:00Z",
        }

    def test_of_another_currency_is_zero(self, account: Account) -> None:
        shown = get(f"{DOOR}/current", currency="EUR")
        assert (shown["currency"], shown["total_cost"]) == ("eur", 0)
        problem(make_client().get(f"{DOOR}/current", {"currency": "xx"}), "currency_unsupported", 400)

    def test_is_for_its_members_only(self, account: Account) -> None:
        other = make_client("public", subject="eve")
        for path in (f"{DOOR}/current", f"{DOOR}/by-resource", f"{DOOR}/timeline", ESTIMATE):
            assert other.get(path).status_code in (403, 404)
            problem(make_client(scopes=["billing:usage:write"]).get(path), "scope_missing", 403)
            problem(make_client().get(path.replace("acme", "nobody")), "not_found", 404)
        make_member(account, "ada")
        assert make_client("public", subject="ada").get(f"{DOOR}/current").status_code == 200

    def test_says_which_event_has_no_price(self, account: Account) -> None:
        world.subscribe(account, "dynamic")
        record_usage_events(
            events=[NewUsageEvent(account, "payments", Decimal(1), timestamp=NOW, metadata={"unit_amount": "much"})],
            at=NOW,
            actor=world.TESTER,
        )
        for path in (f"{DOOR}/current", f"{DOOR}/timeline", ESTIMATE):
            problem(make_client().get(path), "usage_not_priceable", 422)


class TestByResource:
    def test_answers_as_the_contract_says(self, account: Account) -> None:
        shown = get(f"{DOOR}/by-resource")
        assert shown == {
            "account_id": account.public_id,
            "currency": "usd",
            "items": [
                {
                    "metric_type": "fixed",
                    "current_value": 1000,
                    "previous_value": 0,
                    "threshold": None,
                    "unit": None,
                    "quantity": None,
                    "share_percent": "97.56",
                    "timestamp": "2023-11-20T10:30:00Z",
                },
                {
                    "metric_type": "calls",
                    "current_value": 25,
                    "previous_value": 0,
                    "threshold": "100",
                    "unit": "calls",
                    "quantity": "110",
                    "share_percent": "2.44",
                    "timestamp": "2023-11-02T00:00:00Z",
                },
            ],
            "total": 1025,
            "as_of": "2023-11-20T10:30:00Z",
        }


class TestTimeline:
    def test_answers_as_the_contract_says(self, account: Account) -> None:
        shown = get(f"{DOOR}/timeline", end="2023-11-03")
        assert shown == {
            "account_id": account.public_id,
            "currency": "usd",
            "granularity": "day",
            "points": [
                {"at": "2023-11-01T00:00:00Z", "cost": 1000, "cumulative": 1000},
                {"at": "2023-11-02T00:00:00Z", "cost": 25, "cumulative": 1025},
                {"at": "2023-11-03T00:00:00Z", "cost": 0, "cumulative": 1025},
            ],
            "as_of": "2023-11-20T10:30:00Z",
        }
        assert len(get(f"{DOOR}/timeline", granularity="hour")["points"]) == 19 * 24 + 11

    def test_refuses_what_makes_no_sense(self, account: Account) -> None:
        client = make_client()
        backwards = client.get(f"{DOOR}/timeline", {"start": "2023-11-05T00:00:00Z", "end": "2023-11-04T00:00:00Z"})
        problem(backwards, "period_invalid", 400)
        problem(client.get(f"{DOOR}/timeline", {"granularity": "minute"}), "validation_failed", 400)
        world.subscribe(account, "yearly", interval="year", at=datetime(2023, 10, 1, tzinfo=UTC))
        problem(client.get(f"{DOOR}/timeline", {"granularity": "hour"}), "period_invalid", 400)


class TestEstimate:
    def test_answers_as_the_contract_says(self, account: Account) -> None:
        # 19 days and 10.5 hours of 30 are 466.5 of 720 hours: 64.79 %; 25 x 720 / 466.5 = 38.6.
        assert get(ESTIMATE) == {
            "account_id": account.public_id,
            "month": "2023-11",
            "fixed_cost": 1000,
            "usage_to_date": 25,
            "projected_usage": 39,
            "projected_total": 1039,
            "elapsed_percent": "64.79",
            "confidence": "normal",
            "currency": "usd",
        }
