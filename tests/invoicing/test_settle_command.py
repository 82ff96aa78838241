"""`manage.py billing_settle`: everything that was never answered is asked about once."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import call_command

from accounts.models import Account
from accounts.queries.proof import prove_ledger
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import SetupOrder, SetupState
from invoicing.gateways.port import ProviderUnavailable
from invoicing.models import Payout, Refund
from invoicing.services.collecting import collect_invoice
from invoicing.services.payout_sending import send_payout
from invoicing.services.refunds import AskedRefund, create_refund
from invoicing.services.setup_intents import NewSetup, confirm_setup, create_setup
from invoicing.services.topups import top_up
from tests.support import world
from tests.support.payments import attach, bill
from tests.support.payouts import ask_payout, make_payee
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db
QUIET = "settled: payments 0, setups 0, refunds 0, payouts 0"


class Silent(LocalGateway):
    """Does what it is asked for, and its answer is lost."""

    def set_up(self, *, order: SetupOrder, key: str) -> SetupState:
        super().set_up(order=order, key=key)
        raise ProviderUnavailable


def settle() -> str:
    out = io.StringIO()
    call_command("billing_settle", stdout=out)
    return out.getvalue().strip()


def settle_later(**passed: float) -> str:
    with clock.travel(clock.now() + timedelta(**passed)):
        return settle()


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account("acme")


class TestSettle:
    def test_an_invoice_and_a_top_up_whose_answers_were_lost(self, account: Account) -> None:
        method = attach(account, "succeedslate")
        invoice = bill(account)
        collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=TESTER)
        top_up(account=account, amount=700, currency="usd", at=clock.now(), actor=TESTER, method=method)
        assert settle() == QUIET  # they may still be on their way
        assert settle_later(minutes=11) == "settled: payments 2, setups 0, refunds 0, payouts 0"
        invoice.refresh_from_db()
        assert invoice.status == "paid"
        assert Event.objects.filter(type="invoice.paid").get().actor_id == "billing_settle"
        assert settle_later(hours=2) == QUIET
        assert prove_ledger().holds

    def test_a_refund_that_waits_at_the_bank(self, account: Account) -> None:
        attach(account, "refundpending")
        invoice = bill(account)
        collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=TESTER)
        create_refund(invoice_id=invoice.pk, asked=AskedRefund(amount=400), at=clock.now(), actor=TESTER)
        refund = Refund.objects.get()
        settle_later(minutes=11)  # hands it over
        refund.refresh_from_db()
        assert (refund.status, refund.provider_ref != "") == ("pending", True)
        LocalGateway().settle_refund(refund_ref=refund.provider_ref)
        assert settle_later(minutes=30) == "settled: payments 0, setups 0, refunds 1, payouts 0"
        refund.refresh_from_db()
        assert refund.status == "succeeded"

    def test_a_payout_that_nobody_answered(self) -> None:
        payout = ask_payout(*make_payee(token="btok_us_timeout"))
        assert not send_payout(payout_id=payout.pk, at=clock.now())
        assert settle_later(minutes=11) == "settled: payments 0, setups 0, refunds 0, payouts 1"
        assert Payout.objects.get().status == "in_transit"

    def test_a_setup_whose_answer_was_lost(self, account: Account) -> None:
        now = clock.now()
        setup = create_setup(account=account, new=NewSetup(), at=now, actor=TESTER)
        with pytest.raises(ProviderUnavailable):
            confirm_setup(setup_intent_id=setup.pk, method_ref="tok_visa", at=now, actor=TESTER, gateway=Silent())
        assert settle() == QUIET
        assert settle_later(minutes=11) == "settled: payments 0, setups 1, refunds 0, payouts 0"
        setup.refresh_from_db()
        assert setup.status == "succeeded"
