"""
Payouts of the local provider. They are on their way at once, and arrive when the test or the person trying it says so.

`btok_us_fails` is a bank account that refuses them, `btok_us_pending` keeps them with the provider, where they can
still be stopped, and with `btok_us_timeout` the provider sends the money and does not answer the first time.
"""

from __future__ import annotations

from typing import Any

from billing_site.kernel.money import Money
from invoicing.gateways import local_store as store
from invoicing.gateways.local_cards import read_ref
from invoicing.gateways.orders import PayoutOrder, PayoutState
from invoicing.gateways.port import ProviderUnavailable
from invoicing.models import LocalProviderObject


class LocalPayouts:
    """See the module."""

    def pay_out(self, *, order: PayoutOrder, key: str) -> PayoutState:
        """Send money out."""
        if (known := store.find_call(key)) is not None:
            return show_payout(known)
        word = read_ref(order.destination_ref)
        fails = word.endswith("fails")
        row = store.add(
            kind="payout",
            ref=store.make_ref("po", key),
            key=key,
            reference=order.reference,
            data={
                "status": "failed" if fails else "pending" if word.endswith("pending") else "in_transit",
                "amount": order.amount.amount,
                "currency": order.amount.currency,
                "account_id": order.account_id,
                "failure_code": "account_closed" if fails else "",
                "created_at": store.now().isoformat(),
            },
        )
        if word.endswith("timeout"):
            raise ProviderUnavailable("The payment provider did not answer in time; try again.")
        return show_payout(row)

    def fetch_payout(self, *, payout_ref: str) -> PayoutState:
        """Return a payout as it stands."""
        return show_payout(store.get(payout_ref, "payout"))

    def cancel_payout(self, *, payout_ref: str, key: str) -> PayoutState:
        """Stop a payout that has not left."""

        def stop(data: dict[str, Any]) -> None:
            if data["status"] == "pending":
                data["status"] = "canceled"

        return show_payout(store.change(payout_ref, "payout", key, stop))

    def arrive(self, *, payout_ref: str, fails: bool = False) -> PayoutState:
        """Let a payout arrive, or come back."""

        def end(data: dict[str, Any]) -> None:
            if data["status"] in ("pending", "in_transit"):
                data["status"] = "failed" if fails else "paid"
                data["failure_code"] = "account_closed" if fails else ""
                data["arrival_date"] = store.now().date().isoformat()

        return show_payout(store.change(payout_ref, "payout", "", end))


def show_payout(row: LocalProviderObject) -> PayoutState:
    """Return a remembered payout as the port says it."""
    data = row.data
    day = data.get("arrival_date")
    return PayoutState(
        ref=row.ref,
        status=data["status"],
        amount=Money(data["amount"], data["currency"]),
        arrival_date=None if day is None else store.read_time(row).fromisoformat(day).date(),
        failure_code=data["failure_code"],
        failure_message="The bank account is closed." if data["failure_code"] else "",
        reference=row.reference,
        account_id=data["account_id"],
        created_at=store.read_time(row),
    )
