"""Tiers and the gate in front of models, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from accounts.queries.tiers import DAILY_TAG
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from tests.factories.accounts import ACTOR, AT, make_account
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

TIER = "/api/v1/billing/tier"
CHECK = "/api/v1/billing/tier-check"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def put(account: Account, amount: int, **values: Any) -> None:
    deposit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def money(**query: Any) -> dict[str, Any]:
    shown: dict[str, Any] = make_client().get(TIER, {"account": "acme", **query}).json()["balance"]
    return shown


class TestTier:
    def test_shows_limits_and_money(self) -> None:
        account = make_account("acme")
        put(account, 250)
        assert make_client().get(TIER, {"account": "acme"}).json() == {
            "account_id": account.public_id,
            "tier": {
                "name": "free",
                "display_name": "Free",
                "max_agents": 1,
                "unlimited_agents": False,
                "allowed_models": ["model-a", "model-b"],
                "daily_credits_cents": 100,
            },
            "balance": {
                "currency": "usd",
                "prepaid_available": 250,
                "daily_remaining": 100,
                "effective_available": 350,  # 250 + 100
            },
        }

    def test_takes_off_what_daily_credit_covered_today(self) -> None:
        account = make_account("acme")
        put(account, 50, tags=DAILY_TAG, at=AT - timedelta(hours=12, seconds=1))  # yesterday
        put(account, 30, tags=DAILY_TAG)
        assert money()["daily_remaining"] == 70  # 100 - 30
        with clock.travel(AT + timedelta(hours=12)):
            assert money()["daily_remaining"] == 100  # 00:00 UTC

    def test_gives_daily_credit_in_usd_and_on_its_tier_only(self) -> None:
        make_account("acme")
        assert money(currency="eur")["daily_remaining"] == 0
        assert money(tier="pro")["daily_remaining"] == 0

    def test_follows_the_site(self, settings: Any) -> None:
        settings.BILLING_TIERS = {"free": {"daily_credits_cents": 7}}
        make_account("acme")
        assert money()["effective_available"] == 7


class TestChoice:
    def name(self, client: Any, **query: Any) -> str:
        return str(client.get(CHECK, query).json()["tier"]["name"])

    def test_is_the_stored_tier(self) -> None:
        make_account("acme", tier="starter")
        assert self.name(make_client(), account="acme") == "starter"

    def test_is_the_claim_of_the_token_before_the_stored_one(self) -> None:
        make_account("alice", tier="starter")
        assert self.name(make_client("public", "alice", tier="pro")) == "pro"
        assert self.name(make_client("public", "alice", tier="gold")) == "free"
        assert self.name(make_client("public", "alice", tier=7)) == "starter"

    def test_is_overridden_by_internal_callers_only(self) -> None:
        make_account("alice")
        assert self.name(make_client(), account="alice", tier="enterprise") == "enterprise"
        assert self.name(make_client("public", "alice"), tier="enterprise") == "free"


class TestCheck:
    @pytest.mark.parametrize(("model", "allowed"), [("model-a-2026-01", True), ("model-c", False)])
    def test_answers_for_one_model(self, model: str, allowed: bool) -> None:
        account = make_account("alice")
        shown = make_client("public", "alice").get(CHECK, {"model": model}).json()
        assert (shown["account_id"], shown["model"], shown["allowed"]) == (account.public_id, model, allowed)
        assert "daily_credits_cents" not in shown["tier"]

    def test_says_nothing_of_a_model_nobody_asked_about(self) -> None:
        make_account("alice")
        assert set(make_client("public", "alice").get(CHECK).json()) == {"account_id", "tier"}

    def test_reads_once(self) -> None:
        make_account("acme")
        client = make_client()
        with CaptureQueriesContext(connection) as queries:
            client.get(CHECK, {"account": "acme", "model": "x"})
        assert len(queries) == 1

    def test_speaks_camel_case(self) -> None:
        make_account("acme")
        shown = make_client().get(CHECK, {"account": "acme"}, headers={"Accept": "application/vnd.billing.camel+json"})
        assert set(shown.json()) == {"accountId", "tier"}
        assert shown.json()["tier"]["allowedModels"] == ["model-a", "model-b"]

    @pytest.mark.parametrize("path", [TIER, CHECK])
    def test_needs_an_account_that_is_the_callers(self, path: str) -> None:
        make_account("acme")
        make_account("bob")
        problem(make_client().get(path), "account_required", 400)
        problem(make_client("public", "bob").get(path, {"account": "acme"}), "account_forbidden", 403)
