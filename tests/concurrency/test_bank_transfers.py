"""One bank transaction told of by many at once, and transfers of one account that settle the same invoice."""

from __future__ import annotations

from functools import partial

import pytest

from accounts.models import Account
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from billing_site.platform.models import Event
from invoicing.models import BankTransfer, Invoice
from invoicing.services.bank_instructions import BankDetails, issue_instruction
from invoicing.services.bank_transfers import Arrival, receive_transfer
from tests.support import world
from tests.support.parallel import race
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)


def issue(handle: str) -> str:
    account = world.open_account(handle)
    details = BankDetails("wire", "First Bank", "12345678")
    return issue_instruction(account=account, currency="usd", details=details, at=NOVEMBER, actor=TESTER).reference


def test_one_bank_transaction_is_booked_once_whoever_tells() -> None:
    """Half of them quote another account's reference: whoever comes first decides, the others hear of it."""
    references = [issue("acme"), issue("other")]
    tell = [
        partial(
            receive_transfer,
            arrival=Arrival(references[number % 2], 700, "usd", bank_transaction_id="B-1"),
            at=NOVEMBER,
            actor=TESTER,
        )
        for number in range(12)
    ]
    told = race(*tell, connections=12)
    assert sorted(each.is_duplicate for each in told) == [False] + [True] * 11
    transfer = BankTransfer.objects.get()
    assert {each.transfer.pk for each in told} == {transfer.pk}
    assert transfer.account is not None
    assert get_invoice_credit(account_id=transfer.account.pk, currency="usd") == 700
    assert Event.objects.filter(type="bank_transfer.matched").count() == 1
    assert prove_ledger().fault is None


def test_transfers_that_settle_one_invoice_pay_it_once() -> None:
    world.publish()
    reference = issue("acme")
    world.subscribe(Account.objects.get(external_id="acme"), "pro")
    pay = [
        partial(
            receive_transfer,
            arrival=Arrival(reference, 300, "usd", bank_transaction_id=f"B-{number}"),
            at=NOVEMBER,
            actor=TESTER,
            apply_to_invoices=True,
        )
        for number in range(6)
    ]
    race(*pay, connections=6)
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.amount_paid) == ("paid", 1000)
    # 6 × 3.00 came, the fee was 10.00
    assert get_invoice_credit(account_id=invoice.account_id, currency="usd") == 800
    assert prove_ledger().fault is None
