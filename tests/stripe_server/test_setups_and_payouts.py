"""Cards saved for later, disputes, money paid out, usage reported."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.stripe_server.calling import NO_REDIRECTS, Payer, connect
from tests.stripe_server.server import StripeServer


@pytest.fixture
def client(stripe_server: StripeServer) -> stripe.StripeClient:
    return connect(stripe_server)


def last_types(server: StripeServer, count: int) -> list[str]:
    return [event["type"] for event in server.events()[-count:]]


class TestSetups:
    def set_up(self, client: stripe.StripeClient, card: str, **more: Any) -> stripe.SetupIntent:
        form: Any = {
            "customer": client.v1.customers.create().id,
            "payment_method": card,
            "confirm": True,
            "automatic_payment_methods": NO_REDIRECTS,
            "metadata": {"billing_setup_intent_id": "seti_ours"},
            **more,
        }
        return client.v1.setup_intents.create(form)

    def test_keep_a_card_for_later(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = self.set_up(client, "pm_card_visa", expand=["payment_method"])
        assert (intent.status, intent.usage) == ("succeeded", "off_session")
        assert isinstance(intent.payment_method, stripe.PaymentMethod)
        assert intent.payment_method.customer == intent.customer
        assert last_types(stripe_server, 3) == [
            "setup_intent.created",
            "payment_method.attached",
            "setup_intent.succeeded",
        ]
        assert [found.id for found in client.v1.setup_intents.list({"customer": str(intent.customer)})] == [intent.id]
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.setup_intents.cancel(intent.id)
        assert refused.value.code == "setup_intent_unexpected_state"

    def test_are_declined(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        with pytest.raises(stripe.CardError) as refused:
            self.set_up(client, "pm_card_chargeDeclined")
        body: Any = refused.value.json_body
        intent = client.v1.setup_intents.retrieve(body["error"]["setup_intent"]["id"])
        assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
        assert intent.last_setup_error is not None
        assert intent.last_setup_error.decline_code == "generic_decline"
        assert last_types(stripe_server, 1) == ["setup_intent.setup_failed"]
        form: Any = {"payment_method_data": {"type": "card", "card": {"token": "tok_visa"}}}
        assert client.v1.setup_intents.confirm(intent.id, form).status == "succeeded"

    def test_ask_the_customer_once(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = self.set_up(client, "pm_card_authenticationRequiredOnSetup")
        assert intent.status == "requires_action"
        assert stripe_server.authenticate(intent.id)["status"] == "succeeded"
        payer = Payer(client)
        payer.customer, payer.method = str(intent.customer), str(intent.payment_method)
        assert payer.pay().status == "succeeded"
        assert payer.pay(off_session=False).status == "requires_action"

    def test_fail_without_the_customer(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = self.set_up(client, "pm_card_authenticationRequired")
        stripe_server.authenticate(intent.id, succeeds=False)
        failed = client.v1.setup_intents.retrieve(intent.id)
        assert failed.last_setup_error is not None
        assert (failed.status, failed.last_setup_error.code) == (
            "requires_payment_method",
            "setup_intent_authentication_failure",
        )
        assert client.v1.setup_intents.cancel(intent.id, {"cancellation_reason": "abandoned"}).status == "canceled"


class TestDisputes:
    def test_take_the_money_until_they_are_won(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = Payer(client, "pm_card_createDispute").pay(1000)
        assert client.v1.disputes.list().data == []
        stripe_server.settle()
        (dispute,) = client.v1.disputes.list({"payment_intent": intent.id}).data
        assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "fraudulent", 1000)
        assert [(item.amount, item.fee, item.net) for item in dispute.balance_transactions] == [(-1000, 1500, -2500)]
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.refunds.create({"payment_intent": intent.id})
        assert refused.value.code == "charge_disputed"
        draft: Any = {"evidence": {"product_description": "A plan"}, "submit": False}
        assert client.v1.disputes.update(dispute.id, draft).status == "needs_response"
        final: Any = {"evidence": {"uncategorized_text": "winning_evidence"}}
        sent = client.v1.disputes.update(dispute.id, final)
        assert (sent.status, sent.evidence_details.submission_count) == ("under_review", 1)
        assert sent.evidence.product_description == "A plan"
        with pytest.raises(stripe.InvalidRequestError, match="can no longer be changed"):
            client.v1.disputes.update(dispute.id, final)
        stripe_server.settle()
        won = client.v1.disputes.retrieve(dispute.id)
        assert (won.status, [item.net for item in won.balance_transactions]) == ("won", [-2500, 1000])
        assert last_types(stripe_server, 3) == [
            "charge.dispute.updated",
            "charge.dispute.closed",
            "charge.dispute.funds_reinstated",
        ]

    def test_are_given_up_or_lost(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        payer = Payer(client)
        opened = stripe_server.open_dispute(payer.pay(1000).id, reason="duplicate", amount=400)
        assert (opened["amount"], opened["status"]) == (400, "needs_response")
        assert client.v1.disputes.close(opened["id"]).status == "lost"
        with pytest.raises(stripe.InvalidRequestError, match="cannot be closed"):
            client.v1.disputes.close(opened["id"])

    def test_may_begin_as_an_inquiry(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = Payer(client, "pm_card_createDisputeInquiry").pay(1000)
        stripe_server.settle("dispute")
        (inquiry,) = client.v1.disputes.list().data
        assert (inquiry.status, inquiry.is_charge_refundable, inquiry.balance_transactions) == (
            "warning_needs_response",
            True,
            [],
        )
        stripe_server.close_dispute(inquiry.id, "escalate")
        assert client.v1.disputes.retrieve(inquiry.id).status == "needs_response"
        other = stripe_server.open_dispute(Payer(client).pay().id, is_inquiry=True)
        assert client.v1.disputes.close(other["id"]).status == "warning_closed"
        charge = client.v1.charges.retrieve(str(intent.latest_charge))
        assert charge.disputed

    def test_end_with_their_deadline(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        dispute = stripe_server.open_dispute(Payer(client).pay().id)
        stripe_server.clock.advance(seconds=10 * 86400)
        assert client.v1.disputes.retrieve(dispute["id"]).evidence_details.past_due
        late: Any = {"evidence": {"uncategorized_text": "late"}}
        with pytest.raises(stripe.InvalidRequestError, match="deadline"):
            client.v1.disputes.update(dispute["id"], late)


class TestPayouts:
    def test_leave_and_arrive(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        stripe_server.add_funds(5000)
        payout = client.v1.payouts.create({"amount": 3000, "currency": "usd", "metadata": {"billing_payout_id": "po"}})
        assert (payout.status, payout.automatic) == ("pending", False)
        assert client.v1.balance.retrieve().available[0].amount == 2000
        assert stripe_server.settle("payout") == 1
        assert client.v1.payouts.retrieve(payout.id).status == "in_transit"
        with pytest.raises(stripe.InvalidRequestError, match="only be canceled while they are pending"):
            client.v1.payouts.cancel(payout.id)
        stripe_server.settle("payout")
        assert client.v1.payouts.retrieve(payout.id).status == "paid"
        assert last_types(stripe_server, 3) == ["payout.created", "payout.updated", "payout.paid"]
        assert [found.id for found in client.v1.payouts.list({"status": "paid"}).data] == [payout.id]

    def test_are_limited_by_the_balance(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        Payer(client).pay(5000)  # not available for two days
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.payouts.create({"amount": 100, "currency": "usd"})
        assert refused.value.code == "balance_insufficient"
        stripe_server.clock.advance(seconds=2 * 86400)
        payout = client.v1.payouts.create({"amount": 100, "currency": "usd"})
        assert client.v1.payouts.cancel(payout.id).status == "canceled"
        assert client.v1.balance.retrieve().available[0].amount == 4825  # 50.00 - 1.75 of fees

    def test_come_back_from_some_banks(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        stripe_server.add_funds(5000)
        form: Any = {"amount": 3000, "currency": "usd", "destination": "ba_1SandboxNoAccount"}
        payout = client.v1.payouts.create(form)
        stripe_server.settle()
        stripe_server.settle()
        failed = client.v1.payouts.retrieve(payout.id, {"expand": ["destination"]})
        assert (failed.status, failed.failure_code) == ("failed", "no_account")
        assert isinstance(failed.destination, stripe.BankAccount)
        assert client.v1.balance.retrieve().available[0].amount == 5000
        form["destination"] = "ba_unknown"
        with pytest.raises(stripe.InvalidRequestError, match="No such external account"):
            client.v1.payouts.create(form)


class TestAccounts:
    def test_are_one(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        own = client.v1.accounts.retrieve_current()
        assert client.v1.accounts.retrieve(own.id).id == own.id
        assert client.v1.accounts.list().data == []
        assert len(client.v1.accounts.external_accounts.list(own.id).data) == 3
        with pytest.raises(stripe.PermissionError, match="does not have access"):
            client.v1.accounts.retrieve("acct_other")
        with pytest.raises(stripe.PermissionError, match="does not have access"):
            client.v1.customers.list(options={"stripe_account": "acct_other"})
        assert client.v1.customers.list(options={"stripe_account": own.id}).data == []


class TestMeterEvents:
    def report(self, client: stripe.StripeClient, customer: str, **more: Any) -> stripe.billing.MeterEvent:
        payload = {"stripe_customer_id": customer, "value": "25"}
        form: Any = {"event_name": "tokens", "payload": payload, "identifier": "u1", **more}
        return client.v1.billing.meter_events.create(form)

    def test_count_once(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        customer = client.v1.customers.create().id
        with pytest.raises(stripe.InvalidRequestError, match="No active meter"):
            self.report(client, customer)
        meter = client.v1.billing.meters.create(
            {"display_name": "T", "event_name": "tokens", "default_aggregation": {"formula": "sum"}}
        )
        assert self.report(client, customer).identifier == "u1"
        with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier u1"):
            self.report(client, customer)
        self.report(client, customer, identifier="u2")
        now = stripe_server.clock.now()
        window: Any = {"customer": customer, "start_time": now - 3600, "end_time": now + 3600}
        (summary,) = client.v1.billing.meters.event_summaries.list(meter.id, window).data
        assert summary.aggregated_value == 50

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"timestamp": 1}, "timestamp_too_far_in_past"),
            ({"payload": {"value": "1"}}, "meter_event_no_customer_defined"),
            ({"payload": {"stripe_customer_id": "cus_none", "value": "1"}}, "resource_missing"),
        ],
    )
    def test_are_refused(self, client: stripe.StripeClient, change: dict[str, Any], code: str) -> None:
        client.v1.billing.meters.create(
            {"display_name": "T", "event_name": "tokens", "default_aggregation": {"formula": "sum"}}
        )
        with pytest.raises(stripe.InvalidRequestError) as refused:
            self.report(client, client.v1.customers.create().id, **change)
        assert refused.value.code == code
