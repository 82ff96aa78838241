"""Customers and their methods: kept for later payments, verified by a hold, forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways.orders import CustomerState, MethodState
from invoicing.gateways.port import (
    Declined,
    ObjectUnknown,
    OrderRejected,
    Payer,
    ProviderUnavailable,
    StoredMethod,
    TokenRejected,
)
from invoicing.gateways.stripe.client import CardRefused, StripeCaller
from invoicing.gateways.stripe.declines import read_reason
from invoicing.gateways.stripe.money import to_provider
from invoicing.gateways.stripe.reading import (
    ACCOUNT,
    name_ours,
    read_bank_account,
    read_card,
    read_id,
    read_instant,
    read_metadata,
    read_type,
)

_TOO_SMALL: Final = "amount_too_small"
_SETUP_PREFIX: Final = "seti_"


class Methods(StripeCaller):
    """See the port."""

    def ensure_customer(self, *, payer: Payer, key: str) -> str:
        # Who it is goes into the first call, what they are called into a second one: a key stands for one request, and
        # a name may change between a call that was not answered and its repeat.
        metadata = name_ours({ACCOUNT: payer.account_id}, {})
        try:
            made = self.write(self.api.customers.create, key=key, params={"metadata": metadata})
            ref = read_id(made)
            shown = {"name": payer.name, "email": payer.email}
            if params := {name: value for name, value in shown.items() if value}:
                self.write(self.api.customers.update, ref, key=f"{key}:{_digest(params)}", params=params)
        except (OrderRejected, CardRefused, ObjectUnknown) as refusal:
            raise ProviderUnavailable(f"Stripe made no customer: {refusal}") from None
        return ref

    def fetch_customer(self, *, customer_ref: str) -> CustomerState:
        return read_customer(self.read(self.api.customers.retrieve, customer_ref))

    def list_customers(self, *, since: datetime, until: datetime) -> Iterator[CustomerState]:
        for answer in self.each_made(self.api.customers.list, since=since, until=until):
            yield read_customer(answer)

    def fetch_method(self, *, method_ref: str) -> MethodState:
        return read_method(self.read(self.api.payment_methods.retrieve, method_ref))

    def store_method(self, *, token: str, type: str, payer: Payer, key: str) -> StoredMethod:
        if not payer.customer_ref:
            raise ValueError("Stripe keeps methods with a customer; make one first")
        try:
            if not token.startswith(("tok_", "pm_")):
                raise TokenRejected("Stripe's tokens begin with tok_ or pm_.")
            return self._attach(self.name_token(token, key=key), type, payer.customer_ref, key)
        except CardRefused as refusal:
            raise Declined(read_reason(refusal.error)) from None
        except (OrderRejected, ObjectUnknown) as refusal:
            raise TokenRejected(str(refusal)) from None

    def _attach(self, ref: str, type: str, customer_ref: str, key: str) -> StoredMethod:
        """Attach a method; one that is attached to this customer already is fine."""
        try:
            attached = self.write(self.api.payment_methods.attach, ref, key=key, params={"customer": customer_ref})
            found = read_method(attached)  # a test method such as pm_card_visa gets a name of its own
        except OrderRejected:
            found = self.fetch_method(method_ref=ref)
            if found.customer_ref != customer_ref:
                raise
        if found.type != type:
            self.detach_method(method_ref=found.ref, key=f"{key}:detach")
            raise TokenRejected(f"This token names a {found.type.replace('_', ' ')}.")
        return StoredMethod(ref=found.ref, card=found.card, bank_account=found.bank_account)

    def detach_method(self, *, method_ref: str, key: str) -> None:
        try:
            self.write(self.api.payment_methods.detach, method_ref, key=key)
        except (ObjectUnknown, CardRefused):
            return
        except OrderRejected as refusal:
            if self._is_attached(method_ref):
                raise ProviderUnavailable(f"Stripe did not detach the method: {refusal}") from None

    def _is_attached(self, method_ref: str) -> bool:
        try:
            return bool(self.fetch_method(method_ref=method_ref).customer_ref)
        except ObjectUnknown:
            return False

    def authorise(self, *, method_ref: str, amount: Money, key: str) -> str:
        try:
            customer_ref = self.fetch_method(method_ref=method_ref).customer_ref
            try:
                return self._hold(method_ref, customer_ref, amount, key)
            except OrderRejected as refusal:
                if refusal.code not in (_TOO_SMALL, "amount_not_expressible", "currency_unsupported"):
                    raise
            # An amount below what Stripe charges in this currency: a setup asks the bank for nothing but its word.
            return self._verify(method_ref, customer_ref, f"{key}:setup")
        except CardRefused as refusal:
            raise Declined(read_reason(refusal.error)) from None
        except ObjectUnknown as error:
            raise Declined("unknown") from error
        except OrderRejected as refusal:
            raise ProviderUnavailable(f"Stripe did not verify the method: {refusal}") from None

    def _hold(self, method_ref: str, customer_ref: str, amount: Money, key: str) -> str:
        params = {
            "amount": to_provider(amount),
            "currency": amount.currency,
            "capture_method": "manual",
            "confirm": True,
            "off_session": True,
            "payment_method": method_ref,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "description": "Verification of a payment method; let go at once",
            "metadata": {"billing_verification": "1"},
            **({"customer": customer_ref} if customer_ref else {}),
        }
        answer = self.write(self.api.payment_intents.create, key=key, params=params)
        if answer["status"] != "requires_capture":
            raise Declined("unknown")
        return read_id(answer)

    def _verify(self, method_ref: str, customer_ref: str, key: str) -> str:
        params = {
            "payment_method": method_ref,
            "confirm": True,
            "usage": "off_session",
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            **({"customer": customer_ref} if customer_ref else {}),
        }
        answer = self.write(self.api.setup_intents.create, key=key, params=params)
        if answer["status"] != "succeeded":
            raise Declined("unknown")
        return read_id(answer)

    def cancel(self, *, authorisation_ref: str, key: str) -> None:
        if authorisation_ref.startswith(_SETUP_PREFIX):
            return  # nothing was held
        try:
            self.write(self.api.payment_intents.cancel, authorisation_ref, key=key)
        except (ObjectUnknown, OrderRejected, CardRefused):
            return  # it has ended already


def read_customer(answer: Mapping[str, Any]) -> CustomerState:
    """Return a Customer in our words; of a deleted one only its id is told."""
    settings = answer.get("invoice_settings") or {}
    return CustomerState(
        ref=str(answer["id"]),
        account_id=read_metadata(answer).get(ACCOUNT, ""),
        name=str(answer.get("name") or ""),
        email=str(answer.get("email") or ""),
        is_deleted=bool(answer.get("deleted")),
        default_method_ref=read_id(settings.get("default_payment_method")),
        created_at=read_instant(answer.get("created")),
    )


def read_method(answer: Mapping[str, Any]) -> MethodState:
    """Return a PaymentMethod in our words."""
    return MethodState(
        ref=str(answer["id"]),
        type=read_type(answer),
        customer_ref=read_id(answer.get("customer")),
        account_id=read_metadata(answer).get(ACCOUNT, ""),
        card=read_card(answer),
        bank_account=read_bank_account(answer),
    )


def _digest(params: Mapping[str, str]) -> str:
    return hashlib.sha256("\x1f".join(f"{name}={params[name]}" for name in sorted(params)).encode()).hexdigest()[:16]
