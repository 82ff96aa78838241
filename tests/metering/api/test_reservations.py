"""Reservations over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account
from billing_site.kernel import clock
from metering.models import QuotaReservation, UsageEvent
from metering.tasks.quotas import expire_quota_reservations
from tests.factories.quotas import make_quota, publish_limits
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/internal/billing/quota-reservations"
NOW = world.NOVEMBER + timedelta(days=10, hours=5)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    publish_limits()
    account = world.open_account("alice")
    make_quota(account, "tokens", 100)
    return account


def reserve(**body: Any) -> dict[str, Any]:
    sent = {"account": "alice", "resource_type": "tokens", "quantity": 60, **body}
    response = make_client().post(DOOR, sent)
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def post(reservation: dict[str, Any], what: str, **body: Any) -> Any:
    return make_client().post(f"{DOOR}/{reservation['id']}/{what}", body)


class TestReserve:
    def test_answers_what_is_held(self, account: Account) -> None:
        answer = reserve(expires_in=60, metadata={"job": 7})
        assert answer == {
            "id": QuotaReservation.objects.get().public_id,
            "account_id": account.public_id,
            "meter_event_name": "tokens",
            "unit": "tokens",
            "quantity": "60",
            "status": "open",
            "committed_quantity": None,
            "usage_event_id": None,
            "metadata": {"job": 7},
            "created_at": "2023-11-11T05:00:00Z",
            "expires_at": "2023-11-11T05:01:00Z",
            "ended_at": None,
        }
        assert make_client().get(f"{DOOR}/{answer['id']}").json() == answer

    def test_shows_in_checks_lists_and_status(self, account: Account) -> None:
        reserve()
        quotas = "/api/v1/billing/quotas/tenants/alice"
        [item] = make_client().get(f"{quotas}/check", {"requested": 41}).json()["items"]
        # 0 used + 60 held + 41 > 100
        assert [item[name] for name in ("used", "reserved", "remaining", "allowed")] == ["0", "60", "40", False]
        [listed] = make_client().get(quotas).json()["items"]
        assert (listed["current_usage"], listed["reserved"]) == ("0", "60")
        [shown] = make_client().get("/api/v1/billing/status", {"account": "alice"}).json()["usage"]
        assert (shown["used"], shown["remaining"], shown["exceeded"]) == ("0", "40", False)

    def test_past_the_limit_is_refused_and_may_be_tried_again_with_its_key(self, account: Account) -> None:
        first = reserve()
        body = {"account": "alice", "resource_type": "tokens", "quantity": 41}
        headers = {"Idempotency-Key": "again"}
        answer = problem(make_client().post(DOOR, body, headers=headers), "quota_exceeded", 429)
        assert (answer["quota"]["remaining"], answer["retryable"]) == ("40", True)
        assert post(first, "release").status_code == 200
        assert make_client().post(DOOR, body, headers=headers).status_code == 201

    @pytest.mark.parametrize(
        ("body", "code", "status"),
        [
            ({"quantity": 0}, "validation_failed", 400),
            ({"quantity": -5}, "validation_failed", 400),
            ({"expires_in": 0}, "validation_failed", 400),
            ({"expires_in": 86_401}, "validation_failed", 400),
            ({"unit": "GB"}, "validation_failed", 400),
            ({"nonsense": 1}, "validation_failed", 400),
            ({"resource_type": "nonsense"}, "meter_not_found", 404),
            ({"resource_type": "seats"}, "meter_not_reservable", 422),
            ({"account": "nobody"}, "not_found", 404),
        ],
    )
    def test_of_what_will_not_do_is_refused(self, account: Account, body: Any, code: str, status: int) -> None:
        sent = {"account": "alice", "resource_type": "tokens", "quantity": 60, **body}
        problem(make_client().post(DOOR, sent), code, status)
        assert not QuotaReservation.objects.exists()

    def test_is_for_internal_callers(self, account: Account) -> None:
        row = reserve()
        public, foreign = make_client("public", "alice"), make_client(org="other")
        problem(public.post(DOOR, {"resource_type": "tokens", "quantity": 1}), "audience_rejected", 403)
        problem(public.get(f"{DOOR}/{row['id']}"), "audience_rejected", 403)
        for path, send in (("", foreign.get), ("/commit", foreign.post), ("/release", foreign.post)):
            problem(send(f"{DOOR}/{row['id']}{path}"), "not_found", 404)
        problem(make_client().get(f"{DOOR}/nonsense"), "not_found", 404)
        problem(make_client().get(f"{DOOR}/{account.public_id}"), "not_found", 404)


class TestCommit:
    def test_counts_what_was_used(self, account: Account) -> None:
        row = reserve()
        answer = post(row, "commit", quantity="42.5", dimensions={"model": "a"}, resource_id="r").json()
        event = UsageEvent.objects.get()
        assert (answer["status"], answer["committed_quantity"]) == ("committed", "42.5")
        assert (answer["usage_event_id"], answer["ended_at"]) == (event.public_id, "2023-11-11T05:00:00Z")
        assert event.dimensions == {"model": "a"}
        assert post(row, "commit", quantity="42.50").json() == answer
        problem(post(row, "commit", quantity=1), "invalid_state", 409)
        problem(post(row, "release"), "invalid_state", 409)

    def test_refusals_have_codes_of_their_own(self, account: Account) -> None:
        row = reserve()
        problem(post(row, "commit", quantity=101), "quota_exceeded", 429)
        problem(post(row, "commit", quantity=-1), "validation_failed", 400)
        problem(post(row, "commit", cost_center="nowhere"), "validation_failed", 400)
        with clock.travel(NOW + timedelta(hours=1)):
            reserve(quantity=100)
            problem(post(row, "commit"), "quota_reservation_expired", 409)
        assert UsageEvent.objects.count() == 0


class TestEnd:
    def test_is_shown_before_it_is_noted(self, account: Account) -> None:
        row = reserve()
        with clock.travel(NOW + timedelta(hours=1)):
            assert make_client().get(f"{DOOR}/{row['id']}").json()["status"] == "expired"
            assert QuotaReservation.objects.get().status == "open"
            assert expire_quota_reservations() == 1
            assert QuotaReservation.objects.get().status == "expired"
            assert post(row, "release").json()["status"] == "expired"
            assert post(row, "commit", quantity=7).json()["status"] == "committed"
