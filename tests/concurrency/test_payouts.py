"""Payouts of one settlement balance asked for at once, and one payout settled by everybody at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from accounts.queries.proof import prove_ledger
from accounts.services.prepaid import InsufficientBalance
from accounts.services.settlements import get_settlement_balance
from billing_site.kernel.money import Money
from billing_site.platform.models import Event
from invoicing.gateways.orders import PayoutState
from invoicing.models import Payout
from invoicing.services.payout_sending import cancel_payout, send_payout
from invoicing.services.payout_settling import record_payout
from tests.support.parallel import race
from tests.support.payouts import ADA, AT, ask_payout, make_payee

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_balance_is_paid_out_once() -> None:
    account, method = make_payee(owed=5000)
    ends = race(*[partial(ask_payout, account, method, 2000)] * 6, connections=6)
    # 50.00 are owed: two of 20.00 fit
    assert [isinstance(end, Payout) for end in ends].count(True) == 2
    assert {type(end) for end in ends} == {Payout, InsufficientBalance}
    assert get_settlement_balance(account=account, currency="usd") == 1000
    assert prove_ledger().fault is None


def test_answer_webhook_and_sweep_settle_one_payout_once() -> None:
    payout = ask_payout(*make_payee())
    failed = PayoutState("po_1", "failed", Money(2000, "usd"), reference=payout.public_id, failure_code="closed")
    tell = partial(record_payout, state=failed, at=AT, provider_type="local")
    race(*[tell] * 6, partial(send_payout, payout_id=payout.pk, at=AT), connections=7)
    payout.refresh_from_db()
    assert payout.account is not None
    assert (payout.status, get_settlement_balance(account=payout.account, currency="usd")) == ("failed", 5000)
    assert Event.objects.filter(type="payout.failed").count() == 1
    assert prove_ledger().fault is None


@pytest.mark.parametrize("attempt", range(4))
def test_a_cancel_against_the_sender(attempt: int) -> None:
    account, method = make_payee(f"acme-{attempt}")
    payout = ask_payout(account, method)
    work: list[Callable[[], object]] = [
        partial(cancel_payout, payout_id=payout.pk, at=AT, actor=ADA),
        partial(send_payout, payout_id=payout.pk, at=AT),
    ]
    race(*work[:: 1 if attempt % 2 else -1])
    payout.refresh_from_db()
    balance = get_settlement_balance(account=account, currency="usd")
    assert (payout.status, balance, payout.is_handed_over) in (("canceled", 5000, False), ("in_transit", 3000, True))
    assert prove_ledger().fault is None


def test_the_providers_own_payout_is_kept_once() -> None:
    state = PayoutState("po_auto", "paid", Money(900, "usd"), is_automatic=True)
    ends = race(*[partial(record_payout, state=state, at=AT, provider_type="stripe")] * 5, connections=5)
    assert {end.pk for end in ends} == {Payout.objects.get().pk}
    assert prove_ledger().fault is None
