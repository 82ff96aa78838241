"""Attaching and detaching payment methods with a provider that answers, declines, and fails half way."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Account, LedgerEntry, PaymentMethod, PaymentMethodStatus
from accounts.services.accounts import update_account
from accounts.services.payment_methods import STARTER_CREDIT_JOB, NewPaymentMethod
from accounts.services.starter_credit import VERIFIED, list_owed
from accounts.tasks import sweep_starter_credit
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.kernel.money import Money
from billing_site.platform.models import Event
from billing_site.platform.services.keyed_requests import RequestKeyReused
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import NoProcessorAvailable, Payer, ProviderUnavailable, StoredMethod
from invoicing.gateways.registry import GATEWAYS
from invoicing.services.payment_methods import (
    RELEASE_JOB,
    CardVerificationFailed,
    attach_payment_method,
    detach_payment_method,
    list_abandoned,
    list_unreleased,
    release_payment_method,
)
from invoicing.tasks import sweep_payment_methods
from tests.factories.accounts import ACTOR, AT, make_account
from tests.factories.payment_methods import make_payment_method
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db


@dataclass
class Recorder(LocalGateway):
    """The local provider, which remembers what it was asked and fails where it is told to."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    in_transaction: list[bool] = field(default_factory=list)
    held: list[Money] = field(default_factory=list)

    def _note(self, what: str, key: str) -> None:
        self.calls.append((what, key))
        # The test's own transaction is the first one.
        self.in_transaction.append(len(connection.savepoint_ids) > 0 if connection.in_atomic_block else False)
        if what in self.failing:
            raise ProviderUnavailable

    def store_method(self, *, token: str, type: str, payer: Payer, key: str) -> StoredMethod:
        self._note("store", key)
        return super().store_method(token=token, type=type, payer=payer, key=key)

    def authorise(self, *, method_ref: str, amount: Money, key: str) -> str:
        self._note("authorise", key)
        self.held.append(amount)
        return super().authorise(method_ref=method_ref, amount=amount, key=key)

    def cancel(self, *, authorisation_ref: str, key: str) -> None:
        self._note("cancel", key)
        super().cancel(authorisation_ref=authorisation_ref, key=key)

    def detach_method(self, *, method_ref: str, key: str) -> None:
        self._note("detach", key)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setitem(GATEWAYS, "local", lambda: made)
    return made


@pytest.fixture
def account() -> Account:
    return make_account(currency="eur")


def attach(account: Account, token: str = "tok_visa", **values: Any) -> Any:
    new = NewPaymentMethod(provider_ref=token, **values)
    return attach_payment_method(account=account, new=new, at=AT, actor=ACTOR)


