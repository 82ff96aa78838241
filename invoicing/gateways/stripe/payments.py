"""Payments: made, captured, canceled, looked up. A decline is a state of a payment, not an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways.orders import PaymentOrder, PaymentState, ProviderStatus
from invoicing.gateways.port import ObjectUnknown, OrderRejected
from invoicing.gateways.stripe.client import Answer, CardRefused, StripeCaller
from invoicing.gateways.stripe.declines import read_reason
from invoicing.gateways.stripe.money import from_provider, read_fee, to_provider
from invoicing.gateways.stripe.reading import (
    ACCOUNT,
    PAYMENT,
    name_ours,
    read_id,
    read_instant,
    read_metadata,
    read_object,
)

EXPAND: Final = ["latest_charge.balance_transaction"]
_WRONG_STATE: Final = "payment_intent_unexpected_state"
# A payment that our row asked for may be older, by Stripe's clock, than the call by ours.
_SKEW: Final = timedelta(hours=1)
# Without somebody in a browser nothing can be redirected.
_HERE: Final = {"enabled": True, "allow_redirects": "never"}


class Payments(StripeCaller):
    """See the port."""

    def pay(self, *, order: PaymentOrder, key: str) -> PaymentState:
        try:
            answer = self._pay_again(order, key) if order.payment_ref else self._pay(order, key)
        except CardRefused as refusal:
            answer = dict(read_object(refusal.error.get("payment_intent")))
            if not answer:
                # The card was refused before there was a payment.
                return PaymentState(
                    ref=order.payment_ref,
                    status=ProviderStatus.REQUIRES_PAYMENT_METHOD,
                    amount=order.amount,
                    decline_reason=read_reason(refusal.error),
                    reference=order.reference,
                    account_id=order.account_id,
                )
            if not read_object(answer.get("last_payment_error")):
                answer = answer | {"last_payment_error": refusal.error}
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        return read_payment(answer)

    def capture(self, *, payment_ref: str, amount: Money, key: str) -> PaymentState:
        params = {"amount_to_capture": to_provider(amount), "expand": EXPAND}
        try:
            return read_payment(self.write(self.api.payment_intents.capture, payment_ref, key=key, params=params))
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        except (OrderRejected, CardRefused) as refusal:
            state = self.fetch_payment(payment_ref=payment_ref)
            if state.status == ProviderStatus.REQUIRES_CAPTURE:
                raise OrderRejected(getattr(refusal, "code", "capture_refused"), str(refusal)) from None
            return state

    def cancel_payment(self, *, payment_ref: str, key: str) -> PaymentState:
        try:
            answer = self.write(self.api.payment_intents.cancel, payment_ref, key=key, params={"expand": EXPAND})
        except (OrderRejected, CardRefused):
            return self.fetch_payment(payment_ref=payment_ref)
        return read_payment(answer)

    def fetch_payment(self, *, payment_ref: str) -> PaymentState:
        return read_payment(self.read(self.api.payment_intents.retrieve, payment_ref, params={"expand": EXPAND}))

    def find_payment(self, *, reference: str, customer_ref: str, since: datetime) -> PaymentState | None:
        # Not Stripe's search: it knows a new payment only after a minute.
        params: Answer = {
            "created": {"gte": int((since - _SKEW).timestamp())},
            "expand": [f"data.{path}" for path in EXPAND],
        }
        if customer_ref:
            params["customer"] = customer_ref
        for answer in self.each(self.api.payment_intents.list, params=params):
            if read_metadata(answer).get(PAYMENT) == reference:
                return read_payment(answer)
        return None

    def list_payments(self, *, since: datetime, until: datetime) -> Iterator[PaymentState]:
        expand = [f"data.{path}" for path in EXPAND]
        for answer in self.each_made(self.api.payment_intents.list, since=since, until=until, expand=expand):
            yield read_payment(answer)

    def _pay(self, order: PaymentOrder, key: str) -> Answer:
        params: Answer = {
            "amount": to_provider(order.amount),
            "currency": order.amount.currency,
            "capture_method": "automatic" if order.captures else "manual",
            "automatic_payment_methods": _HERE,
            "metadata": name_ours({ACCOUNT: order.account_id, PAYMENT: order.reference}, order.metadata),
            "expand": EXPAND,
        }
        optional = {
            "customer": order.customer_ref,
            "description": order.description,
            "receipt_email": order.receipt_email,
            "setup_future_usage": order.setup_future_usage,
        }
        params |= {name: value for name, value in optional.items() if value} | self._name_method(order, key)
        if order.confirm and (order.method_ref or order.token):
            params["confirm"] = True
            if order.off_session:
                params["off_session"] = True
                params.pop("setup_future_usage", None)  # it is for payments with somebody there
        return self.write(self.api.payment_intents.create, key=key, params=params)

    def _pay_again(self, order: PaymentOrder, key: str) -> Answer:
        params: Answer = {"expand": EXPAND, **self._name_method(order, key)}
        if order.off_session:
            params["off_session"] = True
        try:
            return self.write(self.api.payment_intents.confirm, order.payment_ref, key=key, params=params)
        except OrderRejected as refusal:
            if refusal.code != _WRONG_STATE:
                raise
        # It went on meanwhile: where it stands is the answer.
        return self.read(self.api.payment_intents.retrieve, order.payment_ref, params={"expand": EXPAND})

    def _name_method(self, order: PaymentOrder, key: str) -> Answer:
        """Return what a payment is taken from: a stored method, a method for once, or a token that becomes one."""
        ref = order.method_ref or self.name_token(order.token, key=key)
        return {"payment_method": ref} if ref else {}


def read_payment(answer: Mapping[str, Any]) -> PaymentState:
    """Return a PaymentIntent in our words."""
    currency = str(answer["currency"])
    charge = read_object(answer.get("latest_charge"))
    taken = read_object(charge.get("balance_transaction"))
    fee = read_fee(int(taken["fee"]), str(taken["currency"])) if taken else None
    error = read_object(answer.get("last_payment_error"))
    status = str(answer["status"])
    was_refused = bool(error) and status == ProviderStatus.REQUIRES_PAYMENT_METHOD
    metadata = read_metadata(answer)

    def amount(value: Any) -> int:
        return from_provider(int(value or 0), currency).amount

    return PaymentState(
        ref=str(answer["id"]),
        status=status,
        amount=from_provider(int(answer["amount"]), currency),
        amount_capturable=amount(answer.get("amount_capturable")),
        amount_received=amount(answer.get("amount_received")),
        amount_refunded=amount(charge.get("amount_refunded")),
        fee=fee.amount if fee else 0,
        fee_currency=fee.currency if fee else "",
        decline_reason=str(read_reason(error)) if was_refused else "",
        client_secret=str(answer.get("client_secret") or ""),
        customer_ref=read_id(answer.get("customer")),
        method_ref=read_id(answer.get("payment_method")) or read_id(error.get("payment_method")),
        charge_ref=read_id(answer.get("latest_charge")),
        reference=metadata.get(PAYMENT, ""),
        account_id=metadata.get(ACCOUNT, ""),
        created_at=read_instant(answer.get("created")),
        metadata=metadata,
    )
