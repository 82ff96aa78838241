"""Our books against the provider's, with the Stripe server of the tests on the other side."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.kernel.money import Money
from billing_site.platform.models import Event
from invoicing.gateways.orders import PaymentOrder, RefundOrder
from invoicing.gateways.port import Payer, ProviderUnavailable
from invoicing.gateways.stripe import StripeGateway
from invoicing.models import Dispute, Drift, PaymentIntent, ProviderCustomer, ReconciliationRun, Refund
from invoicing.services.drifts import DriftNotRepairable, accept_drift, repair_drift
from invoicing.services.payment_intents import NewIntent, confirm_intent, create_intent
from invoicing.services.provider_customers import ensure_provider_customer
from invoicing.services.provider_reconciliation import list_unfinished, start_reconciliation, work_reconciliation
from tests.factories.accounts import make_account
from tests.stripe_server import StripeServer
from tests.stripe_server.plugin import stripe_server

__all__ = ["stripe_server"]
pytestmark = pytest.mark.django_db
ADA = Actor("staff", "ada")


@pytest.fixture
def gateway(stripe_server: StripeServer, settings: Any) -> StripeGateway:
    settings.BILLING_PAYMENT_PROVIDER = "stripe"
    settings.STRIPE_TEST_SECRET_KEY = stripe_server.test_key
    settings.BILLING_STRIPE_API_BASE = stripe_server.url
    return StripeGateway(livemode=False)


@pytest.fixture
def account(gateway: StripeGateway) -> Account:
    account = make_account("acme")
    ensure_provider_customer(account=account, gateway=gateway, at=timezone.now(), actor=ADA)
    return account


def pay(account: Account, amount: int = 2000) -> PaymentIntent:
    now = timezone.now()
    intent = create_intent(account=account, new=NewIntent(amount=amount, currency="usd"), at=now, actor=ADA)
    return confirm_intent(intent_id=intent.pk, token="tok_visa", at=now, actor=ADA)


def pay_there(gateway: StripeGateway, *, account_id: str = "", customer: str = "", amount: int = 700) -> str:
    """Take money at the provider that we know nothing of."""
    order = PaymentOrder(
        reference="",
        account_id=account_id,
        amount=Money(amount, "usd"),
        customer_ref=customer,
        token="tok_visa",
        off_session=False,
    )
    return gateway.pay(order=order, key=f"elsewhere:{account_id}:{customer}:{amount}").ref


def night(days: int = 0) -> ReconciliationRun:
    at = timezone.now() + timedelta(days=days, minutes=1)
    run = start_reconciliation(at=at)
    assert work_reconciliation(run_id=run.pk, at=at)
    run.refresh_from_db()
    return run


def list_drifts() -> list[tuple[str, str, str]]:
    return list(Drift.objects.order_by("id").values_list("object_kind", "kind", "status"))


class TestComparing:
    def test_what_is_the_same_is_no_difference(self, account: Account) -> None:
        pay(account)
        run = night()
        assert (run.compared, run.found, run.position, run.error) == (2, 0, "", "")
        assert run.finished_at is not None
        assert not Drift.objects.exists()

    def test_money_we_never_heard_of(self, gateway: StripeGateway, account: Account) -> None:
        ref = pay_there(gateway, account_id=account.public_id)
        night()
        drift = Drift.objects.get()
        assert (drift.kind, drift.ref, drift.account, drift.ours) == ("missing_here", ref, account, {})
        assert drift.theirs == {
            "status": "succeeded", "amount": 700, "currency": "usd", "received": 700, "refunded": 0,
        }  # fmt: skip

    def test_money_of_a_customer_we_know_and_of_nobody(self, gateway: StripeGateway, account: Account) -> None:
        pay_there(gateway, customer=ProviderCustomer.objects.get().ref)
        pay_there(gateway)
        night()
        assert sorted(list_drifts()) == [("payment", "missing_here", "open"), ("payment", "unknown_customer", "open")]

    def test_what_the_provider_lost(self, account: Account) -> None:
        intent = pay(account)
        PaymentIntent.objects.filter(pk=intent.pk).update(provider_ref="pi_lost")
        ProviderCustomer.objects.update(ref="cus_lost")
        night()
        found = list(Drift.objects.values_list("kind", "object_kind", "ref", "subject_id"))
        assert ("missing_there", "payment", "pi_lost", intent.public_id) in found
        assert ("missing_there", "customer", "cus_lost", ProviderCustomer.objects.get().public_id) in found

    def test_amounts_states_and_refunds_that_differ(self, account: Account, stripe_server: StripeServer) -> None:
        more, back = pay(account), pay(account)
        stripe_server.change(more.provider_ref, {"amount": 2500})
        charge = stripe_server.objects("charge")[-1]
        stripe_server.change(charge["id"], {"amount_refunded": 300})
        night()
        kinds = dict(Drift.objects.values_list("subject_id", "kind"))
        assert kinds == {more.public_id: "amount", back.public_id: "refunded"}

    def test_a_state_that_we_missed(
        self, account: Account, gateway: StripeGateway, stripe_server: StripeServer
    ) -> None:
        now = timezone.now()
        intent = create_intent(account=account, new=NewIntent(amount=900, currency="usd"), at=now, actor=ADA)
        intent = confirm_intent(intent_id=intent.pk, token="tok_authenticationRequired", at=now, actor=ADA)
        stripe_server.authenticate(intent.provider_ref)
        night()
        assert list_drifts() == [("payment", "status", "open")]

    def test_a_hold_that_verified_a_card_is_no_payment(self, gateway: StripeGateway, account: Account) -> None:
        payer = Payer(account_id=account.public_id, customer_ref=ProviderCustomer.objects.get().ref)
        ref = gateway.store_method(token="tok_visa", type="card", payer=payer, key="store").ref
        gateway.authorise(method_ref=ref, amount=Money(100, "usd"), key="hold")
        night()
        assert not Drift.objects.exists()


class TestNightAfterNight:
    def test_a_difference_is_told_once_and_gone_when_it_is_gone(
        self, gateway: StripeGateway, account: Account, stripe_server: StripeServer
    ) -> None:
        intent = pay(account)
        stripe_server.change(intent.provider_ref, {"amount": 2500})
        assert [night().found, night().found] == [1, 0]
        assert Event.objects.filter(type="drift.opened").count() == 1
        stripe_server.change(intent.provider_ref, {"amount": 2000})
        night()
        assert list_drifts() == [("payment", "amount", "repaired")]
        stripe_server.change(intent.provider_ref, {"amount": 2500})
        assert night().found == 1
        assert list_drifts() == [("payment", "amount", "open")]

    def test_what_is_open_is_looked_at_when_the_window_has_passed(
        self, account: Account, stripe_server: StripeServer
    ) -> None:
        intent = pay(account)
        stripe_server.change(intent.provider_ref, {"amount": 2500})
        night()
        stripe_server.change(intent.provider_ref, {"amount": 2000})
        night(days=30)
        assert list_drifts() == [("payment", "amount", "repaired")]

    def test_a_provider_that_fails_half_way_is_gone_on_with(
        self, gateway: StripeGateway, account: Account, stripe_server: StripeServer
    ) -> None:
        pay_there(gateway, account_id=account.public_id)
        now = timezone.now() + timedelta(minutes=1)
        run = start_reconciliation(at=now)
        stripe_server.fail_next(500, path="/v1/payment_intents", method="GET")
        assert not work_reconciliation(run_id=run.pk, at=now)
        run.refresh_from_db()
        assert (run.position, run.attempts, run.finished_at) == ("payment", 1, None)
        assert run.error
        assert start_reconciliation(at=now).pk == run.pk
        assert list_unfinished(limit=5) == [run.pk]
        assert work_reconciliation(run_id=run.pk, at=now)
        assert list_drifts() == [("payment", "missing_here", "open")]
        assert list_unfinished(limit=5) == []


class TestRepairing:
    def repair(self, at: datetime | None = None) -> Drift:
        return repair_drift(drift_id=Drift.objects.get().pk, at=at or timezone.now(), actor=ADA)

    def test_a_payment_we_missed_becomes_one_of_the_account(self, gateway: StripeGateway, account: Account) -> None:
        ref = pay_there(gateway, account_id=account.public_id)
        night()
        drift = self.repair()
        assert (drift.status, drift.settled_by) == ("repaired", "staff:ada")
        intent = PaymentIntent.objects.get()
        assert (intent.account, intent.provider_ref, intent.status) == (account, ref, "succeeded")
        assert (intent.amount_received, intent.provider_type) == (700, "stripe")
        with pytest.raises(InvalidState):
            self.repair()
        assert night().found == 0
        assert PaymentIntent.objects.count() == 1

    def test_a_state_we_missed_is_read_anew(self, account: Account, stripe_server: StripeServer) -> None:
        now = timezone.now()
        intent = create_intent(account=account, new=NewIntent(amount=900, currency="usd"), at=now, actor=ADA)
        intent = confirm_intent(intent_id=intent.pk, token="tok_authenticationRequired", at=now, actor=ADA)
        stripe_server.authenticate(intent.provider_ref)
        night()
        self.repair()
        intent.refresh_from_db()
        assert (intent.status, intent.amount_received) == ("succeeded", 900)

    def test_disputes_and_refunds_made_there_are_recorded(
        self, account: Account, stripe_server: StripeServer, gateway: StripeGateway
    ) -> None:
        disputed, back = pay(account), pay(account)
        stripe_server.open_dispute(disputed.provider_ref)
        order = RefundOrder(
            reference="", account_id=account.public_id, payment_ref=back.provider_ref, amount=Money(500, "usd")
        )
        gateway.refund(order=order, key="by hand")
        night()
        for drift in Drift.objects.filter(kind="missing_here"):
            assert repair_drift(drift_id=drift.pk, at=timezone.now(), actor=ADA).status == "repaired"
        assert (Dispute.objects.get().amount, Refund.objects.get().amount) == (2000, 500)
        night()
        assert not Drift.objects.filter(status="open").exists()

    def test_money_of_nobody_is_not_given_to_anybody(self, gateway: StripeGateway) -> None:
        pay_there(gateway)
        night()
        with pytest.raises(DriftNotRepairable):
            self.repair()
        assert list_drifts() == [("payment", "unknown_customer", "open")]
        assert not PaymentIntent.objects.exists()

    def test_an_amount_that_differs_is_not_written_over(self, account: Account, stripe_server: StripeServer) -> None:
        intent = pay(account)
        stripe_server.change(intent.provider_ref, {"amount": 2500})
        night()
        with pytest.raises(DriftNotRepairable):
            self.repair()
        intent.refresh_from_db()
        assert intent.amount == 2000

    def test_a_silent_provider_changes_nothing(
        self, gateway: StripeGateway, account: Account, stripe_server: StripeServer
    ) -> None:
        pay_there(gateway, account_id=account.public_id)
        night()
        stripe_server.fail_next(500, method="GET")
        with pytest.raises(ProviderUnavailable):
            self.repair()
        assert list_drifts() == [("payment", "missing_here", "open")]

    def test_a_customer_that_is_gone_there_is_noted(self, account: Account) -> None:
        ProviderCustomer.objects.update(ref="cus_lost")
        night()
        lost = Drift.objects.get(kind="missing_there")
        assert repair_drift(drift_id=lost.pk, at=timezone.now(), actor=ADA).status == "repaired"
        assert ProviderCustomer.objects.get().is_deleted


class TestAccepting:
    def test_is_with_a_reason_and_until_it_changes(self, account: Account, stripe_server: StripeServer) -> None:
        intent = pay(account)
        stripe_server.change(intent.provider_ref, {"amount": 2500})
        night()
        drift = Drift.objects.get()
        with pytest.raises(ValidationFailed):
            accept_drift(drift_id=drift.pk, at=timezone.now(), actor=ADA, reason="  ")
        accept_drift(drift_id=drift.pk, at=timezone.now(), actor=ADA, reason="agreed by phone")
        assert night().found == 0
        drift.refresh_from_db()
        assert (drift.status, drift.comment, drift.settled_by) == ("accepted", "agreed by phone", "staff:ada")
        stripe_server.change(intent.provider_ref, {"amount": 2600})
        assert night().found == 1
        assert list_drifts() == [("payment", "amount", "open")]


def test_the_command_tells_what_is_open(gateway: StripeGateway, account: Account) -> None:
    out = StringIO()
    with clock.travel(timezone.now() + timedelta(minutes=1)):
        call_command("reconcile_provider", stdout=out)
    assert "1 compared, 0 new" in out.getvalue()
    ref = pay_there(gateway, account_id=account.public_id)
    with clock.travel(timezone.now() + timedelta(minutes=1)), pytest.raises(CommandError) as refusal:
        call_command("reconcile_provider", stdout=out)
    assert (refusal.value.returncode, ref in out.getvalue()) == (1, True)


class TestPages:
    """The admin: what was found, side by side, and what to do about it."""

    def sign_in(self, role: str) -> Client:
        user = User.objects.create_user(f"ada-{role}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    def test_finance_sees_both_sides_and_repairs(self, gateway: StripeGateway, account: Account) -> None:
        pay_there(gateway, account_id=account.public_id)
        night()
        client, drift = self.sign_in("finance_lead"), Drift.objects.get()
        page = client.get(f"/admin/invoicing/drift/{drift.pk}/change/")
        assert "Received: 7.00 USD" in page.content.decode()
        client.post(f"/admin/invoicing/drift/{drift.pk}/repair/", {"reason": "found it", "_confirmed": "1"})
        drift.refresh_from_db()
        assert (drift.status, drift.comment) == ("repaired", "found it")
        assert client.get("/admin/invoicing/reconciliationrun/").status_code == 200

    def test_accepting_needs_the_permission(self, account: Account, stripe_server: StripeServer) -> None:
        stripe_server.change(pay(account).provider_ref, {"amount": 2500})
        night()
        drift = Drift.objects.get()
        path, form = f"/admin/invoicing/drift/{drift.pk}/accept/", {"reason": "agreed by phone", "_confirmed": "1"}
        assert self.sign_in("viewer").post(path, form).status_code in (302, 403)
        drift.refresh_from_db()
        assert drift.status == "open"
        self.sign_in("finance_lead").post(path, form)
        drift.refresh_from_db()
        assert (drift.status, drift.comment) == ("accepted", "agreed by phone")