class TestAttaching:
    def test_stores_holds_a_hundred_and_lets_go_outside_of_any_transaction(
        self, gateway: Recorder, account: Account
    ) -> None:
        method = attach(account).method
        assert gateway.calls == [
            ("store", f"{method.public_id}:store"),
            ("authorise", f"{method.public_id}:verify"),
            ("cancel", f"{method.public_id}:release"),
        ]
        assert gateway.held == [Money(100, "eur")]
        assert not any(gateway.in_transaction)
        assert (method.status, method.verified_at, method.is_default) == (PaymentMethodStatus.ATTACHED, AT, True)
        assert method.name == "Visa ending in 4242"
        (event,) = Event.objects.filter(type="payment_method.attached")
        assert event.data["card"]["last4"] == "4242"
        assert method.provider_ref not in str(event.data)

    def test_keeps_what_was_sent_where_the_provider_tells_nothing(self, account: Account) -> None:
        method = attach(account, "pm_1abc", card={"brand": "mastercard", "last4": "1234"}).method
        assert (method.name, method.provider_ref) == ("Mastercard ending in 1234", "pm_1abc")

    def test_prefers_what_the_provider_tells(self, account: Account) -> None:
        assert attach(account, card={"brand": "mastercard", "last4": "1234"}).method.card["last4"] == "4242"

    def test_does_not_hold_anything_on_a_bank_account(self, gateway: Recorder, account: Account) -> None:
        method = attach(account, "btok_us_verified", type="bank_account").method
        assert [what for what, _ in gateway.calls] == ["store"]
        assert (method.verified_at, method.name) == (None, "Test Bank ending in 6789")

    def test_takes_the_prepaid_balance_without_asking_anybody(self, gateway: Recorder, account: Account) -> None:
        method = attach(account, "", type="balance").method
        assert (method.provider_type, method.is_default, gateway.calls) == ("internal", True, [])
        with pytest.raises(ValidationFailed, match="already"):
            attach(account, "", type="balance")
        with pytest.raises(ValidationFailed, match="kept here"):
            attach(account, "tok_visa", type="balance")

    def test_a_hold_that_is_not_let_go_lapses(
        self, gateway: Recorder, account: Account, caplog: pytest.LogCaptureFixture
    ) -> None:
        gateway.failing = {"cancel"}
        with caplog.at_level(logging.WARNING):
            method = attach(account).method
        assert method.verified_at == AT
        assert f"{method.public_id} was not let go" in caplog.text

    def test_needs_a_token_and_an_open_account(self, account: Account) -> None:
        with pytest.raises(ValidationFailed, match="token"):
            attach(account, "")
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            attach(account)
        assert not PaymentMethod.objects.exists()

    def test_refuses_what_is_attached_already(self, gateway: Recorder, account: Account) -> None:
        attach(account, "pm_1abc")
        asked = len(gateway.calls)
        with pytest.raises(ValidationFailed, match="attached already"):
            attach(account, "pm_1abc")
        assert len(gateway.calls) == asked
        assert attach(make_account(), "pm_1abc").method.is_default

    def test_an_account_closed_while_the_provider_thinks_gets_nothing(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        class Closing(LocalGateway):
            def authorise(self, *, method_ref: str, amount: Money, key: str) -> str:
                update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
                return "auth_1"

        with django_capture_on_commit_callbacks(execute=True), pytest.raises(InvalidState):
            make_payment_method(account, gateway=Closing())
        assert PaymentMethod.objects.get().status == PaymentMethodStatus.REFUSED
        assert sent_jobs.names == [RELEASE_JOB]


class TestDeclines:
    def test_are_one_plain_sentence_and_leave_a_refused_row(
        self, gateway: Recorder, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True), pytest.raises(CardVerificationFailed) as refusal:
            attach(account, "tok_insufficient_funds")
        assert refusal.value.members["decline_reason"] == "The card has insufficient funds."
        method = PaymentMethod.objects.get()
        assert (method.status, method.decline_reason) == (PaymentMethodStatus.REFUSED, "insufficient_funds")
        assert not Event.objects.filter(type__startswith="payment_method").exists()
        assert sent_jobs.run() == [RELEASE_JOB]
        assert gateway.calls[-1] == ("detach", f"{method.public_id}:detach")
        method.refresh_from_db()
        assert method.released_at is not None

    def test_a_token_of_another_type_is_a_mistake(self, account: Account) -> None:
        with pytest.raises(ValidationFailed, match="knows no Card"):
            attach(account, "btok_us")
        assert PaymentMethod.objects.get().released_at == AT

    def test_do_not_take_the_place_of_the_first_method(self, account: Account) -> None:
        with pytest.raises(CardVerificationFailed):
            attach(account, "tok_declined")
        assert attach(account).method.is_default


class TestProviders:
    def test_the_local_one_takes_no_real_money(self, account: Account, settings: Any) -> None:
        account.livemode = True
        with pytest.raises(NoProcessorAvailable, match="no real money"):
            attach(account)
        assert not PaymentMethod.objects.exists()

    def test_are_named_or_configured(self, account: Account, settings: Any) -> None:
        with pytest.raises(NoProcessorAvailable, match="'paypal'"):
            attach(account, provider_type="paypal")
        settings.BILLING_PAYMENT_PROVIDER = "nobody"
        with pytest.raises(NoProcessorAvailable, match="'nobody'"):
            attach(account)
        assert attach(account, provider_type="local").method.provider_type == "local"


class TestRepeats:
    def test_answer_what_was_done(self, gateway: Recorder, account: Account) -> None:
        first = attach(account, request_key="k", request_hash="h")
        asked = len(gateway.calls)
        again = attach(account, request_key="k", request_hash="h")
        assert (again.method, again.is_repeat, first.is_repeat) == (first.method, True, False)
        assert len(gateway.calls) == asked

    def test_answer_a_refusal_again(self, gateway: Recorder, account: Account) -> None:
        for _ in range(2):
            with pytest.raises(CardVerificationFailed, match="expired"):
                attach(account, "tok_expired", request_key="k", request_hash="h")
        assert [what for what, _ in gateway.calls] == ["store", "authorise"]

    @pytest.mark.parametrize("failing", ["store", "authorise"])
    def test_go_on_where_the_provider_failed(self, gateway: Recorder, account: Account, failing: str) -> None:
        gateway.failing = {failing}
        with pytest.raises(ProviderUnavailable):
            attach(account, request_key="k", request_hash="h")
        assert PaymentMethod.objects.get().status == PaymentMethodStatus.PENDING
        gateway.failing = set()
        attached = attach(account, request_key="k", request_hash="h")
        assert attached.method.status == PaymentMethodStatus.ATTACHED
        assert len({key for what, key in gateway.calls if what == failing}) == 1
        assert PaymentMethod.objects.count() == 1

    def test_of_another_request_are_refused(self, account: Account) -> None:
        attach(account, request_key="k", request_hash="h")
        with pytest.raises(RequestKeyReused):
            attach(account, request_key="k", request_hash="other")
        with pytest.raises(RequestKeyReused):
            attach(make_account(), request_key="k", request_hash="h")


class TestReleasing:
    def test_follows_a_detachment(
        self, gateway: Recorder, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        method = make_payment_method(account)
        with django_capture_on_commit_callbacks(execute=True):
            detach_payment_method(method_id=method.pk, at=AT, actor=ACTOR)
        assert sent_jobs.run() == [RELEASE_JOB]
        assert gateway.calls[-1] == ("detach", f"{method.public_id}:detach")
        assert list_unreleased(limit=10) == []

    def test_is_tried_again_by_the_sweep(self, gateway: Recorder, account: Account) -> None:
        method = make_payment_method(account)
        detach_payment_method(method_id=method.pk, at=AT, actor=ACTOR)
        gateway.failing = {"detach"}
        assert sweep_payment_methods() == 0
        assert list_unreleased(limit=10) == [method.pk]
        gateway.failing = set()
        assert sweep_payment_methods() == 1
        assert sweep_payment_methods() == 0

    def test_leaves_a_method_that_is_attached_again(self, gateway: Recorder, account: Account) -> None:
        old = attach(account, "pm_1abc").method
        detach_payment_method(method_id=old.pk, at=AT, actor=ACTOR)
        attach(account, "pm_1abc")
        assert release_payment_method(method_id=old.pk, at=AT)
        assert "detach" not in [what for what, _ in gateway.calls]
        assert list_unreleased(limit=10) == []

    def test_of_the_prepaid_balance_is_nobodys_business(self, gateway: Recorder, account: Account) -> None:
        method = attach(account, "", type="balance").method
        detach_payment_method(method_id=method.pk, at=AT, actor=ACTOR)
        assert list_unreleased(limit=10) == []


class TestAbandoned:
    def test_requests_are_refused_after_an_hour_and_their_method_released(
        self, gateway: Recorder, account: Account
    ) -> None:
        gateway.failing = {"authorise"}
        with pytest.raises(ProviderUnavailable):
            attach(account)
        assert list_abandoned(at=timezone.now(), limit=10) == []
        (method,) = PaymentMethod.objects.all()
        PaymentMethod.objects.update(created_at=timezone.now() - timedelta(minutes=61))
        gateway.failing = {"store"}
        assert sweep_payment_methods() == 0
        gateway.failing = set()
        assert sweep_payment_methods() == 2
        method.refresh_from_db()
        assert (method.status, method.decline_reason) == (PaymentMethodStatus.REFUSED, "timeout")
        assert gateway.calls[-1] == ("detach", f"{method.public_id}:detach")


class TestStarterCredit:
    def test_is_rung_for_by_the_first_verified_method_only(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            attach(account, "btok_us", type="bank_account")
            attach(account)
            attach(account, "tok_amex")
        assert sent_jobs.of(STARTER_CREDIT_JOB) == [{"account_id": str(account.pk)}]
        sent_jobs.run()
        (entry,) = LedgerEntry.objects.all()
        assert entry.metadata == {"credit_type": "starter", "expiry_days": 30, "trigger": VERIFIED}

    def test_that_cannot_be_rung_for_does_not_fail_the_call_and_is_found_by_the_sweep(
        self, account: Account, sent_jobs: SentJobs, settings: Any, django_capture_on_commit_callbacks: Any
    ) -> None:
        settings.JOBS_SENDER = "nowhere.at_all"
        with django_capture_on_commit_callbacks(execute=True):
            assert attach(account).method.is_attached
        assert sent_jobs == []
        settings.JOBS_SENDER = "tests.support.jobs.record_job"
        assert list_owed(at=timezone.now(), limit=10) == [account.pk]
        with django_capture_on_commit_callbacks(execute=True):
            assert sweep_starter_credit() == 1
        sent_jobs.run()
        assert LedgerEntry.objects.get().tags == "starter-credit"
        assert list_owed(at=timezone.now(), limit=10) == []

    def test_is_not_owed_without_a_method(self, account: Account) -> None:
        method = attach(account).method
        detach_payment_method(method_id=method.pk, at=AT, actor=ACTOR)
        assert list_owed(at=timezone.now(), limit=10) == []
