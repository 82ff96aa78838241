"""Dunning at the same moment: two sweeps, a payment while an attempt is pending, a new card while the sweep runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from accounts.models import Subscription
from accounts.queries.proof import prove_ledger
from invoicing.models import DunningAttempt, DunningCase, Invoice, PaymentIntent
from invoicing.services.collecting import collect_due, collect_invoice
from invoicing.services.dunning_sweep import sweep_dunning, try_new_methods_of
from tests.support.dunning_states import DAY, attach_card, open_invoice
from tests.support.parallel import race
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)


def test_sweeps_at_once_make_each_step_once() -> None:
    open_invoice(card="insufficientlater")
    race(*[partial(collect_due, at=NOVEMBER)] * 6)
    race(*[partial(collect_due, at=NOVEMBER + DAY)] * 6)
    assert PaymentIntent.objects.count() == 2
    assert list(DunningAttempt.objects.order_by("id").values_list("step", flat=True)) == [1, 2]
    assert DunningCase.objects.get().step == 2


def test_the_sweep_and_a_customer_take_the_money_once() -> None:
    invoice = open_invoice(card="insufficientlater")
    collect_due(at=NOVEMBER)
    card = attach_card(invoice.account, "visa", at=NOVEMBER + DAY)
    now = NOVEMBER + DAY
    tasks: list[Callable[[], Any]] = [
        *[partial(collect_due, at=now)] * 3,
        *[partial(try_new_methods_of, account_id=invoice.account_id, at=now)] * 3,
        *[partial(collect_invoice, invoice_id=invoice.pk, at=now, actor=TESTER, method=card)] * 3,
    ]
    race(*tasks)
    try_new_methods_of(account_id=invoice.account_id, at=now + timedelta(hours=1))
    assert Invoice.objects.get().status == "paid"
    assert PaymentIntent.objects.filter(status="succeeded").count() == 1
    assert DunningCase.objects.get().status == "paid"
    assert Subscription.objects.get().status == "active"
    assert prove_ledger().fault is None


def test_an_end_is_arranged_once() -> None:
    invoice = open_invoice(card="insufficientlater")
    collect_due(at=NOVEMBER)
    DunningCase.objects.get()
    for days in (1, 4, 11):
        collect_due(at=NOVEMBER + days * DAY)
    assert Invoice.objects.get(pk=invoice.pk).status == "uncollectible"
    race(*[partial(sweep_dunning, at=NOVEMBER + 11 * DAY)] * 4)
    assert Subscription.objects.get().status == "unpaid"
    assert prove_ledger().fault is None
