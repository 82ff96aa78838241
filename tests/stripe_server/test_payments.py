"""Customers, their cards, and what is paid with them, as Stripe's own library sees it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import stripe

from tests.stripe_server.calling import NO_REDIRECTS, Payer, connect, wait_until
from tests.stripe_server.server import StripeServer


@pytest.fixture
def client(stripe_server: StripeServer) -> stripe.StripeClient:
    return connect(stripe_server)


@pytest.fixture
def payer(client: stripe.StripeClient) -> Payer:
    return Payer(client)


def types_of(server: StripeServer) -> list[str]:
    return [event["type"] for event in server.events()]


def body_of(error: stripe.StripeError) -> dict[str, Any]:
    body: Any = error.json_body
    assert isinstance(body["error"], dict)
    return body["error"]


def intent_of(error: stripe.StripeError) -> dict[str, Any]:
    intent: dict[str, Any] = body_of(error)["payment_intent"]
    return intent


class TestCustomers:
    def test_are_made_changed_found_and_deleted(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        made = client.v1.customers.create({"email": "a@example.com", "metadata": {"billing_account_id": "acc_1"}})
        client.v1.customers.update(made.id, {"name": "Ada", "address": {"country": "GB"}})
        found = client.v1.customers.search({"query": "metadata['billing_account_id']:'acc_1'"})
        assert [(customer.id, customer.name) for customer in found.data] == [(made.id, "Ada")]
        assert [customer.id for customer in client.v1.customers.list({"email": "a@example.com"}).data] == [made.id]
        assert client.v1.customers.delete(made.id).deleted
        assert client.v1.customers.retrieve(made.id).deleted
        assert client.v1.customers.list().data == []
        with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
            client.v1.customers.update(made.id, {"name": "B"})
        assert types_of(stripe_server) == ["customer.created", "customer.updated", "customer.deleted"]
        assert stripe_server.events()[1]["data"]["previous_attributes"] == {"address": None, "name": None}


class TestPaymentMethods:
    def test_are_made_of_tokens_attached_listed_and_detached(self, client: stripe.StripeClient) -> None:
        customer = client.v1.customers.create()
        form: Any = {"type": "card", "card": {"token": "tok_mastercard"}, "billing_details": {"name": "Ada"}}
        method = client.v1.payment_methods.create(form)
        assert method.card is not None
        assert (method.card.brand, method.card.last4, method.customer) == ("mastercard", "4444", None)
        client.v1.payment_methods.attach(method.id, {"customer": customer.id})
        assert [found.id for found in client.v1.customers.payment_methods.list(customer.id).data] == [method.id]
        default: Any = {"invoice_settings": {"default_payment_method": method.id}}
        client.v1.customers.update(customer.id, default)
        client.v1.payment_methods.detach(method.id)
        settings = client.v1.customers.retrieve(customer.id).invoice_settings
        assert settings is not None
        assert settings.default_payment_method is None
        assert client.v1.payment_methods.list({"customer": customer.id, "type": "card"}).data == []
        with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
            client.v1.payment_methods.attach(method.id, {"customer": customer.id})

    def test_of_another_customer_are_refused(self, client: stripe.StripeClient, payer: Payer) -> None:
        other = client.v1.customers.create()
        with pytest.raises(stripe.InvalidRequestError, match="already been attached"):
            client.v1.payment_methods.attach(payer.method, {"customer": other.id})
        with pytest.raises(stripe.InvalidRequestError, match="must be attached to the customer"):
            payer.pay(customer=other.id)

    @pytest.mark.parametrize(
        ("name", "code", "decline"),
        [
            ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
            ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
            ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
            ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
            ("pm_card_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
            ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ],
    )
    def test_that_are_declined_cannot_be_attached(
        self, client: stripe.StripeClient, name: str, code: str, decline: str
    ) -> None:
        customer = client.v1.customers.create()
        with pytest.raises(stripe.CardError) as refused:
            client.v1.payment_methods.attach(name, {"customer": customer.id})
        assert refused.value.http_status == 402
        assert refused.value.code == code
        assert body_of(refused.value)["decline_code"] == decline
        assert client.v1.customers.payment_methods.list(customer.id).data == []

    def test_are_never_made_of_numbers(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        form: Any = {"type": "card", "card": {"number": "4242 4242", "exp_month": 1, "exp_year": 2030}}
        with pytest.raises(stripe.StripeError, match="generally unsafe"):
            client.v1.payment_methods.create(form)
        assert stripe_server.objects("payment_method") == []


class TestPaying:
    def test_books_a_charge_with_its_fee(self, payer: Payer, stripe_server: StripeServer) -> None:
        intent = payer.pay(2000, metadata={"billing_payment_intent_id": "pi_ours"})
        assert (intent.status, intent.amount_received) == ("succeeded", 2000)
        charge = payer.client.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["balance_transaction"]})
        assert (charge.paid, charge.captured, charge.amount_captured) == (True, True, 2000)
        assert charge.to_dict()["metadata"] == {"billing_payment_intent_id": "pi_ours"}
        movement = charge.balance_transaction
        assert isinstance(movement, stripe.BalanceTransaction)
        assert (movement.amount, movement.fee, movement.net) == (2000, 88, 1912)  # 2.9 % of 20.00 + 0.30
        balance = payer.client.v1.balance.retrieve()
        assert [(pot.currency, pot.amount) for pot in balance.pending] == [("usd", 1912)]
        stripe_server.clock.advance(seconds=2 * 86400)
        assert payer.client.v1.balance.retrieve().available[0].amount == 1912
        assert types_of(stripe_server)[-3:] == [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
        ]

    def test_is_declined_and_can_be_tried_again(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        payer = Payer(client, "pm_card_chargeCustomerFail")
        with pytest.raises(stripe.CardError) as refused:
            payer.pay()
        error = refused.value
        assert (error.http_status, error.code) == (402, "card_declined")
        intent = client.v1.payment_intents.retrieve(intent_of(error)["id"])
        assert (intent.status, intent.payment_method, intent.amount_received) == ("requires_payment_method", None, 0)
        assert intent.last_payment_error is not None
        assert intent.last_payment_error.decline_code == "generic_decline"
        assert client.v1.charges.retrieve(str(intent.latest_charge)).status == "failed"
        assert types_of(stripe_server)[-2:] == ["charge.failed", "payment_intent.payment_failed"]
        good = client.v1.payment_methods.attach("pm_card_visa", {"customer": payer.customer})
        paid = client.v1.payment_intents.confirm(intent.id, {"payment_method": good.id})
        assert (paid.status, paid.last_payment_error) == ("succeeded", None)

    def test_needs_the_customer_where_the_bank_says_so(
        self, client: stripe.StripeClient, stripe_server: StripeServer
    ) -> None:
        payer = Payer(client, "pm_card_authenticationRequired")
        with pytest.raises(stripe.CardError) as refused:
            payer.pay()
        assert refused.value.code == "authentication_required"
        assert intent_of(refused.value)["status"] == "requires_payment_method"
        asked = client.v1.payment_intents.confirm(
            intent_of(refused.value)["id"], {"payment_method": payer.method, "return_url": "https://shop.example/back"}
        )
        assert (asked.status, asked.next_action and asked.next_action.type) == ("requires_action", "redirect_to_url")
        assert stripe_server.authenticate(asked.id)["status"] == "succeeded"
        assert types_of(stripe_server)[-1] == "payment_intent.succeeded"

    def test_fails_when_the_customer_does_not_prove_to_be_there(
        self, client: stripe.StripeClient, stripe_server: StripeServer
    ) -> None:
        asked = Payer(client, "pm_card_authenticationRequired").pay(off_session=False)
        assert asked.status == "requires_action"
        stripe_server.authenticate(asked.id, succeeds=False)
        failed = client.v1.payment_intents.retrieve(asked.id)
        assert failed.status == "requires_payment_method"
        assert failed.last_payment_error is not None
        assert failed.last_payment_error.code == "payment_intent_authentication_failure"

    def test_of_what_is_held_takes_a_part_once(self, payer: Payer) -> None:
        held = payer.pay(1000, capture_method="manual")
        assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 1000, 0)
        intents = payer.client.v1.payment_intents
        with pytest.raises(stripe.InvalidRequestError) as refused:
            intents.capture(held.id, {"amount_to_capture": 1001})
        assert refused.value.code == "amount_too_large"
        taken = intents.capture(held.id, {"amount_to_capture": 700})
        assert (taken.status, taken.amount_received, taken.amount_capturable) == ("succeeded", 700, 0)
        charge = payer.client.v1.charges.retrieve(str(taken.latest_charge))
        assert (charge.amount, charge.amount_captured, charge.amount_refunded) == (1000, 700, 300)
        with pytest.raises(stripe.InvalidRequestError) as refused:
            intents.capture(held.id)
        assert refused.value.code == "payment_intent_unexpected_state"

    def test_of_what_is_held_lapses_after_a_week(self, payer: Payer, stripe_server: StripeServer) -> None:
        held, taken = payer.pay(capture_method="manual"), payer.pay(capture_method="manual")
        payer.client.v1.payment_intents.capture(taken.id)
        stripe_server.settle()
        assert payer.client.v1.payment_intents.retrieve(held.id).status == "requires_capture"
        stripe_server.pass_time(days=7)
        lapsed = payer.client.v1.payment_intents.retrieve(held.id)
        assert (lapsed.status, lapsed.cancellation_reason, lapsed.amount_capturable) == ("canceled", "automatic", 0)
        assert types_of(stripe_server)[-2:] == ["charge.expired", "payment_intent.canceled"]
        assert payer.client.v1.payment_intents.retrieve(taken.id).status == "succeeded"

    def test_can_be_given_up_until_it_is_done(self, payer: Payer) -> None:
        intents = payer.client.v1.payment_intents
        held = payer.pay(1000, capture_method="manual")
        gone = intents.cancel(held.id, {"cancellation_reason": "duplicate"})
        assert (gone.status, gone.cancellation_reason, gone.amount_capturable) == ("canceled", "duplicate", 0)
        assert payer.client.v1.charges.retrieve(str(held.latest_charge)).refunded
        paid = payer.pay()
        with pytest.raises(stripe.InvalidRequestError) as refused:
            intents.cancel(paid.id)
        assert refused.value.code == "payment_intent_unexpected_state"
        assert intent_of(refused.value)["status"] == "succeeded"
        with pytest.raises(stripe.InvalidRequestError, match="already succeeded"):
            intents.confirm(paid.id)

    @pytest.mark.parametrize(
        ("change", "code", "message"),
        [
            ({"amount": 49}, "amount_too_small", r"at least \$0.50 usd"),
            ({"amount": 49, "currency": "jpy"}, "amount_too_small", "at least 50 jpy"),
            ({"amount": 100_000_000}, "amount_too_large", "no more than"),
            ({"amount": 1005, "currency": "kwd"}, "parameter_invalid_integer", "divisible by 10"),
            ({"amount": 1050, "currency": "isk"}, "parameter_invalid_integer", "divisible by 100"),
            ({"automatic_payment_methods": {"enabled": True}}, None, "must provide a `return_url`"),
            ({"confirm": False}, None, "when `confirm` is `true`"),
            ({"setup_future_usage": "off_session"}, None, "not there"),
            ({"payment_method": "pm_unknown"}, "resource_missing", "No such PaymentMethod"),
            ({"amount": 0}, "parameter_invalid_integer", "greater than or equal to 1"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, payer: Payer, stripe_server: StripeServer, change: dict[str, Any], code: str | None, message: str
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError, match=message) as refused:
            payer.pay(**change)
        assert refused.value.code == code
        assert stripe_server.objects("payment_intent") == []

    def test_uses_up_a_card_that_nobody_keeps(self, client: stripe.StripeClient) -> None:
        customer = client.v1.customers.create().id
        form: Any = {
            "amount": 100,
            "currency": "eur",
            "customer": customer,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": NO_REDIRECTS,
        }
        used = client.v1.payment_intents.create(form)
        with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
            client.v1.payment_methods.attach(str(used.payment_method), {"customer": customer})
        form["setup_future_usage"] = "off_session"
        kept = client.v1.payment_intents.create(form)
        assert [item.id for item in client.v1.customers.payment_methods.list(customer).data] == [kept.payment_method]

    def test_can_be_searched_and_listed(self, payer: Payer, stripe_server: StripeServer) -> None:
        first = payer.pay(100, metadata={"order": "1"})
        second = payer.pay(200, metadata={"order": "2"})
        other = Payer(payer.client).pay(300, metadata={"order": "2"})
        intents = payer.client.v1.payment_intents
        found = intents.search({"query": f"metadata['order']:'2' AND customer:'{payer.customer}'"})
        assert [intent.id for intent in found.data] == [second.id]
        found = intents.search({"query": "amount>100 AND status:'succeeded'", "limit": 1})
        assert [intent.id for intent in found.auto_paging_iter()] == [other.id, second.id]
        assert [intent.id for intent in intents.list({"customer": payer.customer}).data] == [second.id, first.id]
        created = first.created
        assert intents.list({"created": {"lt": created}}).data == []
        stripe_server.store().search_lag = 60
        assert intents.search({"query": "amount>100"}).data == []
        with pytest.raises(stripe.InvalidRequestError, match="unsupported search field"):
            intents.search({"query": "colour:'red'"})


class TestRefunds:
    def test_give_back_what_was_taken_and_no_more(self, payer: Payer, stripe_server: StripeServer) -> None:
        intent = payer.pay(1000)
        refunds = payer.client.v1.refunds
        first = refunds.create({"payment_intent": intent.id, "amount": 400, "reason": "duplicate"})
        assert (first.status, first.amount, first.charge) == ("succeeded", 400, intent.latest_charge)
        with pytest.raises(stripe.InvalidRequestError, match=r"\$7.00 usd\) is greater than unrefunded.*\$6.00") as big:
            refunds.create({"payment_intent": intent.id, "amount": 700})
        assert big.value.param == "amount"
        assert refunds.create({"charge": str(intent.latest_charge)}).amount == 600
        with pytest.raises(stripe.InvalidRequestError) as done:
            refunds.create({"payment_intent": intent.id, "amount": 1})
        assert done.value.code == "charge_already_refunded"
        charge = payer.client.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["refunds"]})
        assert (charge.refunded, charge.amount_refunded) == (True, 1000)
        assert charge.refunds is not None
        assert [refund.amount for refund in charge.refunds.data] == [600, 400]
        assert [refund.amount for refund in refunds.list({"payment_intent": intent.id}).data] == [600, 400]
        assert payer.client.v1.balance.retrieve().pending[0].amount == 941  # 1000 - 59 of fees, which stay
        assert payer.client.v1.balance.retrieve().available[0].amount == -1000
        assert types_of(stripe_server)[-4:] == ["refund.created", "charge.refunded"] * 2

    def test_of_a_part_that_was_captured(self, payer: Payer) -> None:
        held = payer.pay(1000, capture_method="manual")
        with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
            payer.client.v1.refunds.create({"payment_intent": held.id})
        payer.client.v1.payment_intents.capture(held.id, {"amount_to_capture": 700})
        with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
            payer.client.v1.refunds.create({"payment_intent": held.id, "amount": 701})
        assert payer.client.v1.refunds.create({"payment_intent": held.id}).amount == 700

    def test_arrive_later(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = Payer(client, "pm_card_pendingRefund").pay()
        refund = client.v1.refunds.create({"payment_intent": intent.id})
        assert refund.status == "pending"
        assert stripe_server.settle() == 1
        assert client.v1.refunds.retrieve(refund.id).status == "succeeded"
        assert types_of(stripe_server)[-2:] == ["refund.updated", "charge.refund.updated"]

    def test_come_back(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        intent = Payer(client, "pm_card_refundFail").pay(1000)
        refund = client.v1.refunds.create({"payment_intent": intent.id})
        assert refund.status == "succeeded"
        stripe_server.settle()
        failed = client.v1.refunds.retrieve(refund.id)
        assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
        charge = client.v1.charges.retrieve(str(intent.latest_charge))
        assert (charge.refunded, charge.amount_refunded) == (False, 0)
        assert client.v1.balance.retrieve().available[0].amount == 0
        assert "refund.failed" in types_of(stripe_server)


class TestDoors:
    def test_decline_what_a_card_would_pay(self, payer: Payer, stripe_server: StripeServer) -> None:
        stripe_server.decline_next("insufficient_funds", times=2)
        for _ in range(2):
            with pytest.raises(stripe.CardError) as refused:
                payer.pay()
            assert body_of(refused.value)["decline_code"] == "insufficient_funds"
        assert payer.pay().status == "succeeded"
        stripe_server.change_card(payer.method, decline_code="expired_card")
        for _ in range(2):
            with pytest.raises(stripe.CardError):
                payer.pay()
        stripe_server.change_card(payer.method)
        assert payer.pay().status == "succeeded"

    def test_let_fees_come_late(self, payer: Payer, stripe_server: StripeServer) -> None:
        stripe_server.store().fees_come_late = True
        charge = payer.client.v1.charges.retrieve(str(payer.pay().latest_charge))
        assert charge.balance_transaction is None
        stripe_server.settle("fee")
        assert payer.client.v1.charges.retrieve(charge.id).balance_transaction is not None
        assert types_of(stripe_server)[-1] == "charge.updated"


class TestIdempotency:
    def test_charges_once_whatever_happens_to_the_answer(self, stripe_server: StripeServer) -> None:
        payer = Payer(connect(stripe_server, retries=2))
        stripe_server.drop_next(method="POST", path="/v1/payment_intents", moment="after")
        intent = payer.pay(key="invoice:1:1")
        assert [found["id"] for found in stripe_server.objects("payment_intent")] == [intent.id]
        assert payer.pay(key="invoice:1:1").id == intent.id
        assert len(stripe_server.objects("charge")) == 1

    def test_keeps_a_charge_whose_answer_was_lost(self, payer: Payer, stripe_server: StripeServer) -> None:
        stripe_server.drop_next(method="POST", path="/v1/payment_intents", moment="after")
        with pytest.raises(stripe.APIConnectionError):
            payer.pay(key="invoice:1:1", metadata={"billing_payment_intent_id": "pi_ours"})
        query = "metadata['billing_payment_intent_id']:'pi_ours'"
        (found,) = payer.client.v1.payment_intents.search({"query": query}).data
        assert found.status == "succeeded"
        assert payer.pay(key="invoice:1:1", metadata={"billing_payment_intent_id": "pi_ours"}).id == found.id

    def test_remembers_a_decline(self, payer: Payer, stripe_server: StripeServer) -> None:
        stripe_server.decline_next("insufficient_funds")
        declines = []
        for _ in range(2):
            with pytest.raises(stripe.CardError) as refused:
                payer.pay(key="invoice:1:1")
            declines.append(intent_of(refused.value)["id"])
        assert declines[0] == declines[1]
        assert len(stripe_server.objects("charge")) == 1
        with pytest.raises(stripe.IdempotencyError):
            payer.pay(2001, key="invoice:1:1")

    def test_lets_one_of_many_at_once_through(self, stripe_server: StripeServer) -> None:
        payer = Payer(connect(stripe_server))
        stripe_server.delay_next(0.3, method="POST", path="/v1/payment_intents")
        outcomes: list[str] = []

        def pay() -> None:
            try:
                outcomes.append(payer.pay(key="k").id)
            except stripe.StripeError as error:
                outcomes.append(body_of(error)["code"])

        slow = threading.Thread(target=pay)
        slow.start()
        wait_until(lambda: len(stripe_server.writes) == 3)  # the customer, the card and this payment
        pay()
        slow.join()
        (intent,) = stripe_server.objects("payment_intent")
        assert outcomes == ["idempotency_key_in_use", intent["id"]]


class TestManyAtOnce:
    def test_refund_no_more_than_was_taken(self, stripe_server: StripeServer) -> None:
        payer = Payer(connect(stripe_server))
        intent = payer.pay(1000)
        outcomes: list[str] = []

        def give_back() -> None:
            client = connect(stripe_server)
            for _ in range(5):
                try:
                    outcomes.append(client.v1.refunds.create({"payment_intent": intent.id, "amount": 100}).status or "")
                except stripe.InvalidRequestError as error:
                    outcomes.append(str(error.code))

        threads = [threading.Thread(target=give_back) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["charge_already_refunded"] * 10 + ["succeeded"] * 10
        assert sum(refund["amount"] for refund in stripe_server.objects("refund")) == 1000


class TestOtherModes:
    def test_have_other_objects(self, payer: Payer, stripe_server: StripeServer) -> None:
        intent = payer.pay()
        live = connect(stripe_server, stripe_server.live_key)
        with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent"):
            live.v1.payment_intents.retrieve(intent.id)
        assert stripe_server.events(livemode=True) == []
