"""One balance spent by a hundred at once: invoices, charges, burns and voids, over several connections."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import CreditLot, LedgerAccount
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.credit_burning import burn_credits
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.prepaid import InsufficientBalance
from accounts.services.spending import spend_prepaid
from accounts.terms.burning import Charge
from catalog.services.publishing import publish_document
from invoicing.models import Invoice
from invoicing.services.billing import bill_subscriptions
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.invoices import void_invoice
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)
PARALLEL = 20
PRICE = {"currency": "usd", "interval": "month", "unit_amount": 700, "billing_timing": "arrears"}


def run_all(work: list[Callable[[], Any]]) -> list[Any]:
    """Run the work on twenty connections that start together; return the results in order."""
    barrier = Barrier(PARALLEL)

    def work_off(tasks: list[tuple[int, Callable[[], Any]]]) -> list[tuple[int, Any]]:
        try:
            barrier.wait(timeout=60)
            return [(index, task()) for index, task in tasks]
        finally:
            connection.close()

    shares = [list(enumerate(work))[number::PARALLEL] for number in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        futures = [pool.submit(work_off, share) for share in shares]
        found = [pair for future in futures for pair in future.result(timeout=240)]
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def publish(products: int) -> None:
    publish_document(
        org_id="default",
        document={
            "version": 1,
            "products": [{"id": f"p{number}", "name": f"P{number}"} for number in range(products)],
            "meters": [],
            "plans": [
                {
                    "id": f"plan{number}",
                    "product_id": f"p{number}",
                    "name": f"Plan {number}",
                    "prices": [
                        {"currency": "usd", "interval": "month", "unit_amount": 700, "billing_timing": "arrears"}
                    ],
                }
                for number in range(products)
            ],
        },
        at=world.OCTOBER,
        actor=TESTER,
    )


def test_a_hundred_spends_of_one_balance_never_overdraw_it() -> None:
    publish(20)
    account = world.open_account()
    subscriptions = [world.subscribe(account, f"plan{number}", at=NOVEMBER) for number in range(20)]
    deposit(account=account, amount=6000, currency="usd", at=NOVEMBER, actor=TESTER)
    deposit(
        account=account,
        amount=1500,
        currency="usd",
        at=NOVEMBER,
        actor=TESTER,
        tags="gift",
        expires_at=DECEMBER + timedelta(days=20),
    )
    grant = grant_credit(account=account, amount=5000, currency="usd", at=NOVEMBER, actor=TESTER)

    def spend(number: int) -> int:
        try:
            spend_prepaid(account=account, amount=110, currency="usd", key=f"spend-{number}", at=DECEMBER, actor=TESTER)
        except InsufficientBalance:
            return 0
        return 110

    def burn(number: int) -> int:
        charges = [Charge("fee", 90, "usd")]
        key = f"burn-{number}"
        return burn_credits(account=account, charges=charges, key=key, at=DECEMBER, actor=TESTER).burn.paid

    def bill(number: int) -> int:
        with transaction.atomic():
            keys = [subscriptions[number].id]
            (billed,) = bill_subscriptions(subscription_ids=keys, as_of=DECEMBER, actor=TESTER)
        (invoice,) = billed.invoices
        if number % 4 == 0 and invoice.status == "open":
            void_invoice(invoice_id=invoice.id, at=DECEMBER, actor=TESTER)
            return 0
        return invoice.credit_applied

    work: list[Callable[[], Any]] = []
    for number in range(40):
        work.append(partial(spend, number))
        work.append(partial(burn, number))
        if number < 20:
            work.append(partial(bill, number))
    taken = sum(run_all(work))

    grant.refresh_from_db()
    left = get_balance(account_id=account.pk, currency="usd").balance
    assert left >= 0
    assert grant.remaining >= 0
    assert taken == 12_500 - left - grant.remaining
    assert left == sum(CreditLot.objects.values_list("remaining", flat=True))
    assert set(Invoice.objects.values_list("number", flat=True)) == set(range(1, 21))
    assert prove_ledger().fault is None


def test_billing_and_cancelling_one_account_do_not_wait_for_each_other_forever() -> None:
    publish(10)
    accounts = [world.open_account(f"acme-{number}") for number in range(2)]
    subscriptions = []
    for account in accounts:
        subscriptions += [world.subscribe(account, f"plan{number}", at=NOVEMBER) for number in range(10)]
        deposit(account=account, amount=5000, currency="usd", at=NOVEMBER, actor=TESTER)
    keys = [each.id for each in subscriptions]
    later = DECEMBER + timedelta(days=3)

    def cancel(number: int) -> None:
        cancel_subscription(subscription_id=keys[number], at=later, actor=TESTER, at_period_end=False)

    def bill() -> None:
        with transaction.atomic():
            bill_subscriptions(subscription_ids=keys, as_of=later, actor=TESTER)

    work: list[Callable[[], Any]] = []
    for number in range(0, 20, 2):
        work.append(partial(cancel, number))
        work.append(bill)
    run_all(work)
    # 5,000 of each account went to ten fees of 7.00 and the three days of the five that ended
    assert [get_balance(account_id=account.pk, currency="usd").balance for account in accounts] == [0, 0]
    assert not LedgerAccount.objects.filter(kind="prepaid", balance__gt=0).exists()
    assert prove_ledger().fault is None
