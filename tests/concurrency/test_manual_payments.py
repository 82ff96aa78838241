"""Two people who record for one invoice, and a cheque that bounces twice at once."""

from __future__ import annotations

from functools import partial

import pytest

from accounts.models import LedgerAccount
from accounts.queries.proof import prove_ledger
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Event
from invoicing.models import Invoice, ManualPayment
from tests.support import world
from tests.support.manual_payments import bounce, record
from tests.support.parallel import race

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_invoice_is_paid_once_by_many_people() -> None:
    world.publish()
    account = world.open_account()
    world.subscribe(account, "pro")
    invoice = Invoice.objects.get()
    ends = race(*[partial(record, account, 600, (invoice, 600))] * 6, connections=6)
    # 10.00 are owed: one of 6.00 fits
    assert [isinstance(end, ManualPayment) for end in ends].count(True) == 1
    assert all(isinstance(end, ManualPayment | DomainError) for end in ends)
    invoice.refresh_from_db()
    assert (invoice.amount_paid, LedgerAccount.objects.get(kind="cash").balance) == (600, 600)
    assert prove_ledger().fault is None


def test_a_cheque_bounces_once() -> None:
    world.publish()
    account = world.open_account()
    world.subscribe(account, "pro")
    payment = record(account, 1000, (Invoice.objects.get(), 1000))
    ends = race(*[partial(bounce, payment)] * 5, connections=5)
    assert [isinstance(end, ManualPayment) for end in ends].count(True) == 1
    assert Invoice.objects.get().amount_paid == 0
    assert Event.objects.filter(type="invoice.reopened").count() == 1
    assert prove_ledger().fault is None
