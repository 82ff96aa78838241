"""Credit grants, balances and credit of subscriptions, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditGrant
from accounts.services.credit_burning import burn_credits
from accounts.services.credit_grants import grant_credit, void_grant
from accounts.services.test_clocks import create_test_clock
from accounts.terms.burning import Charge
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

GRANTS = "/api/v1/billing/credit-grants"
BALANCE = "/api/v1/billing/credit-balance"
BREAKDOWN = f"{BALANCE}/breakdown"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def give(account: Account, amount: int = 1000, **values: Any) -> CreditGrant:
    return grant_credit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def ask(**body: Any) -> Any:
    return make_client().post(GRANTS, {"account": "acme", "amount_cents": 500, **body})


class TestCreate:
    def test_gives_credit(self) -> None:
        publish_catalog()
        account = make_account("acme")
        response = ask(
            name="Welcome",
            currency="EUR",
            expires_in="720h",
            priority=-3,
            eligibility=["tokens"],
            tags="trial",
            metadata={"campaign": 7},
        )
        assert response.status_code == 201
        grant = CreditGrant.objects.get()
        assert response.json() == {
            "id": grant.public_id,
            "account_id": account.public_id,
            "subscription_id": None,
            "name": "Welcome",
            "amount_cents": 500,
            "remaining_cents": 500,
            "currency": "eur",
            "priority": -3,
            "promotional": True,
            "effective_at": "2026-03-15T12:00:00Z",
            "expires_at": "2026-04-14T12:00:00Z",
            "eligibility": [grant.limits.get().meter.public_id],
            "tags": "trial",
            "voided": False,
            "active": True,
            "metadata": {"campaign": 7},
            "created_at": "2026-03-15T12:00:00Z",
        }
        assert Event.objects.get(type="credit_grant.created").actor_id == "svc"

    def test_counts_a_duration_from_its_start(self) -> None:
        make_account("acme")
        shown = ask(effective_at="2026-04-01", expires_in="P30D").json()
        assert (shown["effective_at"], shown["expires_at"]) == ("2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z")
        assert shown["active"] is False

    def test_goes_by_the_clock_of_the_account(self) -> None:
        frozen = create_test_clock(name="slow", now_at=AT - 90 * DAY, at=AT, actor=ACTOR)
        make_account("acme", test_clock=frozen)
        assert ask().json()["effective_at"] == "2025-12-15T12:00:00Z"

    def test_happens_once_per_idempotency_key(self) -> None:
        make_account("acme")
        body = {"account": "acme", "amount_cents": 500}
        first, second = (make_client().post(GRANTS, body, HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2))
        assert first.json() == second.json()
        assert CreditGrant.objects.count() == 1

    @pytest.mark.parametrize(
        ("body", "code", "finding"),
        [
            ({"amount_cents": 0}, "amount_not_positive", None),
            ({"amount_cents": -5}, "amount_not_positive", None),
            ({"currency": "xyz"}, "currency_unsupported", None),
            ({"expires_in": "soon"}, "validation_failed", ("/expires_in", "invalid")),
            ({"expires_in": "0h"}, "validation_failed", ("/expires_in", "out_of_range")),
            ({"expires_in": "9999999h"}, "validation_failed", ("/expires_in", "out_of_range")),
            ({"expires_in": 30}, "validation_failed", ("/expires_in", "invalid")),
            ({"eligibility": ["nope"]}, "validation_failed", ("/eligibility/0", "meter_not_found")),
            ({"expires_at": "2026-03-01"}, "validation_failed", ("/expires_at", "before_start")),
            (
                {"effective_at": "2026-05-01", "expires_at": "2026-04-01"},
                "validation_failed",
                ("/expires_at", "before_start"),
            ),
            ({"expires_in": "1h", "expires_at": "2027-01-01"}, "validation_failed", ("/expires_at", "conflict")),
            ({"expiry": "2027-01-01"}, "validation_failed", None),
            ({"account": None}, "validation_failed", None),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, body: dict[str, Any], code: str, finding: tuple[str, str] | None
    ) -> None:
        make_account("acme")
        found = problem(ask(**body), code, 400)
        assert finding is None or findings(found) == [finding]
        assert not CreditGrant.objects.exists()

    def test_needs_an_account(self) -> None:
        problem(make_client().post(GRANTS, {"amount_cents": 5}), "account_required", 400)

    def test_is_for_internal_callers_with_the_money_scope(self) -> None:
        make_account("alice")
        problem(make_client("public", "alice").post(GRANTS, {"amount_cents": 5}), "audience_rejected", 403)
        poor = make_client(scopes=["billing:read", "billing:payment:write"])
        problem(poor.post(GRANTS, {"account": "alice", "amount_cents": 5}), "scope_missing", 403)


class TestList:
    def test_shows_everything_newest_first_and_filters(self) -> None:
        account = make_account("acme")
        spent = give(account, 10, tags="trial")
        burn_credits(account=account, charges=[Charge("fee", 10, "usd")], key="x", at=AT, actor=ACTOR)
        voided = give(account, tags="trial")
        void_grant(grant_id=voided.pk, at=AT, actor=ACTOR)
        later, usable = give(account, effective_at=AT + DAY), give(account)
        give(make_account())

        def ids(**query: Any) -> list[str]:
            return [row["id"] for row in make_client().get(GRANTS, {"account": "acme", **query}).json()["items"]]

        assert ids() == [grant.public_id for grant in (usable, later, voided, spent)]
        assert ids(active="true") == [usable.public_id]
        assert ids(active="false") == [grant.public_id for grant in (later, voided, spent)]
        assert ids(tags="trial") == [voided.public_id, spent.public_id]
        assert len(ids(limit=2)) == 2

    def test_tells_voided_from_active(self) -> None:
        account = make_account("acme")
        void_grant(grant_id=give(account).pk, at=AT, actor=ACTOR)
        (row,) = make_client().get(GRANTS, {"account": "acme"}).json()["items"]
        assert (row["voided"], row["active"], row["remaining_cents"], row["amount_cents"]) == (True, False, 0, 1000)


class TestVoid:
    def test_takes_back_the_rest(self) -> None:
        grant = give(make_account())
        response = make_client().post(f"{GRANTS}/{grant.public_id}/void", {"reason": "mistake"})
        assert (response.status_code, response.json()["voided"], response.json()["remaining_cents"]) == (200, True, 0)
        grant.refresh_from_db()
        assert (grant.void_reason, grant.voided_by) == ("mistake", "token:svc")

    def test_is_refused_the_second_time(self) -> None:
        path = f"{GRANTS}/{give(make_account()).public_id}/void"
        make_client().post(path)
        problem(make_client().post(path), "already_voided", 409)

    def test_reaches_no_other_organization(self) -> None:
        grant = give(make_account("other/shop"))
        problem(make_client(org="acme").post(f"{GRANTS}/{grant.public_id}/void"), "not_found", 404)
        problem(make_client().post(f"{GRANTS}/cgr_nonsense/void"), "not_found", 404)


class TestBalance:
    def test_is_what_is_usable_per_currency(self) -> None:
        account = make_account("acme")
        give(account, 700)
        give(account, 50, currency="jpy")
        give(account, 9, effective_at=AT + DAY)
        response = make_client().get(BALANCE, {"account": "acme"})
        assert response.json() == {
            "account_id": account.public_id,
            "balances": [{"currency": "jpy", "available": 50}, {"currency": "usd", "available": 700}],
        }

    def test_is_zero_in_the_accounts_currency_without_credit(self) -> None:
        make_account("alice", currency="eur")
        shown = make_client("public", "alice").get(BALANCE).json()["balances"]
        assert shown == [{"currency": "eur", "available": 0}]

    @pytest.mark.parametrize("path", [BALANCE, BREAKDOWN, GRANTS])
    def test_needs_an_account_that_is_the_callers(self, path: str) -> None:
        account = make_account("acme")
        make_account("bob")
        problem(make_client().get(path), "account_required", 400)
        problem(make_client("public", "bob").get(path, {"account": "acme"}), "account_forbidden", 403)
        make_member(account, "carol")
        assert make_client("public", "carol").get(path, {"account": "acme"}).status_code == 200


class TestBreakdown:
    def test_groups_by_tag_with_the_earliest_end(self) -> None:
        account = make_account("acme")
        give(account, 100, tags="trial", expires_at=AT + 20 * DAY)
        give(account, 30, tags="trial spring", expires_at=AT + 10 * DAY)
        give(account, 5, tags="trial")
        give(account, 40)
        give(account, 7, tags="trial", currency="eur")
        assert make_client().get(BREAKDOWN, {"account": "acme"}).json() == {
            "account_id": account.public_id,
            "breakdown": {
                "other": {"cents": 40, "currency": "usd", "expires_at": None},
                "trial": {"cents": 135, "currency": "usd", "expires_at": "2026-03-25T12:00:00Z"},  # 100 + 30 + 5
                "trial:eur": {"cents": 7, "currency": "eur", "expires_at": None},
            },
            "total": {"cents": 175, "currency": "usd"},  # 135 + 40
        }


class TestSubscriptionCredits:
    def path(self, reference: str) -> str:
        return f"/api/v1/billing/subscriptions/{reference}/credits"

    def test_are_bound_to_the_subscription(self) -> None:
        publish_catalog()
        subscription = make_subscription(make_account("acme"))
        body = {"amount": 900, "reason": "downtime in March", "expires_at": "2026-06-30"}
        response = make_client().post(self.path(subscription.public_id), body)
        assert response.status_code == 201
        shown = response.json()
        assert (shown["subscription_id"], shown["tags"]) == (subscription.public_id, "subscription")
        assert (shown["amount_cents"], shown["currency"], shown["expires_at"]) == (900, "usd", "2026-07-01T00:00:00Z")
        assert Event.objects.get(type="credit_grant.created").reason == "downtime in March"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"amount": 0, "reason": "because"}, "amount_not_positive"),
            ({"amount": 5}, "validation_failed"),
            ({"amount": 5, "reason": "because", "currency": "eur"}, "validation_failed"),
        ],
    )
    def test_refuse_what_makes_no_sense(self, body: dict[str, Any], code: str) -> None:
        publish_catalog()
        subscription = make_subscription(make_account())
        problem(make_client().post(self.path(subscription.public_id), body), code, 400)

    def test_reach_only_known_subscriptions(self) -> None:
        publish_catalog("other")
        subscription = make_subscription(make_account("other/shop"))
        body = {"amount": 5, "reason": "because"}
        problem(make_client().post(self.path("sub_nonsense"), body), "not_found", 404)
        problem(make_client(org="acme").post(self.path(subscription.public_id), body), "not_found", 404)
