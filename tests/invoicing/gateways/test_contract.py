"""What the port promises, kept by every provider."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_site.kernel.money import Money
from invoicing.gateways.orders import CheckoutOrder, PaymentOrder, RefundOrder, SetupOrder
from invoicing.gateways.port import Declined, ObjectUnknown, OrderRejected, Payer, PaymentGateway, TokenRejected

pytestmark = pytest.mark.django_db
_numbers = itertools.count(1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TWENTY = Money(2000, "usd")


class Shop:
    """One account at a provider, with a card."""

    def __init__(self, gateway: PaymentGateway) -> None:
        self.gateway = gateway
        self.account_id = f"acc_{next(_numbers)}"
        self.payer = Payer(account_id=self.account_id, name="Acme", email="pay@acme.example")
        self.customer = gateway.ensure_customer(payer=self.payer, key=f"customer:{self.account_id}")

    def store(self, token: str = "tok_visa") -> str:
        payer = replace(self.payer, customer_ref=self.customer)
        key = f"{self.account_id}:store:{next(_numbers)}"
        return self.gateway.store_method(token=token, type="card", payer=payer, key=key).ref

    def order(self, method: str = "", **values: Any) -> PaymentOrder:
        return PaymentOrder(
            **{
                "reference": f"pi_{next(_numbers)}",
                "account_id": self.account_id,
                "amount": TWENTY,
                "customer_ref": self.customer,
                "method_ref": method,
                **values,
            }
        )


@pytest.fixture
def shop(gateway: PaymentGateway) -> Shop:
    return Shop(gateway)


class TestCustomers:
    def test_a_key_makes_one(self, shop: Shop) -> None:
        again = shop.gateway.ensure_customer(payer=shop.payer, key=f"customer:{shop.account_id}")
        assert again == shop.customer
        state = shop.gateway.fetch_customer(customer_ref=shop.customer)
        assert (state.account_id, state.name, state.email, state.is_deleted) == (
            shop.account_id, "Acme", "pay@acme.example", False,
        )  # fmt: skip

    def test_a_new_name_does_not_make_another(self, shop: Shop) -> None:
        payer = replace(shop.payer, name="Acme & Sons")
        assert shop.gateway.ensure_customer(payer=payer, key=f"customer:{shop.account_id}") == shop.customer

    def test_are_listed(self, shop: Shop) -> None:
        until = datetime.now(UTC) + timedelta(minutes=5)
        assert shop.customer in [each.ref for each in shop.gateway.list_customers(since=LONG_AGO, until=until)]


class TestMethods:
    def test_a_key_stores_one(self, shop: Shop) -> None:
        payer = replace(shop.payer, customer_ref=shop.customer)
        stored = [shop.gateway.store_method(token="tok_visa", type="card", payer=payer, key="k") for _ in range(2)]
        assert stored[0] == stored[1]
        assert (stored[0].card["brand"], stored[0].card["last4"]) == ("visa", "4242")
        shown = shop.gateway.fetch_method(method_ref=stored[0].ref)
        assert (shown.type, shown.card["last4"]) == ("card", "4242")

    def test_what_names_another_type_is_refused(self, shop: Shop) -> None:
        payer = replace(shop.payer, customer_ref=shop.customer)
        with pytest.raises(TokenRejected):
            shop.gateway.store_method(token="pm_card_visa", type="bank_account", payer=payer, key="k")

    def test_a_hold_is_made_and_let_go(self, shop: Shop) -> None:
        held = shop.gateway.authorise(method_ref=shop.store(), amount=Money(100, "usd"), key="k:hold")
        shop.gateway.cancel(authorisation_ref=held, key="k:release")
        shop.gateway.cancel(authorisation_ref=held, key="k:release:again")

    def test_forgetting_twice_is_fine(self, shop: Shop) -> None:
        ref = shop.store()
        shop.gateway.detach_method(method_ref=ref, key="k:1")
        shop.gateway.detach_method(method_ref=ref, key="k:2")


class TestPaying:
    def test_takes_the_money_once_per_key(self, shop: Shop) -> None:
        order = shop.order(shop.store())
        states = [shop.gateway.pay(order=order, key="k") for _ in range(2)]
        assert states[0] == states[1]
        state = states[0]
        assert (state.status, state.amount, state.amount_received) == ("succeeded", TWENTY, 2000)
        assert (state.reference, state.account_id) == (order.reference, shop.account_id)
        assert shop.gateway.fetch_payment(payment_ref=state.ref) == state

    def test_of_an_unknown_payment_nothing_is_told(self, shop: Shop) -> None:
        with pytest.raises(ObjectUnknown):
            shop.gateway.fetch_payment(payment_ref="pi_nothing")

    def test_finds_what_was_made_for_a_row(self, shop: Shop) -> None:
        order = shop.order(shop.store())
        found: Any = {"reference": order.reference, "customer_ref": shop.customer, "since": LONG_AGO}
        assert shop.gateway.find_payment(**found) is None
        state = shop.gateway.pay(order=order, key="k")
        assert shop.gateway.find_payment(**found) == state

    def test_sets_money_aside_and_takes_a_part_of_it(self, shop: Shop) -> None:
        state = shop.gateway.pay(order=shop.order(shop.store(), captures=False), key="k")
        assert (state.status, state.amount_capturable, state.amount_received) == ("requires_capture", 2000, 0)
        with pytest.raises(OrderRejected):
            shop.gateway.capture(payment_ref=state.ref, amount=Money(2001, "usd"), key="k:more")
        taken = shop.gateway.capture(payment_ref=state.ref, amount=Money(1500, "usd"), key="k:capture")
        assert (taken.status, taken.amount_capturable, taken.amount_received) == ("succeeded", 0, 1500)
        assert shop.gateway.capture(payment_ref=state.ref, amount=Money(1500, "usd"), key="k:capture") == taken

    def test_gives_up_what_is_not_taken(self, shop: Shop) -> None:
        held = shop.gateway.pay(order=shop.order(shop.store(), captures=False), key="k")
        assert shop.gateway.cancel_payment(payment_ref=held.ref, key="k:cancel").status == "canceled"
        paid = shop.gateway.pay(order=shop.order(shop.store()), key="k2")
        assert shop.gateway.cancel_payment(payment_ref=paid.ref, key="k2:cancel").status == "succeeded"
        with pytest.raises(ObjectUnknown):
            shop.gateway.cancel_payment(payment_ref="pi_nothing", key="k3")

    def test_without_a_method_waits_for_one(self, shop: Shop) -> None:
        state = shop.gateway.pay(order=shop.order(confirm=False, off_session=False), key="k")
        assert (state.status, bool(state.client_secret)) == ("requires_payment_method", True)
        order = shop.order(shop.store(), payment_ref=state.ref)
        paid = shop.gateway.pay(order=order, key="k:confirm")
        assert (paid.ref, paid.status, paid.amount_received) == (state.ref, "succeeded", 2000)

    def test_by_token_for_once(self, shop: Shop) -> None:
        order = shop.order(token="tok_visa", off_session=False)
        states = [shop.gateway.pay(order=order, key="k") for _ in range(2)]
        assert states[0] == states[1]
        assert states[0].status == "succeeded"

    def test_a_decline_is_a_state_with_a_reason(self, shop: Shop) -> None:
        order = shop.order(token="tok_chargeDeclinedInsufficientFunds", off_session=False)
        states = [shop.gateway.pay(order=order, key="k") for _ in range(2)]
        assert states[0] == states[1]
        declined = states[0]
        assert (declined.status, declined.decline_reason) == ("requires_payment_method", "insufficient_funds")
        assert declined.amount_received == 0
        again = shop.order(shop.store(), payment_ref=declined.ref)
        assert shop.gateway.pay(order=again, key="k:again").status == "succeeded"

    def test_somebody_absent_cannot_authenticate(self, shop: Shop) -> None:
        ref = shop.store(
            "tok_authenticationRequired" if shop.gateway.name == "stripe" else "tok_authentication_required"
        )
        state = shop.gateway.pay(order=shop.order(ref, off_session=True), key="k")
        assert (state.status, state.decline_reason) == ("requires_payment_method", "authentication_required")

    def test_somebody_present_is_asked(self, shop: Shop) -> None:
        ref = shop.store(
            "tok_authenticationRequired" if shop.gateway.name == "stripe" else "tok_authentication_required"
        )
        state = shop.gateway.pay(order=shop.order(ref, off_session=False), key="k")
        assert (state.status, bool(state.client_secret)) == ("requires_action", True)

    def test_are_listed_newest_first_and_within_bounds(self, shop: Shop) -> None:
        method = shop.store()
        refs = [shop.gateway.pay(order=shop.order(method), key=f"k{n}").ref for n in range(3)]
        soon = datetime.now(UTC) + timedelta(minutes=5)
        assert [each.ref for each in shop.gateway.list_payments(since=LONG_AGO, until=soon)] == refs[::-1]
        assert list(shop.gateway.list_payments(since=soon, until=soon + timedelta(days=1))) == []


class TestVerifying:
    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            ("tok_chargeDeclinedInsufficientFunds", "insufficient_funds"),
            ("tok_chargeDeclinedExpiredCard", "expired_card"),
            ("tok_chargeDeclinedLostCard", "lost_card"),
            ("tok_chargeDeclinedStolenCard", "stolen_card"),
            ("tok_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
            ("tok_chargeDeclined", "generic_decline"),
        ],
    )
    def test_a_bad_card_is_declined_at_the_latest_by_the_hold(self, shop: Shop, token: str, reason: str) -> None:
        with pytest.raises(Declined) as refusal:
            shop.gateway.authorise(method_ref=shop.store(token), amount=Money(100, "usd"), key="k:hold")
        assert refusal.value.reason == reason


class TestGivingBack:
    def pay(self, shop: Shop) -> str:
        return shop.gateway.pay(order=shop.order(shop.store()), key=f"k{next(_numbers)}").ref

    def order(self, shop: Shop, payment: str, amount: int = 500) -> RefundOrder:
        return RefundOrder(
            reference=f"re_{next(_numbers)}",
            account_id=shop.account_id,
            payment_ref=payment,
            amount=Money(amount, "usd"),
            reason="requested_by_customer",
        )

    def test_gives_back_once_per_key(self, shop: Shop) -> None:
        payment = self.pay(shop)
        order = self.order(shop, payment)
        states = [shop.gateway.refund(order=order, key="r") for _ in range(2)]
        assert states[0] == states[1]
        state = states[0]
        assert (state.status, state.amount, state.payment_ref) == ("succeeded", Money(500, "usd"), payment)
        assert (state.reference, state.account_id) == (order.reference, shop.account_id)
        assert shop.gateway.fetch_payment(payment_ref=payment).amount_refunded == 500
        assert shop.gateway.fetch_refund(refund_ref=state.ref) == state
        assert shop.gateway.find_refund(reference=order.reference, payment_ref=payment) == state
        assert shop.gateway.find_refund(reference="re_none", payment_ref=payment) is None

    def test_never_more_than_was_paid(self, shop: Shop) -> None:
        payment = self.pay(shop)
        shop.gateway.refund(order=self.order(shop, payment, 1800), key="r1")
        with pytest.raises(OrderRejected):
            shop.gateway.refund(order=self.order(shop, payment, 201), key="r2")
        assert shop.gateway.refund(order=self.order(shop, payment, 200), key="r3").status == "succeeded"

    def test_are_listed(self, shop: Shop) -> None:
        ref = shop.gateway.refund(order=self.order(shop, self.pay(shop)), key="r").ref
        soon = datetime.now(UTC) + timedelta(minutes=5)
        assert [each.ref for each in shop.gateway.list_refunds(since=LONG_AGO, until=soon)] == [ref]

    def test_of_unknown_ones_nothing_is_told(self, shop: Shop) -> None:
        with pytest.raises(ObjectUnknown):
            shop.gateway.fetch_refund(refund_ref="re_nothing")
        with pytest.raises(ObjectUnknown):
            shop.gateway.fetch_dispute(dispute_ref="dp_nothing")


class TestSettingUp:
    def order(self, shop: Shop, **values: Any) -> SetupOrder:
        values = {"reference": "seti_1", "account_id": shop.account_id, "customer_ref": shop.customer, **values}
        return SetupOrder(**values)

    def test_begins_once_per_key_and_saves_the_method(self, shop: Shop) -> None:
        begun = [shop.gateway.set_up(order=self.order(shop), key="s") for _ in range(2)]
        assert begun[0] == begun[1]
        assert (begun[0].status, bool(begun[0].client_secret)) == ("requires_payment_method", True)
        order = self.order(shop, setup_ref=begun[0].ref, method_ref="tok_visa", confirm=True)
        done = shop.gateway.set_up(order=order, key="s:confirm")
        assert (done.status, done.card["last4"], done.reference) == ("succeeded", "4242", "seti_1")
        assert shop.gateway.fetch_setup(setup_ref=done.ref) == done
        paid = shop.gateway.pay(order=shop.order(done.method_ref), key="k")
        assert paid.status == "succeeded"

    def test_a_decline_is_a_state_with_a_reason(self, shop: Shop) -> None:
        begun = shop.gateway.set_up(order=self.order(shop), key="s")
        order = self.order(shop, setup_ref=begun.ref, method_ref="tok_chargeDeclinedLostCard", confirm=True)
        state = shop.gateway.set_up(order=order, key="s:confirm")
        assert (state.status, state.decline_reason) == ("requires_payment_method", "lost_card")

    def test_gives_up(self, shop: Shop) -> None:
        begun = shop.gateway.set_up(order=self.order(shop), key="s")
        assert shop.gateway.cancel_setup(setup_ref=begun.ref, key="s:cancel").status == "canceled"
        with pytest.raises(ObjectUnknown):
            shop.gateway.fetch_setup(setup_ref="seti_nothing")


class TestPages:
    def test_a_checkout_says_whom_and_what_for(self, shop: Shop) -> None:
        order = CheckoutOrder(
            reference="hs_1",
            account_id=shop.account_id,
            customer_ref=shop.customer,
            success_url="https://app.example.com/done",
            cancel_url="https://app.example.com/back",
            currency="usd",
            metadata={"billing_plan_id": "pro"},
        )
        pages = [shop.gateway.open_checkout(order=order, key="c") for _ in range(2)]
        assert pages[0] == pages[1]
        page = pages[0]
        assert (page.status, page.customer_ref, page.account_id) == ("open", shop.customer, shop.account_id)
        assert page.url
        assert page.metadata["billing_plan_id"] == "pro"
        assert shop.gateway.fetch_checkout(checkout_ref=page.ref) == page
