"""Credit spent, renewed, ended and voided over several connections at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, CreditBurn, CreditGrant
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.credit_burning import BurnedCredit, burn_credits, renew_grants
from accounts.services.credit_grants import Recurring, expire_grants, grant_credit, void_grant
from accounts.services.credit_restoring import restore_burn
from accounts.services.starter_credit import StarterCreditAlreadyGranted, grant_starter_credit
from accounts.terms.burning import Charge
from billing_site.kernel.periods import Interval
from tests.factories.accounts import ACTOR, AT, make_account
from tests.factories.payment_methods import make_payment_method

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)


def at_once(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run everything at the same moment, each on a connection of its own; return the results in order."""
    barrier = Barrier(len(work))

    def run(task: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=30)
            return task()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, task) for task in work]]


def give(account: Account, amount: int = 1000, **values: Any) -> CreditGrant:
    return grant_credit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR, **values)


def pay(account: Account, amount: int, key: str, at: Any = AT) -> BurnedCredit:
    charges = [Charge("fee", amount, "usd")]
    return burn_credits(account=account, charges=charges, key=key, at=at, actor=ACTOR)


def test_burns_of_one_grant_never_spend_it_twice() -> None:
    account = make_account()
    grant = give(account, 1000)
    results = at_once([lambda number=number: pay(account, 300, f"in_{number}") for number in range(8)])  # type: ignore[misc]
    assert sorted(result.burn.paid for result in results) == [0, 0, 0, 0, 100, 300, 300, 300]  # 3 x 300 + 100
    grant.refresh_from_db()
    assert grant.remaining == 0
    assert sum(CreditBurn.objects.values_list("amount", flat=True)) == 1000
    assert prove_ledger().holds


def test_a_burn_repeated_at_the_same_moment_pays_once() -> None:
    account = make_account()
    give(account, 1000)
    results = at_once([lambda: pay(account, 300, "in_1")] * 6)
    assert {result.burn.paid for result in results} == {300}
    assert CreditBurn.objects.count() == 1


def test_a_key_gives_one_grant() -> None:
    account = make_account()
    grants = at_once([lambda: give(account, once_key="welcome")] * 6)
    assert len({grant.pk for grant in grants}) == 1
    assert CreditGrant.objects.count() == 1


def test_voiding_while_it_is_spent_loses_and_doubles_nothing() -> None:
    account = make_account()
    grant = give(account, 1000)
    paid, voided = at_once(
        [lambda: pay(account, 400, "in_1"), lambda: void_grant(grant_id=grant.pk, at=AT, actor=ACTOR)]
    )
    assert (paid.burn.paid, voided.released) in ((400, 600), (0, 1000))
    assert prove_ledger().holds


def test_renewal_expiry_and_spending_meet_without_harm() -> None:
    account = make_account()
    give(account, 1000, recurring=Recurring(Interval.parse("month"), rollover_maximum=400))
    give(account, 70, expires_at=AT + 40 * DAY)
    later = AT + 70 * DAY  # two boundaries on: 15 April and 15 May
    work: list[Callable[[], Any]] = [
        lambda: renew_grants(at=later),
        lambda: expire_grants(at=later),
        lambda: pay(account, 5000, "in_1", at=later),
        lambda: renew_grants(at=later),
    ]
    results = at_once(work)
    assert results[2].burn.paid == 1400  # 1,000 and 400 of what was left
    assert CreditGrant.objects.filter(renews_at__isnull=False).count() == 1
    assert prove_ledger().holds


def test_the_starter_credit_is_given_once() -> None:
    account = make_account()
    make_payment_method(account)

    def claim() -> str:
        try:
            grant_starter_credit(account=account, at=AT, actor=ACTOR, trigger="claim")
        except StarterCreditAlreadyGranted as refusal:
            return refusal.code
        return "given"

    answers = at_once([claim] * 6)
    assert sorted(answers) == ["given", *["starter_credit_already_granted"] * 5]
    assert get_balance(account_id=account.pk, currency="usd").balance == 500


def test_a_burn_undone_at_the_same_moment_comes_back_once() -> None:
    account = make_account()
    grant = give(account, 1000)
    pay(account, 400, "in_1")
    at_once([lambda: restore_burn(key="in_1", at=AT, actor=ACTOR)] * 5)
    grant.refresh_from_db()
    assert grant.remaining == 1000
    assert prove_ledger().holds
