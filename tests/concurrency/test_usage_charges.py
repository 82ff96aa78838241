"""Many calls of one account charged at once, and of many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, LedgerEntry
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.queries.tiers import list_tiers, sum_daily_credit
from accounts.services.deposits import deposit
from catalog.models import Meter
from metering.models import UsageEvent
from metering.services.charging import ApiCall, charge_usage
from tests.concurrency.test_ledger import at_once
from tests.factories.accounts import ACTOR, AT, make_account
from tests.support.api import make_client

pytestmark = pytest.mark.django_db(transaction=True)


def charging(account: Account, amount: int, number: int) -> Callable[[], Any]:
    return lambda: charge_usage(
        account=account,
        amount=amount,
        currency="usd",
        call=ApiCall(request_id=f"{account.pk}-{number}"),
        tier=list_tiers()["free"],
        at=AT + timedelta(seconds=50 - number),  # booked in another order than they happened
        actor=ACTOR,
    )


class TestCharges:
    def test_of_one_account_sum_exactly_and_never_pass_the_daily_credit(self) -> None:
        account = make_account()
        deposit(account=account, amount=350, currency="usd", at=AT - timedelta(days=1), actor=ACTOR)
        assert at_once([charging(account, 7, number) for number in range(100)]) == {"done": 100}
        assert get_balance(account_id=account.pk, currency="usd").balance == -250  # 350 + 100 - 100 x 7
        assert sum_daily_credit(account=account, at=AT) == 100
        assert UsageEvent.objects.filter(charged=True).count() == 100
        assert sum(UsageEvent.objects.values_list("value", flat=True)) == 700
        assert Meter.objects.filter(event_name="api-usage").count() == 1
        assert prove_ledger().holds

    def test_of_many_accounts_with_deposits_between_them_do_not_deadlock(self) -> None:
        accounts = [make_account() for _ in range(4)]
        tasks: list[Callable[[], Any]] = []
        for number in range(15):
            for account in accounts:
                tasks += [
                    charging(account, 9, number),
                    lambda account=account: deposit(  # type: ignore[misc]
                        account=account, amount=3, currency="usd", at=AT, actor=ACTOR
                    ),
                ]
        assert at_once(tasks) == {"done": len(tasks)}
        for account in accounts:
            used = sum_daily_credit(account=account, at=AT)
            assert used <= 100
            assert get_balance(account_id=account.pk, currency="usd").balance == 45 + used - 135  # 15 x 3, 15 x 9
        assert prove_ledger().holds

    def test_with_one_request_id_happen_once(self) -> None:
        make_account("acme")
        answers: list[Any] = []

        def send() -> None:
            body = {"account": "acme", "amount": 70, "request_id": "same"}
            answers.append(make_client().post("/api/v1/billing/usage", body))

        assert at_once([send] * 30) == {"done": 30}
        assert sorted(answer.json()["status"] for answer in answers) == ["duplicate"] * 29 + ["recorded"]
        assert len({answer.json()["transaction_id"] for answer in answers}) == 1
        assert LedgerEntry.objects.filter(tags="api-usage").count() == 1
        assert prove_ledger().holds
