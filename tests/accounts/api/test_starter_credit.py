"""Claiming the starter credit, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditLot, LedgerEntry
from accounts.queries.ledger import get_balance
from accounts.queries.tiers import get_spendable, get_tier
from accounts.services.deposits import expire_deposits
from accounts.services.starter_credit import StarterCreditAlreadyGranted, grant_starter_credit
from billing_site.kernel import clock
from tests.factories.accounts import ACTOR, AT, make_account, make_member
from tests.factories.payment_methods import make_payment_method
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

CLAIM = "/api/v1/billing/credit"


@pytest.fixture(autouse=True)
def _sandbox(settings: Any) -> Iterator[None]:
    settings.BILLING_STARTER_CREDIT_NEEDS_METHOD = False
    with clock.travel(AT):
        yield


def prepaid(account: Account) -> int:
    return get_balance(account_id=account.pk, currency="usd").balance


class TestClaim:
    def test_deposits_five_dollars_for_thirty_days(self) -> None:
        account = make_account("alice")
        response = make_client("public", "alice").post(CLAIM)
        entry = LedgerEntry.objects.get()
        assert (response.status_code, response.json()) == (
            201,
            {
                "transaction_id": entry.public_id,
                "account_id": account.public_id,
                "amount": 500,
                "currency": "usd",
                "type": "deposit",
                "tags": "starter-credit",
                "expires_at": "2026-04-14T12:00:00Z",
                "original_transaction_id": None,
            },
        )
        assert entry.metadata == {"credit_type": "starter", "expiry_days": 30, "trigger": "claim"}
        assert CreditLot.objects.get().promotional
        tier = get_tier(account=account)
        assert get_spendable(account=account, tier=tier, currency="usd", at=AT).effective_available == 600  # 500 + 100

    def test_is_given_once_for_ever(self) -> None:
        account = make_account("alice")
        client = make_client("public", "alice")
        client.post(CLAIM)
        problem(client.post(CLAIM), "starter_credit_already_granted", 409)
        expire_deposits(at=AT + timedelta(days=31))
        problem(client.post(CLAIM), "starter_credit_already_granted", 409)
        with pytest.raises(StarterCreditAlreadyGranted):
            grant_starter_credit(account=account, at=AT, actor=ACTOR, trigger="method_verified")
        assert prepaid(account) == 0

    def test_needs_a_payment_method_unless_the_site_does_not_ask(self, settings: Any) -> None:
        settings.BILLING_STARTER_CREDIT_NEEDS_METHOD = True
        account = make_account("alice")
        client = make_client("public", "alice")
        make_payment_method(account, "btok_us", type="bank_account")  # nothing was held on it
        problem(client.post(CLAIM), "payment_method_required", 403)
        assert prepaid(account) == 0
        make_payment_method(account)
        assert client.post(CLAIM).status_code == 201
        assert prepaid(account) == 500

    def test_is_for_own_accounts_and_those_who_may_write(self) -> None:
        account = make_account("acme")
        make_account("bob")
        make_member(account, "carol")
        problem(make_client("public", "bob").post(CLAIM, {"account": "acme"}), "account_forbidden", 403)
        problem(make_client("public", "carol").post(CLAIM, {"account": "acme"}), "account_forbidden", 403)
        problem(make_client().post(CLAIM), "account_required", 400)
        assert make_client().post(CLAIM, {"account": "acme"}).status_code == 201

    def test_needs_the_scope_of_the_audience(self) -> None:
        make_account("alice")
        problem(make_client("public", "alice", scopes=["billing:read"]).post(CLAIM), "scope_missing", 403)
        problem(make_client(scopes=["billing:setup"]).post(CLAIM, {"account": "alice"}), "scope_missing", 403)
