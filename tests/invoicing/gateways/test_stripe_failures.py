"""What goes wrong between us and Stripe: what is told, what is not, and what happens when it is asked again."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account
from billing_site.kernel.money import Money
from invoicing.gateways.orders import PaymentOrder
from invoicing.gateways.port import (
    NoProcessorAvailable,
    ObjectUnknown,
    OrderRejected,
    Payer,
    ProviderKeyRefused,
    ProviderUnavailable,
    UsageRejected,
    UsageReport,
)
from invoicing.gateways.registry import get_gateway
from invoicing.gateways.stripe import StripeGateway
from tests.stripe_server import StripeServer

pytestmark = pytest.mark.django_db
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PAYMENTS = "/v1/payment_intents"
ORDER = PaymentOrder(
    reference="pi_1", account_id="acc_1", amount=Money(2000, "usd"), token="tok_visa", off_session=False
)


class TestUnknownOutcomes:
    def test_a_charge_whose_answer_was_lost_is_found_and_not_made_again(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer
    ) -> None:
        stripe_server.drop_next(path=PAYMENTS, method="POST", moment="after")
        with pytest.raises(ProviderUnavailable):
            stripe_gateway.pay(order=ORDER, key="k")
        found = stripe_gateway.find_payment(reference="pi_1", customer_ref="", since=LONG_AGO)
        assert found is not None
        assert found.status == "succeeded"
        assert stripe_gateway.pay(order=ORDER, key="k") == found
        assert len(stripe_server.objects("charge")) == 1

    @pytest.mark.parametrize("status", [429, 409, 500, 503])
    def test_trouble_of_the_provider_leaves_it_unknown(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer, status: int
    ) -> None:
        stripe_server.fail_next(status, path=PAYMENTS, method="POST")
        with pytest.raises(ProviderUnavailable) as refusal:
            stripe_gateway.pay(order=ORDER, key="k")
        assert refusal.value.retryable
        assert not stripe_server.objects("charge")
        assert len([each for each in stripe_server.writes if each.path == PAYMENTS]) == 1  # no retries of its own

    def test_a_key_that_came_with_something_else_is_no_answer(self, stripe_gateway: StripeGateway) -> None:
        stripe_gateway.ensure_customer(payer=Payer(account_id="acc_1"), key="same")
        with pytest.raises(ProviderUnavailable):
            stripe_gateway.ensure_customer(payer=Payer(account_id="acc_2"), key="same")

    def test_nothing_listens_there(self, stripe_gateway: StripeGateway, settings: Any) -> None:
        settings.BILLING_STRIPE_API_BASE = "http://127.0.0.1:9"
        with pytest.raises(ProviderUnavailable):
            StripeGateway(livemode=False).fetch_payment(payment_ref="pi_1")


class TestCertainRefusals:
    def test_what_cannot_be_expressed_is_not_sent(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer
    ) -> None:
        order = PaymentOrder(reference="pi_1", account_id="acc_1", amount=Money(5123, "kwd"), method_ref="pm_card_visa")
        with pytest.raises(OrderRejected) as refusal:
            stripe_gateway.pay(order=order, key="k")
        assert refusal.value.code == "amount_not_expressible"
        assert not stripe_server.writes

    def test_an_unknown_method_is_no_decline(self, stripe_gateway: StripeGateway) -> None:
        order = PaymentOrder(reference="pi_1", account_id="acc_1", amount=Money(2000, "usd"), method_ref="pm_nothing")
        with pytest.raises(OrderRejected) as refusal:
            stripe_gateway.pay(order=order, key="k")
        assert refusal.value.code == "resource_missing"

    def test_below_what_stripe_charges_a_card_is_verified_without_a_hold(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer
    ) -> None:
        customer = stripe_gateway.ensure_customer(payer=Payer(account_id="acc_1"), key="c")
        payer = Payer(account_id="acc_1", customer_ref=customer)
        ref = stripe_gateway.store_method(token="tok_visa", type="card", payer=payer, key="s").ref
        held = stripe_gateway.authorise(method_ref=ref, amount=Money(100, "irr"), key="h")
        assert held.startswith("seti_")
        stripe_gateway.cancel(authorisation_ref=held, key="h:cancel")
        assert not stripe_server.objects("payment_intent")


class TestObjects:
    def test_say_whose_they_are_and_nobody_else_can(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer
    ) -> None:
        forged = {"billing_account_id": "acc_2", "billing_payment_intent_id": "pi_2", "note": "hello", "x" * 41: "no"}
        order = PaymentOrder(
            reference="pi_1", account_id="acc_1", amount=Money(2000, "usd"), token="tok_visa", metadata=forged,
            off_session=False,
        )  # fmt: skip
        stripe_gateway.pay(order=order, key="k")
        assert stripe_server.objects("payment_intent")[0]["metadata"] == {
            "billing_account_id": "acc_1", "billing_payment_intent_id": "pi_1", "note": "hello",
        }  # fmt: skip

    def test_every_write_has_our_key_and_the_pinned_version(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer, settings: Any
    ) -> None:
        stripe_gateway.pay(order=ORDER, key="k")
        assert [each.idempotency_key for each in stripe_server.writes] == ["k:method", "k"]
        assert {each.headers["stripe-version"] for each in stripe_server.requests} == {settings.STRIPE_API_VERSION}

    def test_a_krona_there_is_a_hundred_hundredths(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer
    ) -> None:
        order = PaymentOrder(
            reference="pi_1", account_id="acc_1", amount=Money(500, "isk"), token="tok_visa", off_session=False
        )
        state = stripe_gateway.pay(order=order, key="k")
        assert stripe_server.objects("payment_intent")[0]["amount"] == 50_000
        assert (state.amount, state.amount_received) == (Money(500, "isk"), 500)

    def test_lists_go_over_all_pages(self, stripe_gateway: StripeGateway, stripe_server: StripeServer) -> None:
        for number in range(103):
            stripe_gateway.ensure_customer(payer=Payer(account_id=f"acc_{number}"), key=f"c{number}")
        stripe_server.forget_requests()
        until = datetime(2100, 1, 1, tzinfo=UTC)
        assert len({each.ref for each in stripe_gateway.list_customers(since=LONG_AGO, until=until)}) == 103
        assert len(stripe_server.requests) == 2


class TestKeys:
    @pytest.mark.parametrize("key", ["", "pk_test_1", "sk_live_1", "rk_live_1", "nonsense"])
    def test_test_mode_takes_a_secret_test_key(self, settings: Any, key: str) -> None:
        settings.STRIPE_TEST_SECRET_KEY = key
        with pytest.raises(NoProcessorAvailable) as refusal:
            StripeGateway(livemode=False)
        assert not key or key not in str(refusal.value)

    @pytest.mark.parametrize("key", ["", "sk_test_1", "rk_test_1", "pk_live_1"])
    def test_live_mode_takes_a_secret_live_key(self, settings: Any, key: str) -> None:
        settings.STRIPE_LIVE_SECRET_KEY = key
        with pytest.raises(NoProcessorAvailable):
            StripeGateway(livemode=True)

    def test_an_account_of_the_other_mode_is_not_charged_here(self, settings: Any) -> None:
        settings.STRIPE_TEST_SECRET_KEY = "sk_test_1"
        assert get_gateway("stripe", livemode=False).name == "stripe"
        with pytest.raises(NoProcessorAvailable):
            get_gateway("stripe", livemode=True)

    def test_a_wrong_key_is_told_to_the_operator_and_not_shown(
        self, stripe_server: StripeServer, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        secret = "sk_test_" + "9" * 24
        settings.STRIPE_TEST_SECRET_KEY, settings.BILLING_STRIPE_API_BASE = secret, stripe_server.url
        with pytest.raises(ProviderKeyRefused) as refusal:
            StripeGateway(livemode=False).pay(order=ORDER, key="k")
        assert "BILLING_STRIPE_SECRET_KEY" in str(refusal.value)
        assert refusal.value.__cause__ is None
        assert not refusal.value.retryable
        assert secret not in f"{refusal.value} {caplog.text}"

    def test_nothing_secret_is_logged(
        self, stripe_gateway: StripeGateway, stripe_server: StripeServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        state = stripe_gateway.pay(order=ORDER, key="k")
        declined = PaymentOrder(
            reference="pi_2", account_id="acc_1", amount=Money(2000, "usd"), token="tok_chargeDeclined",
            off_session=False,
        )  # fmt: skip
        refused = stripe_gateway.pay(order=declined, key="k2")
        assert state.client_secret and refused.client_secret
        for secret in (state.client_secret, refused.client_secret, stripe_server.test_key):
            assert secret not in caplog.text


class TestUsage:
    REPORT = UsageReport(
        event_name="tokens", customer_ref="cus_1", value=Decimal(1), timestamp=datetime(2026, 3, 15, tzinfo=UTC)
    )

    def test_needs_a_customer(self, stripe_gateway: StripeGateway) -> None:
        report = UsageReport(event_name="t", customer_ref="", value=Decimal(1), timestamp=LONG_AGO)
        with pytest.raises(UsageRejected):
            stripe_gateway.report_usage(report=report, key="u")

    def test_of_a_meter_that_is_not_there_is_refused(self, stripe_gateway: StripeGateway) -> None:
        with pytest.raises(UsageRejected):
            stripe_gateway.report_usage(report=self.REPORT, key="u")


def test_disputes_are_read_answered_and_accepted(stripe_gateway: StripeGateway, stripe_server: StripeServer) -> None:
    order = PaymentOrder(
        reference="pi_1", account_id="acc_1", amount=Money(2000, "usd"), token="tok_visa", off_session=False
    )
    paid = stripe_gateway.pay(order=order, key="k")
    stripe_server.open_dispute(paid.ref)
    until = datetime(2100, 1, 1, tzinfo=UTC)
    [dispute] = stripe_gateway.list_disputes(since=LONG_AGO, until=until)
    assert (dispute.payment_ref, dispute.account_id, dispute.status) == (paid.ref, "acc_1", "needs_response")
    assert dispute.amount == Money(2000, "usd")
    assert dispute.fee == 1500  # what Stripe keeps of a dispute
    kept = stripe_gateway.submit_evidence(
        dispute_ref=dispute.ref,
        evidence={"product_description": "A plan", "memo": "Paid before"},
        submit=False,
        key="e",
    )
    assert kept.status == "needs_response"
    assert kept.evidence == {"product_description": "A plan", "uncategorized_text": "memo: Paid before"}
    lost = stripe_gateway.close_dispute(dispute_ref=dispute.ref, key="x")
    assert lost.status == "lost"
    with pytest.raises(ObjectUnknown):
        stripe_gateway.fetch_dispute(dispute_ref="dp_nothing")


def test_an_account_pays_with_a_card_through_stripe(stripe_gateway: StripeGateway, settings: Any) -> None:
    """The use case above the port, all the way to the provider."""
    from accounts.services.payment_methods import NewPaymentMethod
    from invoicing.services.payment_methods import attach_payment_method
    from tests.factories.accounts import ACTOR, AT, make_account

    settings.BILLING_PAYMENT_PROVIDER = "stripe"
    account: Account = make_account("acme")
    new = NewPaymentMethod(provider_ref="tok_visa")
    method = attach_payment_method(account=account, new=new, at=AT, actor=ACTOR).method
    assert (method.provider_type, method.card["last4"], method.verified_at) == ("stripe", "4242", AT)
    account.refresh_from_db()
    assert stripe_gateway.fetch_method(method_ref=method.provider_ref).customer_ref == account.provider_customer_id
