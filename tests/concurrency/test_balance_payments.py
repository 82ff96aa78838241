"""One open invoice paid by many at once, and paid while it is voided or its subscription is canceled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier

import pytest
from django.db import connection

from accounts.models import Account, Subscription
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Event
from invoicing.models import Invoice, InvoiceCredit
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.incomplete import cancel_unpaid_start
from invoicing.services.invoices import void_invoice
from tests.support import world
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)
LATER = NOVEMBER + timedelta(hours=23)


def run_together(work: list[Callable[[], object]]) -> int:
    """Run each piece of work on a connection of its own, all at once; return how many were not refused."""
    barrier = Barrier(len(work))

    def do(task: Callable[[], object]) -> bool:
        try:
            barrier.wait(timeout=60)
            task()
        except DomainError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(len(work)) as pool:
        return sum(pool.map(do, work))


def arrange(handle: str, *, prepaid: int = 1500) -> tuple[Account, Subscription, Invoice]:
    """Return a start that waits for its first payment of 1000, and an account that could pay it since."""
    account = world.open_account(handle)
    subscription = world.subscribe(account, "pro", payment_gated=True)
    deposit(account=account, amount=prepaid, currency="usd", at=NOVEMBER, actor=TESTER)
    return account, subscription, Invoice.objects.get(subscription=subscription)


def test_ten_payers_take_the_money_once() -> None:
    world.publish()
    account, _, invoice = arrange("acme", prepaid=5000)
    pay = partial(pay_from_balance, invoice_id=invoice.pk, at=LATER, actor=TESTER)
    assert run_together([pay] * 10) == 1
    invoice.refresh_from_db()
    assert (invoice.status, invoice.amount_paid) == ("paid", 1000)
    assert get_balance(account_id=account.pk, currency="usd").balance == 4000
    assert InvoiceCredit.objects.get().amount == 1000
    assert Event.objects.filter(type="subscription.activated").count() == 1
    assert prove_ledger().fault is None


@pytest.mark.parametrize("attempt", range(5))
def test_a_payer_against_one_who_voids(attempt: int) -> None:
    world.publish()
    account, _, invoice = arrange(f"acme-{attempt}")
    work: list[Callable[[], object]] = [
        partial(pay_from_balance, invoice_id=invoice.pk, at=LATER, actor=TESTER),
        partial(void_invoice, invoice_id=invoice.pk, at=LATER, actor=TESTER),
    ]
    assert run_together(work[:: 1 if attempt % 2 else -1]) == 1
    invoice.refresh_from_db()
    balance = get_balance(account_id=account.pk, currency="usd").balance
    assert (invoice.status, invoice.amount_paid, balance) in (("paid", 1000, 500), ("void", 0, 1500))
    assert prove_ledger().fault is None


@pytest.mark.parametrize("attempt", range(5))
def test_a_payer_against_the_sweep(attempt: int) -> None:
    world.publish()
    account, subscription, invoice = arrange(f"acme-{attempt}")
    work: list[Callable[[], object]] = [
        partial(pay_from_balance, invoice_id=invoice.pk, at=LATER, actor=TESTER),
        partial(cancel_unpaid_start, subscription_id=subscription.pk, at=LATER, actor=TESTER),
    ]
    run_together(work[:: 1 if attempt % 2 else -1])
    invoice.refresh_from_db()
    subscription.refresh_from_db()
    balance = get_balance(account_id=account.pk, currency="usd").balance
    assert (subscription.status, invoice.status, balance) in (("active", "paid", 500), ("canceled", "void", 1500))
    assert prove_ledger().fault is None
