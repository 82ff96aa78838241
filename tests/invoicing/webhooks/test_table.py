"""
Every row of the contract's table of provider events: posted, signed, by a real server, and handled to its effect.

The provider is the Stripe server of the tests; whatever it does makes an event, which comes in over our door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Account, LedgerEntry, PaymentMethod, Subscription
from accounts.queries.proof import prove_ledger
from billing_site.platform.models import Event, WorkItem
from invoicing.models import Dispute, InboundEvent, PaymentIntent, Payout, ProviderCustomer, ProviderInvoice, Refund
from invoicing.services.provider_customers import link_provider_customer
from invoicing.webhooks.handlers import HANDLERS
from invoicing.webhooks.neutral import NEUTRAL_TYPES
from tests.stripe_server.resources import KINDS
from tests.support import world
from tests.support.stripe_hooks import HookedStripe, hooked_stripe

pytestmark = pytest.mark.django_db


@pytest.fixture
def stripe_hooks() -> Iterator[HookedStripe]:
    with hooked_stripe() as running:
        yield running


@pytest.fixture
def account(db: None) -> Account:
    world.publish()
    return world.open_account()


@pytest.fixture
def customer(stripe_hooks: HookedStripe, account: Account) -> str:
    """The account as the provider knows it, with a card."""
    api = stripe_hooks.client
    made = api.customers.create(params={"email": "ada@example.com"})
    method = api.payment_methods.attach("pm_card_visa", params={"customer": made.id})
    api.customers.update(made.id, params={"invoice_settings": {"default_payment_method": method.id}})
    link_provider_customer(
        account_id=account.pk, provider_type="stripe", ref=made.id, at=world.NOVEMBER, actor=world.TESTER
    )
    return str(made.id)


@pytest.fixture
def price(stripe_hooks: HookedStripe) -> str:
    product = stripe_hooks.client.products.create(params={"name": "Pro"})
    made = stripe_hooks.client.prices.create(
        params={"product": product.id, "currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}}
    )
    return str(made.id)


@pytest.fixture
def subscribe(stripe_hooks: HookedStripe, customer: str, price: str) -> Callable[..., Any]:
    """Begin a subscription over there, told here by the events it makes."""

    def make(**params: Any) -> Any:
        metadata = {"plan_id": "pro", **params.pop("metadata", {})}
        return stripe_hooks.client.subscriptions.create(
            params={"customer": customer, "items": [{"price": price}], "metadata": metadata, **params}
        )

    return make


def events_of(type: str) -> list[InboundEvent]:
    return list(InboundEvent.objects.filter(type=type).order_by("id"))


def one(type: str) -> InboundEvent:
    [event] = events_of(type)
    return event


def told(type: str) -> int:
    return Event.objects.filter(type=type).count()


def test_every_row_of_the_table_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [type for type in NEUTRAL_TYPES if type not in HANDLERS] == []
    assert [type for type in NEUTRAL_TYPES if f'"{type}"' not in source] == []


class TestSubscriptions:
    def test_created(self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]) -> None:
        there = subscribe(metadata={"billing_features": "llm:proxy, llm:train"})
        stripe_hooks.tell()
        here = Subscription.objects.get(account=account)
        item = there["items"].data[0]
        assert (here.status, here.plan_version.plan.key, here.provider) == ("active", "pro", "stripe")
        assert here.provider_subscription_id == there.id
        assert here.billed_by_provider
        assert here.provider_features == ["llm:proxy", "llm:train"]
        assert int(here.current_period_start.timestamp()) == item.current_period_start
        assert int(here.current_period_end.timestamp()) == item.current_period_end
        event = one("customer.subscription.created")
        assert (event.neutral_type, event.status, event.account_id) == ("subscription.created", "handled", account.pk)
        assert set(stripe_hooks.answers) == {200}

    def test_updated(self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]) -> None:
        there = subscribe()
        stripe_hooks.tell()
        params = {"metadata": {"billing_feature": "llm:proxy", "plan_id": "payg"}}
        stripe_hooks.client.subscriptions.update(there.id, params=params)
        stripe_hooks.tell()
        here = Subscription.objects.get(account=account)
        assert (here.plan_version.plan.key, here.provider_features) == ("payg", ["llm:proxy"])
        assert events_of("customer.subscription.updated")[-1].neutral_type == "subscription.updated"

    def test_deleted(self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]) -> None:
        there = subscribe()
        stripe_hooks.tell()
        stripe_hooks.client.subscriptions.cancel(there.id)
        stripe_hooks.tell()
        assert Subscription.objects.get(account=account).status == "canceled"
        event = one("customer.subscription.deleted")
        assert (event.neutral_type, event.status) == ("subscription.canceled", "handled")
        assert told("subscription.canceled") == 1

    def test_trial_will_end(self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]) -> None:
        there = subscribe(trial_period_days=7)
        stripe_hooks.tell()
        assert Subscription.objects.get(account=account).status == "trialing"
        event = stripe_hooks.send("customer.subscription.trial_will_end", there.id)
        assert (event.neutral_type, event.status) == ("subscription.trial_will_end", "handled")
        assert told("subscription.trial_will_end") == 1

    def test_an_unknown_status_is_incomplete(
        self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any], caplog: Any
    ) -> None:
        there = subscribe()
        stripe_hooks.server.change(there.id, {"status": "frozen"})
        stripe_hooks.tell()
        assert Subscription.objects.get(account=account).status == "incomplete"
        assert "frozen" in caplog.text

    def test_of_nobody_are_kept(self, stripe_hooks: HookedStripe, price: str, db: None) -> None:
        api = stripe_hooks.client
        stranger = api.customers.create(params={"email": "eve@example.com"})
        method = api.payment_methods.attach("pm_card_visa", params={"customer": stranger.id})
        api.subscriptions.create(
            params={"customer": stranger.id, "items": [{"price": price}], "default_payment_method": method.id}
        )
        stripe_hooks.tell()
        assert not Subscription.objects.exists()
        event = one("customer.subscription.created")
        assert (event.status, event.account_id) == ("stored", None)
        assert event.outcome.endswith("belongs to no account here.")
        # Its invoice was paid: money that nobody here knows of is told, once.
        items = WorkItem.objects.filter(kind="webhook_unmatched")
        assert {item.subject_type for item in items} == {"invoice", "payment_intent"}

    def test_that_name_another_account_of_ours_are_told(
        self, stripe_hooks: HookedStripe, subscribe: Callable[..., Any]
    ) -> None:
        there = subscribe(metadata={"billing_account_id": "acc_00000000000000000000000000"})
        stripe_hooks.tell()
        assert not Subscription.objects.exists()
        item = WorkItem.objects.get(kind="webhook_unmatched", subject_id=there.id)
        assert "our metadata" in item.detail

    def test_that_cannot_be_followed_are_told(
        self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]
    ) -> None:
        there = subscribe(metadata={"plan_id": "gold"})
        stripe_hooks.tell()
        assert not Subscription.objects.exists()
        item = WorkItem.objects.get(kind="webhook_refused", subject_id=there.id)
        assert (item.status, item.account_id) == ("open", account.pk)
        assert "the catalog has no plan 'gold'" in item.detail


class TestInvoices:
    def test_paid_and_payment_succeeded(
        self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]
    ) -> None:
        there = subscribe()
        stripe_hooks.tell()
        copy = ProviderInvoice.objects.get(account=account)
        assert (copy.state, copy.total, copy.amount_paid, copy.currency) == ("paid", 1000, 1000, "usd")
        assert copy.subscription == Subscription.objects.get(provider_subscription_id=there.id)
        assert copy.paid_at is not None
        for type in ("invoice.paid", "invoice.payment_succeeded"):
            assert (one(type).neutral_type, one(type).status) == ("invoice.paid", "handled")

    def test_payment_failed_and_paid_later(
        self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]
    ) -> None:
        there = subscribe()
        stripe_hooks.tell()
        stripe_hooks.server.decline_next("insufficient_funds")
        stripe_hooks.server.renew(there.id)
        stripe_hooks.tell()
        here = Subscription.objects.get(account=account)
        assert here.status == "past_due"
        event = one("invoice.payment_failed")
        assert (event.neutral_type, event.status) == ("invoice.payment_failed", "handled")
        copy = ProviderInvoice.objects.get(state="open")
        assert copy.amount_paid == 0
        stripe_hooks.client.invoices.pay(copy.ref)
        stripe_hooks.tell()
        here.refresh_from_db()
        copy.refresh_from_db()
        assert (here.status, copy.state) == ("active", "paid")

    def test_created_and_finalized(
        self, stripe_hooks: HookedStripe, account: Account, subscribe: Callable[..., Any]
    ) -> None:
        subscribe()
        stripe_hooks.tell()
        for type in ("invoice.created", "invoice.finalized"):
            event = one(type)
            assert (event.neutral_type, event.status, event.account_id) == ("invoice.updated", "handled", account.pk)
        assert ProviderInvoice.objects.count() == 1


class TestCheckout:
    def test_completed(self, stripe_hooks: HookedStripe, account: Account, price: str) -> None:
        session = stripe_hooks.client.checkout.sessions.create(
            params={
                "mode": "subscription",
                "line_items": [{"price": price, "quantity": 1}],
                "client_reference_id": account.public_id,
                "metadata": {"plan_id": "pro"},
                "success_url": "https://app.example.com/done",
            }
        )
        done = stripe_hooks.server.complete_checkout(session.id)
        stripe_hooks.tell()
        assert ProviderCustomer.objects.get(account=account).ref == done["customer"]
        here = Subscription.objects.get(account=account)
        assert (here.status, here.plan_version.plan.key) == ("active", "pro")
        assert here.provider_subscription_id == done["subscription"]
        event = one("checkout.session.completed")
        assert (event.neutral_type, event.status) == ("checkout.completed", "handled")
        stripe_hooks.send("checkout.session.completed", session.id)
        assert Subscription.objects.count() == ProviderCustomer.objects.count() == 1


class TestPayments:
    @pytest.fixture
    def intent(self, stripe_hooks: HookedStripe, account: Account, customer: str) -> PaymentIntent:
        """A payment of ours that the provider has and whose answer was lost."""
        return PaymentIntent.objects.create(
            account=account,
            amount=2500,
            currency="usd",
            purpose="topup",
            provider_type="stripe",
            status="processing",
            pending_call="pay",
            call_key="topup:1",
            called_at=world.NOVEMBER,
            calls=1,
        )

    def pay(self, stripe_hooks: HookedStripe, customer: str, intent: PaymentIntent, card: str) -> str:
        metadata = {"billing_payment_intent_id": intent.public_id, "billing_account_id": intent.account.public_id}
        made = stripe_hooks.client.payment_intents.create(
            params={"amount": 2500, "currency": "usd", "customer": customer, "metadata": metadata}
        )
        try:
            params = {"payment_method": card, "return_url": "https://app.example.com"}
            stripe_hooks.client.payment_intents.confirm(made.id, params=params)
        except Exception as declined:
            assert "declined" in str(declined)
        return str(made.id)

    def test_succeeded(self, stripe_hooks: HookedStripe, account: Account, customer: str, intent: Any) -> None:
        ref = self.pay(stripe_hooks, customer, intent, "pm_card_visa")
        stripe_hooks.tell()
        intent.refresh_from_db()
        assert (intent.status, intent.provider_ref, intent.amount_received) == ("succeeded", ref, 2500)
        event = one("payment_intent.succeeded")
        assert (event.neutral_type, event.status, event.account_id) == ("payment.completed", "handled", account.pk)
        # Five more of the same, and nothing is booked again.
        for _ in range(5):
            stripe_hooks.send("payment_intent.succeeded", ref)
        assert told("topup.succeeded") + told("payment_intent.succeeded") >= 1
        assert told("balance.deposited") == 1

    def test_payment_failed(self, stripe_hooks: HookedStripe, account: Account, customer: str, intent: Any) -> None:
        PaymentIntent.objects.filter(pk=intent.pk).update(pending_call="")
        ref = self.pay(stripe_hooks, customer, intent, "pm_card_visa_chargeDeclined")
        stripe_hooks.tell()
        intent.refresh_from_db()
        assert (intent.status, intent.provider_ref) == ("requires_payment_method", ref)
        assert intent.decline_reason
        event = one("payment_intent.payment_failed")
        assert (event.neutral_type, event.status) == ("payment.failed", "handled")

    def test_refunded(self, stripe_hooks: HookedStripe, account: Account, customer: str, intent: Any) -> None:
        ref = self.pay(stripe_hooks, customer, intent, "pm_card_visa")
        stripe_hooks.tell()
        made = stripe_hooks.client.refunds.create(params={"payment_intent": ref, "amount": 700})
        stripe_hooks.tell()
        refund = Refund.objects.get(account=account)
        assert (refund.provider_ref, refund.status, refund.amount) == (made.id, "succeeded", 700)
        event = one("charge.refunded")
        assert (event.neutral_type, event.status, event.account_id) == ("refund.succeeded", "handled", account.pk)
        again = stripe_hooks.send("charge.refund.updated", made.id)
        assert (again.neutral_type, again.status) == ("refund.updated", "handled")
        assert Refund.objects.count() == 1

    @pytest.mark.parametrize("outcome", ["won", "lost"])
    def test_disputed(
        self, stripe_hooks: HookedStripe, account: Account, customer: str, intent: Any, outcome: str
    ) -> None:
        ref = self.pay(stripe_hooks, customer, intent, "pm_card_visa")
        stripe_hooks.tell()
        there = stripe_hooks.server.open_dispute(ref)
        stripe_hooks.tell()
        dispute = Dispute.objects.get(account=account)
        assert (dispute.provider_ref, dispute.status, dispute.amount) == (there["id"], "needs_response", 2500)
        event = one("charge.dispute.created")
        assert (event.neutral_type, event.status, event.account_id) == ("dispute.created", "handled", account.pk)
        stripe_hooks.server.close_dispute(there["id"], outcome)
        stripe_hooks.tell()
        dispute.refresh_from_db()
        assert dispute.status == outcome
        event = one("charge.dispute.closed")
        assert (event.neutral_type, event.status) == ("dispute.resolved", "handled")
        stripe_hooks.send("charge.dispute.closed", there["id"])
        assert Dispute.objects.count() == 1
        assert LedgerEntry.objects.filter(key=f"dispute:{dispute.public_id}").count() == 1
        assert prove_ledger().fault is None

    def test_that_nobody_asked_for_here_are_kept(self, stripe_hooks: HookedStripe, customer: str) -> None:
        params = {"amount": 500, "currency": "usd", "customer": customer, "payment_method": "pm_card_visa"}
        return_url = {"return_url": "https://app.example.com"}
        stripe_hooks.client.payment_intents.create(params={**params, "confirm": True, **return_url})
        stripe_hooks.tell()
        event = one("payment_intent.succeeded")
        assert (event.status, event.outcome.partition(" pi_")[0]) == ("stored", "Not applied: payment")
        assert not WorkItem.objects.filter(kind="webhook_unmatched").exists()


class TestPayouts:
    @pytest.mark.parametrize(("failure", "status"), [("", "paid"), ("account_closed", "failed")])
    def test_paid_and_failed(self, stripe_hooks: HookedStripe, account: Account, failure: str, status: str) -> None:
        """The provider pays out to our own bank by itself."""
        stripe_hooks.server.add_funds(5000)
        there = stripe_hooks.client.payouts.create(params={"amount": 3000, "currency": "usd"})
        stripe_hooks.server.advance_payout(there.id)
        stripe_hooks.server.advance_payout(there.id, failure=failure)
        stripe_hooks.tell()
        payout = Payout.objects.get(provider_ref=there.id)
        assert (payout.status, payout.amount, payout.origin) == (status, 3000, "provider")
        event = one({"paid": "payout.paid", "failed": "payout.failed"}[status])
        assert (event.neutral_type, event.status) == (f"payout.{status}", "handled")
        stripe_hooks.send(event.type, there.id)
        assert Payout.objects.count() == 1
        assert LedgerEntry.objects.filter(key=f"payout:{payout.public_id}").count() == 1


class TestMethods:
    def test_attached_and_detached(self, stripe_hooks: HookedStripe, account: Account, customer: str) -> None:
        stripe_hooks.tell()
        method = PaymentMethod.objects.get(account=account)
        assert (method.status, method.card["last4"], method.verified_at) == ("attached", "4242", None)
        event = one("payment_method.attached")
        assert (event.neutral_type, event.status) == ("payment_method.attached", "handled")
        for type in ("payment_method.updated", "payment_method.automatically_updated"):
            event = stripe_hooks.send(type, method.provider_ref)
            assert (event.neutral_type, event.status) == ("payment_method.updated", "handled")
        stripe_hooks.client.payment_methods.detach(method.provider_ref)
        stripe_hooks.tell()
        method.refresh_from_db()
        assert (method.status, method.released_at is not None) == ("detached", True)
        event = one("payment_method.detached")
        assert (event.neutral_type, event.status) == ("payment_method.detached", "handled")

    def test_one_that_a_request_of_ours_attaches_waits_for_it(
        self, stripe_hooks: HookedStripe, account: Account, customer: str
    ) -> None:
        waiting = PaymentMethod.objects.create(account=account, type="card", provider_type="stripe", provider_ref="tok")
        stripe_hooks.tell()
        event = one("payment_method.attached")
        assert (event.status, event.attempts, event.last_error.partition(":")[0]) == (
            "pending",
            1,
            "method_being_attached",
        )
        waiting.refresh_from_db()
        assert waiting.status == "pending"


class TestCustomers:
    def test_created_updated_and_deleted(self, stripe_hooks: HookedStripe, account: Account) -> None:
        api = stripe_hooks.client
        made = api.customers.create(params={"metadata": {"billing_account_id": account.public_id}})
        stripe_hooks.tell()
        customer = ProviderCustomer.objects.get(account=account)
        assert (customer.ref, customer.is_deleted) == (made.id, False)
        assert (one("customer.created").neutral_type, one("customer.created").status) == ("customer.created", "handled")
        api.customers.update(made.id, params={"name": "Ada"})
        stripe_hooks.tell()
        assert (one("customer.updated").neutral_type, one("customer.updated").status) == ("customer.updated", "handled")
        api.customers.delete(made.id)
        stripe_hooks.tell()
        customer.refresh_from_db()
        assert customer.is_deleted
        assert (one("customer.deleted").neutral_type, one("customer.deleted").status) == ("customer.deleted", "handled")

    def test_that_is_another_account_s_is_told(
        self, stripe_hooks: HookedStripe, account: Account, customer: str
    ) -> None:
        other = stripe_hooks.client.customers.create(params={"metadata": {"billing_account_id": account.public_id}})
        stripe_hooks.tell()
        assert ProviderCustomer.objects.get(account=account).ref == customer
        assert WorkItem.objects.get(kind="webhook_refused").subject_id == other.id


class TestAnythingElse:
    @pytest.mark.parametrize("type", ["product.created", "price.created"])
    def test_is_kept_under_its_own_name(self, stripe_hooks: HookedStripe, price: str, type: str) -> None:
        stripe_hooks.tell()
        event = one(type)
        assert (event.neutral_type, event.status) == (type, "stored")
        assert event.outcome == "Kept: nothing here follows events of this type."

    def test_about_an_object_that_is_not_there_any_more_is_kept(
        self, stripe_hooks: HookedStripe, customer: str
    ) -> None:
        stripe_hooks.tell()
        stripe_hooks.server.hold_webhooks()
        method = stripe_hooks.client.payment_methods.attach("pm_card_mastercard", params={"customer": customer})
        stripe_hooks.server.store().remove(KINDS["payment_method"], method.id)
        stripe_hooks.server.release_webhooks()
        stripe_hooks.tell()
        event = events_of("payment_method.attached")[-1]
        assert event.status == "stored"
        assert event.outcome == "Not applied: stripe has no such payment_method, or not any more."
