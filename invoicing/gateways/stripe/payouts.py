"""Money out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoicing.gateways.orders import PayoutOrder, PayoutState
from invoicing.gateways.port import ObjectUnknown, OrderRejected
from invoicing.gateways.stripe.client import Answer, CardRefused, StripeCaller
from invoicing.gateways.stripe.money import from_provider, to_provider
from invoicing.gateways.stripe.reading import ACCOUNT, PAYOUT, name_ours, read_instant, read_metadata


class Payouts(StripeCaller):
    """See the port."""

    def pay_out(self, *, order: PayoutOrder, key: str) -> PayoutState:
        params: Answer = {
            "amount": to_provider(order.amount, is_payout=True),
            "currency": order.amount.currency,
            "metadata": name_ours({ACCOUNT: order.account_id, PAYOUT: order.reference}, {}),
        }
        optional = {"destination": order.destination_ref, "description": order.description}
        params |= {name: value for name, value in optional.items() if value}
        try:
            return read_payout(self.write(self.api.payouts.create, key=key, params=params))
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        except CardRefused as refusal:
            raise OrderRejected(str(refusal.error.get("code") or "payout_declined"), str(refusal)) from None

    def fetch_payout(self, *, payout_ref: str) -> PayoutState:
        return read_payout(self.read(self.api.payouts.retrieve, payout_ref))

    def cancel_payout(self, *, payout_ref: str, key: str) -> PayoutState:
        try:
            return read_payout(self.write(self.api.payouts.cancel, payout_ref, key=key))
        except (OrderRejected, CardRefused):
            return self.fetch_payout(payout_ref=payout_ref)  # it has left, or ended


def read_payout(answer: Mapping[str, Any]) -> PayoutState:
    """Return a Payout in our words."""
    metadata = read_metadata(answer)
    arrival = read_instant(answer.get("arrival_date"))
    return PayoutState(
        ref=str(answer["id"]),
        status=str(answer["status"]),
        amount=from_provider(int(answer["amount"]), str(answer["currency"])),
        arrival_date=arrival.date() if arrival else None,
        failure_code=str(answer.get("failure_code") or ""),
        failure_message=str(answer.get("failure_message") or ""),
        reference=metadata.get(PAYOUT, ""),
        account_id=metadata.get(ACCOUNT, ""),
        is_automatic=bool(answer.get("automatic")),
        created_at=read_instant(answer.get("created")),
    )
