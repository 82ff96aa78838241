"""Setups: a method saved without a payment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from invoicing.gateways.orders import ProviderStatus, SetupOrder, SetupState
from invoicing.gateways.port import ObjectUnknown, OrderRejected
from invoicing.gateways.stripe.client import Answer, CardRefused, StripeCaller
from invoicing.gateways.stripe.declines import read_reason
from invoicing.gateways.stripe.reading import (
    ACCOUNT,
    SETUP,
    name_ours,
    read_bank_account,
    read_card,
    read_id,
    read_metadata,
    read_object,
    read_type,
)

_EXPAND: Final = ["payment_method"]
_WRONG_STATE: Final = "setup_intent_unexpected_state"


class Setups(StripeCaller):
    """See the port."""

    def set_up(self, *, order: SetupOrder, key: str) -> SetupState:
        try:
            answer = self._confirm(order, key) if order.setup_ref else self._create(order, key)
        except CardRefused as refusal:
            answer = dict(read_object(refusal.error.get("setup_intent")))
            if not answer:
                return SetupState(
                    ref=order.setup_ref,
                    status=ProviderStatus.REQUIRES_PAYMENT_METHOD,
                    decline_reason=read_reason(refusal.error),
                    customer_ref=order.customer_ref,
                    reference=order.reference,
                    account_id=order.account_id,
                )
            if not read_object(answer.get("last_setup_error")):
                answer = answer | {"last_setup_error": refusal.error}
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        return read_setup(answer)

    def fetch_setup(self, *, setup_ref: str) -> SetupState:
        return read_setup(self.read(self.api.setup_intents.retrieve, setup_ref, params={"expand": _EXPAND}))

    def cancel_setup(self, *, setup_ref: str, key: str) -> SetupState:
        try:
            answer = self.write(self.api.setup_intents.cancel, setup_ref, key=key, params={"expand": _EXPAND})
        except (OrderRejected, CardRefused):
            return self.fetch_setup(setup_ref=setup_ref)
        return read_setup(answer)

    def _create(self, order: SetupOrder, key: str) -> Answer:
        params: Answer = {
            "usage": order.usage,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": name_ours({ACCOUNT: order.account_id, SETUP: order.reference}, order.metadata),
            "expand": _EXPAND,
        }
        optional = {"customer": order.customer_ref, "payment_method": self.name_token(order.method_ref, key=key)}
        params |= {name: value for name, value in optional.items() if value}
        if order.confirm and order.method_ref:
            params["confirm"] = True
        return self.write(self.api.setup_intents.create, key=key, params=params)

    def _confirm(self, order: SetupOrder, key: str) -> Answer:
        params: Answer = {"expand": _EXPAND}
        if order.method_ref:
            params["payment_method"] = self.name_token(order.method_ref, key=key)
        try:
            return self.write(self.api.setup_intents.confirm, order.setup_ref, key=key, params=params)
        except OrderRejected as refusal:
            if refusal.code != _WRONG_STATE:
                raise
        return self.read(self.api.setup_intents.retrieve, order.setup_ref, params={"expand": _EXPAND})


def read_setup(answer: Mapping[str, Any]) -> SetupState:
    """Return a SetupIntent in our words."""
    error = read_object(answer.get("last_setup_error"))
    method = read_object(answer.get("payment_method"))
    status = str(answer["status"])
    was_refused = bool(error) and status == ProviderStatus.REQUIRES_PAYMENT_METHOD
    metadata = read_metadata(answer)
    return SetupState(
        ref=str(answer["id"]),
        status=status,
        method_ref=read_id(answer.get("payment_method")),
        method_type=read_type(method),
        decline_reason=str(read_reason(error)) if was_refused else "",
        client_secret=str(answer.get("client_secret") or ""),
        customer_ref=read_id(answer.get("customer")),
        reference=metadata.get(SETUP, ""),
        account_id=metadata.get(ACCOUNT, ""),
        card=read_card(method),
        bank_account=read_bank_account(method),
    )
