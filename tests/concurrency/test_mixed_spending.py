"""One balance used by everything that moves it, a hundred at once: nothing is overdrawn and nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from accounts.models import CreditLot, Hold
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.queries.tiers import list_tiers, sum_daily_credit
from accounts.services.deposits import deposit
from accounts.services.holds import capture_hold, create_hold
from accounts.services.prepaid import InsufficientBalance
from accounts.services.withdrawals import withdraw
from billing_site.platform.services.events import verify_all
from invoicing.models import Invoice
from invoicing.services.billing import bill_subscriptions
from metering.services.charging import ApiCall, charge_usage
from tests.concurrency.test_stored_money import publish
from tests.support import world
from tests.support.parallel import race
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)

EACH = 20
FEE = 700


def test_a_hundred_moves_of_one_balance_never_overdraw_it() -> None:
    publish(EACH)
    account = world.open_account()
    subscriptions = [world.subscribe(account, f"plan{number}", at=NOVEMBER) for number in range(EACH)]
    common: dict[str, Any] = {"account": account, "currency": "usd", "at": DECEMBER, "actor": TESTER}
    deposit(amount=5000, **common | {"at": NOVEMBER})
    deposit(amount=1000, tags="gift", expires_at=DECEMBER + timedelta(days=20), **common | {"at": NOVEMBER})
    tier = list_tiers()["free"]

    def put(number: int) -> int:
        deposit(amount=50, key=f"put:{number}", **common)
        return 50

    def take(number: int) -> int:
        withdraw(amount=130, key=f"take:{number}", **common)
        return -130

    def hold(number: int) -> int:
        """Hold 2.00 and capture 1.50 of it; every fourth stays held."""
        made = create_hold(amount=200, key=f"hold:{number}", expires_at=DECEMBER + timedelta(days=7), **common)
        if number % 4 == 0:
            return 0
        capture_hold(hold_id=made.pk, amount=150, at=DECEMBER, actor=TESTER)
        return -150

    def bill(number: int) -> int:
        with transaction.atomic():
            keys = [subscriptions[number].id]
            (billed,) = bill_subscriptions(subscription_ids=keys, as_of=DECEMBER, actor=TESTER)
        (invoice,) = billed.invoices
        assert invoice.amount_due == FEE - invoice.credit_applied
        return -invoice.credit_applied

    def charge(number: int) -> int:
        """Usage is the one thing that may pass the balance; the daily credit covers a part of that."""
        done = charge_usage(tier=tier, amount=40, call=ApiCall(request_id=f"call-{number}"), **common)
        return done.daily_credit_used - 40

    kinds: dict[str, Callable[[int], int]] = {"put": put, "take": take, "hold": hold, "bill": bill, "charge": charge}
    tasks = [(name, partial(task, number)) for number in range(EACH) for name, task in kinds.items()]
    results = race(*[task for _, task in tasks])

    refused = Counter(
        name for (name, _), result in zip(tasks, results, strict=True) if isinstance(result, InsufficientBalance)
    )
    assert not [each for each in results if not isinstance(each, int | InsufficientBalance)]
    assert set(refused) <= {"take", "hold"}
    moved = sum(each for each in results if isinstance(each, int))
    left = get_balance(account_id=account.pk, currency="usd")
    assert left.balance == 6000 + moved
    # Besides usage that no credit covered, nothing went below what there was, nor took what was held.
    daily = sum_daily_credit(account=account, at=DECEMBER)
    assert daily <= tier.daily_credits_cents
    assert left.balance >= left.holds - (EACH * 40 - daily)
    assert left.holds == 200 * Hold.objects.filter(status="pending").count()
    assert sum(CreditLot.objects.values_list("remaining", flat=True)) <= max(0, left.balance)
    assert Invoice.objects.filter(total=FEE).count() == EACH
    assert prove_ledger().fault is None
    assert [report.fault for report in verify_all() if report.fault is not None] == []
