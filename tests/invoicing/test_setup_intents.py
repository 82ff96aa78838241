"""Methods saved without a payment: asked once, settled by whoever hears first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, PaymentMethod
from accounts.services.accounts import update_account
from billing_site.kernel.errors import InvalidState
from billing_site.platform.models import Event
from billing_site.platform.services.keyed_requests import RequestKeyReused, RequestMark
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import SetupOrder, SetupState
from invoicing.gateways.port import OrderRejected, ProviderUnavailable
from invoicing.models import LocalProviderObject, SetupIntent
from invoicing.services.payment_methods import CardVerificationFailed
from invoicing.services.setup_intents import (
    NewSetup,
    SetupMethodMissing,
    cancel_setup,
    confirm_setup,
    create_setup,
    record_setup,
)
from invoicing.services.setup_sweep import list_unsettled, settle_setup
from tests.factories.accounts import ACTOR, AT, make_account
from tests.factories.payment_methods import make_payment_method

pytestmark = pytest.mark.django_db
BY: dict[str, Any] = {"at": AT, "actor": ACTOR}
LATER = AT + timedelta(minutes=11)


class Silent(LocalGateway):
    """Does what it is asked, and does not answer."""

    def set_up(self, *, order: SetupOrder, key: str) -> SetupState:
        super().set_up(order=order, key=key)
        raise ProviderUnavailable


@pytest.fixture
def account() -> Account:
    return make_account("acme")


def begin(account: Account, **values: Any) -> SetupIntent:
    return create_setup(account=account, new=NewSetup(**values), **BY)


def confirm(setup: SetupIntent, ref: str = "tok_visa", **values: Any) -> SetupIntent:
    return confirm_setup(setup_intent_id=setup.pk, method_ref=ref, **BY, **values)


def list_events() -> list[str]:
    types = Event.objects.filter(type__startswith="setup_intent.").order_by("sequence").values_list("type", flat=True)
    return [each.partition(".")[2] for each in types]


class TestBeginning:
    def test_waits_for_a_method_or_for_its_confirmation(self, account: Account) -> None:
        empty, named = begin(account), begin(account, method_ref="pm_card_visa")
        assert (empty.status, named.status) == ("requires_payment_method", "requires_confirmation")
        for setup in (empty, named):
            made = LocalProviderObject.objects.get(ref=setup.provider_ref)
            assert (made.reference, made.data["account_id"]) == (setup.public_id, account.public_id)
            assert setup.client_secret
            assert setup.pending_call == ""

    def test_a_repeat_goes_on_with_the_first(self, account: Account) -> None:
        mark = RequestMark("k", "h")
        with pytest.raises(ProviderUnavailable):
            create_setup(account=account, new=NewSetup(), mark=mark, gateway=Silent(), **BY)
        setup = create_setup(account=account, new=NewSetup(), mark=mark, **BY)
        assert SetupIntent.objects.get() == setup
        assert LocalProviderObject.objects.filter(kind="setup").count() == 1
        with pytest.raises(RequestKeyReused):
            create_setup(account=account, new=NewSetup(), mark=RequestMark("k", "other"), **BY)

    def test_not_for_a_closed_account(self, account: Account) -> None:
        update_account(account_id=account.pk, changes={"status": "closed"}, **BY)
        with pytest.raises(InvalidState):
            begin(account)
        assert not SetupIntent.objects.exists()


class TestConfirming:
    def test_stores_and_verifies_the_method(self, account: Account) -> None:
        setup = confirm(begin(account))
        method = PaymentMethod.objects.get()
        assert (setup.status, setup.payment_method, setup.succeeded_at) == ("succeeded", method, AT)
        assert (method.status, method.verified_at, method.is_default) == ("attached", AT, True)
        assert (method.card["brand"], method.card["last4"]) == ("visa", "4242")
        assert method.provider_ref.startswith("pm_local_visa_")
        assert list_events() == ["created", "succeeded"]

    def test_of_a_method_that_is_attached_already_keeps_one_row(self, account: Account) -> None:
        method = make_payment_method(account)
        setup = confirm_setup(setup_intent_id=begin(account, method=method).pk, **BY)
        assert (setup.status, setup.payment_method) == ("succeeded", method)
        assert PaymentMethod.objects.count() == 1

    def test_needs_a_method(self, account: Account) -> None:
        with pytest.raises(SetupMethodMissing):
            confirm(begin(account), ref="")

    def test_a_refusal_is_told_and_another_method_may_follow(self, account: Account) -> None:
        setup = begin(account)
        with pytest.raises(CardVerificationFailed) as refusal:
            confirm(setup, "tok_lost")
        assert refusal.value.members["decline_code"] == "lost_card"
        setup.refresh_from_db()
        assert (setup.status, setup.method_ref) == ("requires_payment_method", "")
        assert setup.last_error == "The card was declined; please contact your bank."
        assert not PaymentMethod.objects.exists()
        assert confirm(setup).status == "succeeded"
        assert list_events() == ["created", "setup_failed", "succeeded"]

    def test_a_repeat_of_a_refused_request_is_refused_the_same(self, account: Account) -> None:
        setup, mark = begin(account), RequestMark("k", "h")
        for _ in range(2):
            with pytest.raises(CardVerificationFailed):
                confirm(setup, "tok_lost", mark=mark)
        assert list_events() == ["created", "setup_failed"]

    def test_the_bank_may_ask_its_customer(self, account: Account) -> None:
        setup = confirm(begin(account), "tok_authenticationrequired")
        assert (setup.status, bool(setup.client_secret)) == ("requires_action", True)
        assert not PaymentMethod.objects.exists()
        LocalGateway().authenticate_setup(setup_ref=setup.provider_ref)
        assert settle_setup(setup_intent_id=setup.pk, **BY)
        setup.refresh_from_db()
        assert setup.status == "succeeded"
        assert PaymentMethod.objects.get().verified_at == AT

    def test_what_the_provider_does_not_take_is_a_refusal(self, account: Account) -> None:
        class Strict(LocalGateway):
            def set_up(self, *, order: SetupOrder, key: str) -> SetupState:
                raise OrderRejected("resource_missing", "No such PaymentMethod")

        with pytest.raises(CardVerificationFailed):
            confirm(begin(account), "pm_of_somebody_else", gateway=Strict())

    @pytest.mark.parametrize("end", ["succeeded", "canceled"])
    def test_not_after_the_end(self, account: Account, end: str) -> None:
        setup = begin(account)
        confirm(setup) if end == "succeeded" else cancel_setup(setup_intent_id=setup.pk, **BY)
        with pytest.raises(InvalidState):
            confirm(setup)

    def test_an_answer_that_never_came_is_settled_by_the_sweep_once(self, account: Account) -> None:
        setup = begin(account)
        with pytest.raises(ProviderUnavailable):
            confirm(setup, gateway=Silent())
        setup.refresh_from_db()
        assert (setup.status, setup.pending_call) == ("processing", "confirm")
        with pytest.raises(InvalidState):
            confirm(setup, "tok_mastercard")  # nobody begins another one meanwhile
        assert list_unsettled(at=AT + timedelta(minutes=9), limit=9) == []
        assert list_unsettled(at=LATER, limit=9) == [setup.pk]
        for _ in range(2):
            assert settle_setup(setup_intent_id=setup.pk, at=LATER, actor=ACTOR)
        assert [method.card["last4"] for method in PaymentMethod.objects.all()] == ["4242"]
        assert list_events() == ["created", "succeeded"]
        assert list_unsettled(at=LATER + timedelta(hours=1), limit=9) == []

    def test_a_provider_that_is_still_silent_is_asked_again(self, account: Account) -> None:
        setup = begin(account)
        with pytest.raises(ProviderUnavailable):
            confirm(setup, gateway=Silent())
        assert not settle_setup(setup_intent_id=setup.pk, at=LATER, actor=ACTOR, gateway=Silent())


class TestHearing:
    def done(self, setup: SetupIntent, status: str = "succeeded") -> SetupIntent:
        state = SetupState(ref=setup.provider_ref, status=status, method_ref="pm_local_visa_7", card={"brand": "visa"})
        return record_setup(setup_intent_id=setup.pk, state=state, **BY)

    def test_a_browser_may_finish_it(self, account: Account) -> None:
        setup = self.done(begin(account))
        assert (setup.status, PaymentMethod.objects.get().provider_ref) == ("succeeded", "pm_local_visa_7")

    def test_the_second_word_changes_nothing(self, account: Account) -> None:
        setup = begin(account)
        self.done(setup)
        self.done(setup)
        assert self.done(setup, "canceled").status == "succeeded"
        assert PaymentMethod.objects.count() == 1
        assert list_events() == ["created", "succeeded"]

    def test_an_old_word_does_not_end_a_call_under_way(self, account: Account) -> None:
        setup = begin(account)
        with pytest.raises(ProviderUnavailable):
            confirm(setup, gateway=Silent())
        told = record_setup(
            setup_intent_id=setup.pk, state=SetupState(ref=setup.provider_ref, status="requires_payment_method"), **BY
        )
        assert (told.status, told.pending_call) == ("processing", "confirm")

    def test_keeps_nothing_for_an_account_that_was_closed(self, account: Account) -> None:
        setup = begin(account)
        update_account(account_id=account.pk, changes={"status": "closed"}, **BY)
        ended = self.done(setup)
        assert (ended.status, ended.cancellation_reason) == ("canceled", "account_closed")
        assert not PaymentMethod.objects.exists()


class TestGivingUp:
    def test_cancels_here_and_there(self, account: Account) -> None:
        setup = cancel_setup(setup_intent_id=begin(account).pk, reason="changed their mind", **BY)
        assert (setup.status, setup.canceled_at, setup.cancellation_reason) == ("canceled", AT, "changed their mind")
        assert LocalProviderObject.objects.get(kind="setup").data["status"] == "canceled"
        with pytest.raises(InvalidState):
            cancel_setup(setup_intent_id=setup.pk, **BY)

    def test_one_that_succeeded_meanwhile_stays(self, account: Account) -> None:
        setup = begin(account)
        LocalGateway().set_up(
            order=SetupOrder(
                reference="", account_id="", customer_ref="", method_ref="pm_card_visa", confirm=True,
                setup_ref=setup.provider_ref,
            ),
            key="browser",
        )  # fmt: skip
        with pytest.raises(InvalidState):
            cancel_setup(setup_intent_id=setup.pk, **BY)
        setup.refresh_from_db()
        assert setup.status == "succeeded"
