"""The proof of the ledger covers credit: each grant adds up, and the ledger holds what the grants have left."""

from __future__ import annotations

import pytest

from accounts.models import CreditGrant, LedgerAccount
from accounts.queries.proof import prove_ledger
from accounts.services.credit_grants import grant_credit
from tests.accounts.queries.test_proof import find_fault, tamper
from tests.factories.accounts import ACTOR, AT, make_account


@pytest.fixture
def grant(db: None) -> CreditGrant:
    """5.00 usd of credit."""
    return grant_credit(account=make_account(), amount=500, currency="usd", at=AT, actor=ACTOR)


def test_holds_for_what_the_services_wrote(grant: CreditGrant) -> None:
    assert prove_ledger().holds


def test_finds_a_grant_that_does_not_add_up(grant: CreditGrant) -> None:
    tamper("UPDATE credit_grants SET remaining = 300")
    assert str(find_fault()) == f"{grant.public_id}: was 5.00 USD; paid, released and left are 3.00 USD"


def test_finds_a_ledger_account_that_differs_from_its_grants(grant: CreditGrant) -> None:
    tamper("UPDATE credit_grants SET remaining = 300, released = 200")
    pot = LedgerAccount.objects.get(kind="credit_grants")
    assert str(find_fault()) == f"{pot.public_id}: balance is 5.00 USD, the grants have 3.00 USD left"
