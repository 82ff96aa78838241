"""One balance, many connections: nothing is overdrawn, doubled or deadlocked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, CreditLot, Hold, LedgerEntry, LotTaking
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.corrections import AmountExceedsRefundable, correct_movement
from accounts.services.deposits import deposit, expire_deposits
from accounts.services.holds import capture_hold, create_hold, expire_holds, void_hold
from accounts.services.prepaid import InsufficientBalance
from accounts.services.spending import spend_prepaid
from accounts.services.withdrawals import withdraw
from billing_site.kernel.errors import InvalidState
from tests.factories.accounts import ACTOR, AT, make_account
from tests.support.api import make_client

pytestmark = pytest.mark.django_db(transaction=True)

CONNECTIONS = 20
REFUSALS = (InsufficientBalance, AmountExceedsRefundable, InvalidState)


def at_once(tasks: Sequence[Callable[[], Any]]) -> Counter[str]:
    """
    Run tasks on many connections that start together; count how they ended: `done`, or the name of the refusal.

    Anything else, such as a deadlock, fails the test.
    """
    workers = min(CONNECTIONS, len(tasks))
    barrier = Barrier(workers)

    def work(share: Sequence[Callable[[], Any]]) -> list[str]:
        ends = []
        try:
            barrier.wait(timeout=30)
            for task in share:
                try:
                    task()
                    ends.append("done")
                except REFUSALS as error:
                    ends.append(type(error).__name__)
        finally:
            connection.close()
        return ends

    with ThreadPoolExecutor(workers) as pool:
        shares = [pool.submit(work, tasks[start::workers]) for start in range(workers)]
        return Counter(end for share in shares for end in share.result(timeout=120))


def give(account: Account, amount: int, **values: Any) -> None:
    deposit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR, **values)


def posted(account: Account) -> int:
    return get_balance(account_id=account.pk, currency="usd").balance


def spending(account: Account, amount: int, key: str) -> Callable[[], Any]:
    return lambda: spend_prepaid(account=account, amount=amount, currency="usd", key=key, at=AT, actor=ACTOR)


class TestSpends:
    def test_of_one_balance_never_overdraw_it(self) -> None:
        account = make_account()
        for days in (3, 1, 2):
            give(account, 200, expires_in=days)
        give(account, 100)
        ends = at_once([spending(account, 10, f"usage:{number}") for number in range(100)])
        assert ends == {"done": 70, "InsufficientBalance": 30}  # 700 / 10
        assert posted(account) == 0
        assert not CreditLot.objects.filter(remaining__gt=0).exists()
        assert sum(LotTaking.objects.values_list("amount", flat=True)) == 700
        assert prove_ledger().holds

    def test_with_one_key_happen_once(self) -> None:
        account = make_account()
        give(account, 1000)
        assert at_once([spending(account, 10, "usage:same") for _ in range(40)]) == {"done": 40}
        assert posted(account) == 990

    def test_of_everything_at_once_neither_deadlock_nor_overdraw(self) -> None:
        accounts = [make_account() for _ in range(3)]
        for account in accounts:
            give(account, 500, expires_in=1)
            give(account, 500)
            give(account, 300, tags="promo")
        later = AT + timedelta(days=2)
        tasks: list[Callable[[], Any]] = []
        for number in range(8):
            for account in accounts:
                tasks += [
                    spending(account, 30, f"usage:{account.pk}:{number}"),
                    lambda account=account: withdraw(  # type: ignore[misc]
                        account=account, amount=20, currency="usd", at=AT, actor=ACTOR
                    ),
                    lambda account=account: create_hold(  # type: ignore[misc]
                        account=account, amount=25, currency="usd", at=AT, actor=ACTOR, expires_at=AT + timedelta(1)
                    ),
                    lambda account=account: give(account, 15),  # type: ignore[misc]
                ]
            tasks += [lambda: expire_deposits(at=later), lambda: expire_holds(at=later)]
        at_once(tasks)
        expire_holds(at=later)
        expire_deposits(at=later)
        assert prove_ledger().fault is None
        assert all(posted(account) >= 0 for account in accounts)
        assert not CreditLot.objects.filter(expires_at__isnull=False, remaining__gt=0).exists()


class TestHolds:
    def test_of_one_balance_never_hold_more_than_it(self) -> None:
        account = make_account()
        give(account, 500)
        tasks = [lambda: create_hold(account=account, amount=50, currency="usd", at=AT, actor=ACTOR)] * 30
        assert at_once(tasks) == {"done": 10, "InsufficientBalance": 20}
        assert get_balance(account_id=account.pk, currency="usd").available == 0

    def test_end_once(self) -> None:
        account = make_account()
        give(account, 500)
        hold = create_hold(account=account, amount=100, currency="usd", at=AT, actor=ACTOR)
        captures = [lambda: capture_hold(hold_id=hold.pk, at=AT, actor=ACTOR)] * 10
        voids = [lambda: void_hold(hold_id=hold.pk, at=AT, actor=ACTOR)] * 10
        at_once([task for pair in zip(captures, voids, strict=True) for task in pair])
        ended = Hold.objects.get()
        assert posted(account) == (400 if ended.status == "captured" else 500)
        assert LedgerEntry.objects.filter(type="capture").count() == (ended.status == "captured")
        assert prove_ledger().holds


class TestCorrections:
    def test_of_one_movement_stay_within_it(self) -> None:
        account = make_account()
        give(account, 500)
        original = spending(account, 300, "usage:1")()
        tasks = [
            lambda: correct_movement(
                account=account,
                amount=40,
                currency="usd",
                original_transaction_id=original.public_id,
                at=AT,
                actor=ACTOR,
            )
        ] * 20
        assert at_once(tasks) == {"done": 7, "AmountExceedsRefundable": 13}  # 7 x 40 = 280 of 300
        assert posted(account) == 480
        assert prove_ledger().holds


class TestIdempotencyKeys:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("deposit", {"amount": 70}),
            ("withdraw", {"amount": 70}),
            ("customer-balance/adjustments", {"amount": 70, "description": "goodwill"}),
        ],
    )
    def test_sent_by_many_at_once_have_one_effect(self, path: str, body: dict[str, Any]) -> None:
        account = make_account("acme")
        give(account, 1000)
        answers: list[Any] = []

        def send() -> None:
            headers = {"Idempotency-Key": "once"}
            answers.append(make_client().post(f"/api/v1/billing/{path}", {"account": "acme", **body}, headers=headers))

        before = LedgerEntry.objects.count()
        at_once([send] * 30)
        done = [answer for answer in answers if answer.status_code == 201]
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_in_progress"}
        assert len({answer.content for answer in done}) == 1
        assert LedgerEntry.objects.count() == before + 1
        assert prove_ledger().holds
