"""Hosted pages: checkout, which saves a method and says what for, and the portal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoicing.gateways.orders import CheckoutOrder, HostedPage
from invoicing.gateways.port import ObjectUnknown, OrderRejected
from invoicing.gateways.stripe.client import Answer, CardRefused, StripeCaller
from invoicing.gateways.stripe.reading import ACCOUNT, SESSION, name_ours, read_id, read_instant, read_metadata


class Pages(StripeCaller):
    """See the port."""

    def open_checkout(self, *, order: CheckoutOrder, key: str) -> HostedPage:
        metadata = name_ours({ACCOUNT: order.account_id, SESSION: order.reference}, order.metadata)
        params: Answer = {
            "mode": "setup",  # subscriptions are ours; Stripe saves the method
            "customer": order.customer_ref,
            "currency": order.currency,
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "client_reference_id": order.account_id,
            "metadata": metadata,
            "setup_intent_data": {"metadata": metadata},
        }
        return self._open(self.api.checkout.sessions.create, key=key, params=params)

    def fetch_checkout(self, *, checkout_ref: str) -> HostedPage:
        return read_page(self.read(self.api.checkout.sessions.retrieve, checkout_ref))

    def open_portal(self, *, customer_ref: str, return_url: str, key: str) -> HostedPage:
        params = {"customer": customer_ref, "return_url": return_url}
        return self._open(self.api.billing_portal.sessions.create, key=key, params=params)

    def _open(self, call: Any, *, key: str, params: Answer) -> HostedPage:
        try:
            return read_page(self.write(call, key=key, params=params))
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        except CardRefused as refusal:
            raise OrderRejected("page_refused", str(refusal)) from None


def read_page(answer: Mapping[str, Any]) -> HostedPage:
    """Return a session in our words; one that has ended has no address any more."""
    metadata = read_metadata(answer)
    return HostedPage(
        ref=str(answer["id"]),
        url=str(answer.get("url") or ""),
        expires_at=read_instant(answer.get("expires_at")),
        status=str(answer.get("status") or "open"),
        customer_ref=read_id(answer.get("customer")),
        account_id=metadata.get(ACCOUNT, "") or str(answer.get("client_reference_id") or ""),
        setup_ref=read_id(answer.get("setup_intent")),
        subscription_ref=read_id(answer.get("subscription")),
        metadata=metadata,
    )
