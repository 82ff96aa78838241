"""
Payments of the local provider. What happens depends on the card alone; see `local`.

`failsonrenewal` pays while somebody is there and is declined without; `authenticationrequired` asks the card holder,
who answers through `authenticate`; `chargetimeout` does not answer the first call and does nothing, `succeedslate` does
not answer the first call and charges; `disputelater` is disputed a day later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways import local_store as store
from invoicing.gateways.declines import DeclineReason
from invoicing.gateways.local_cards import DECLINES, REFUSED_LATER, TIMEOUTS, read_ref, read_word
from invoicing.gateways.orders import PaymentOrder, PaymentState, ProviderStatus
from invoicing.gateways.port import OrderRejected, ProviderUnavailable
from invoicing.models import LocalProviderObject

_NO_ANSWER: Final = "The payment provider did not answer in time; try again."
DISPUTED_AFTER: Final = timedelta(days=1)
_OPEN: Final = (
    ProviderStatus.REQUIRES_PAYMENT_METHOD,
    ProviderStatus.REQUIRES_CONFIRMATION,
    ProviderStatus.REQUIRES_ACTION,
    ProviderStatus.REQUIRES_CAPTURE,
)


class LocalPayments:
    """See the module."""

    def pay(self, *, order: PaymentOrder, key: str) -> PaymentState:
        """Make, or try again, a payment, as the card's name says; the same key is the same try."""
        known = store.find_call(key)
        if known is not None and known.kind == "payment":
            return show(known)
        word = read_ref(order.method_ref) if order.method_ref else (read_word(order.token) or "")
        if known is None and word in ("chargetimeout", *TIMEOUTS):
            # The call was lost on its way. The same one again finds this note, and goes through.
            store.add(kind="lost", ref=store.make_ref("lost", key), key=key, data={})
            raise ProviderUnavailable(_NO_ANSWER)
        own_key = f"{key}:again" if known is not None else key
        state = _decide(order, word)
        if order.payment_ref:
            row = store.change(order.payment_ref, "payment", own_key, lambda data: _try_again(data, order, state))
        else:
            row = store.add(
                kind="payment",
                ref=store.make_ref("pay", own_key),
                key=own_key,
                reference=order.reference,
                parent=order.customer_ref,
                data=_describe(order) | state,
                due_at=store.now() + DISPUTED_AFTER if word == "disputelater" and order.captures else None,
            )
        if word == "succeedslate" and known is None:
            raise ProviderUnavailable(_NO_ANSWER)
        return show(row)

    def capture(self, *, payment_ref: str, amount: Money, key: str) -> PaymentState:
        """Take what was set aside, or a part of it; the rest is let go."""

        def take(data: dict[str, Any]) -> None:
            if data["status"] != ProviderStatus.REQUIRES_CAPTURE:
                raise OrderRejected("invalid_state", "Nothing is set aside for this payment.")
            if amount.amount > data["capturable"]:
                raise OrderRejected("amount_too_large", "More than what was set aside.")
            data.update(status=ProviderStatus.SUCCEEDED.value, received=amount.amount, capturable=0)

        return show(store.change(payment_ref, "payment", key, take))

    def cancel_payment(self, *, payment_ref: str, key: str) -> PaymentState:
        """Give a payment up, unless its money is taken."""

        def give_up(data: dict[str, Any]) -> None:
            if data["status"] in _OPEN:
                data.update(status=ProviderStatus.CANCELED.value, capturable=0)

        return show(store.change(payment_ref, "payment", key, give_up))

    def fetch_payment(self, *, payment_ref: str) -> PaymentState:
        """Return a payment as it stands."""
        return show(store.get(payment_ref, "payment"))

    def find_payment(self, *, reference: str, customer_ref: str, since: datetime) -> PaymentState | None:
        """Return the newest payment made for our row, or None."""
        rows = LocalProviderObject.objects.filter(kind="payment", reference=reference).order_by("-id")
        found = rows.first()
        return None if found is None else show(found)

    def list_payments(self, *, since: datetime, until: datetime) -> Iterator[PaymentState]:
        """Yield payments made in [since, until), newest first."""
        return (show(row) for row in store.list_made("payment", since=since, until=until))

    def authenticate(self, *, payment_ref: str, succeeds: bool = True) -> PaymentState:
        """Let the card holder answer the bank's question, as a browser would."""

        def answer(data: dict[str, Any]) -> None:
            if data["status"] != ProviderStatus.REQUIRES_ACTION:
                return
            if succeeds:
                data.update(_settle(data["amount"], captures=data["captures"]))
            else:
                data.update(_decline(DeclineReason.AUTHENTICATION_REQUIRED))

        return show(store.change(payment_ref, "payment", "", answer))


def show(row: LocalProviderObject) -> PaymentState:
    """Return a remembered payment as the port says it."""
    data = row.data
    return PaymentState(
        ref=row.ref,
        status=data["status"],
        amount=Money(data["amount"], data["currency"]),
        amount_capturable=data["capturable"],
        amount_received=data["received"],
        amount_refunded=data["refunded"],
        decline_reason=data["decline_reason"],
        client_secret=f"{row.ref}_secret",
        customer_ref=row.parent,
        method_ref=data["method_ref"],
        charge_ref=f"{row.ref}_charge",
        reference=row.reference,
        account_id=data["account_id"],
        created_at=store.read_time(row),
        metadata=data["metadata"],
    )


def _describe(order: PaymentOrder) -> dict[str, Any]:
    return {
        "amount": order.amount.amount,
        "currency": order.amount.currency,
        "captures": order.captures,
        "refunded": 0,
        "account_id": order.account_id,
        "method_ref": order.method_ref,
        "metadata": dict(order.metadata),
        "created_at": store.now().isoformat(),
    }


def _try_again(data: dict[str, Any], order: PaymentOrder, state: Mapping[str, Any]) -> None:
    if data["status"] not in _OPEN or data["status"] == ProviderStatus.REQUIRES_CAPTURE:
        return
    data.update(state, method_ref=order.method_ref or data["method_ref"])


def _decide(order: PaymentOrder, word: str) -> dict[str, Any]:
    """Return what becomes of a try."""
    if not order.method_ref and not order.token:
        return _stand(ProviderStatus.REQUIRES_PAYMENT_METHOD)
    if not order.confirm:
        return _stand(ProviderStatus.REQUIRES_CONFIRMATION)
    if word in DECLINES:
        return _decline(DECLINES[word][0])
    if word in REFUSED_LATER:
        return _decline(REFUSED_LATER[word])
    if word == "failsonrenewal" and order.off_session:
        return _decline(DeclineReason.GENERIC)
    if word == "authenticationrequired":
        if order.off_session:
            return _decline(DeclineReason.AUTHENTICATION_REQUIRED)
        return _stand(ProviderStatus.REQUIRES_ACTION)
    return _settle(order.amount.amount, captures=order.captures)


def _stand(status: ProviderStatus) -> dict[str, Any]:
    return {"status": status.value, "capturable": 0, "received": 0, "decline_reason": ""}


def _decline(reason: str) -> dict[str, Any]:
    return _stand(ProviderStatus.REQUIRES_PAYMENT_METHOD) | {"decline_reason": str(reason)}


def _settle(amount: int, *, captures: bool) -> dict[str, Any]:
    if captures:
        return _stand(ProviderStatus.SUCCEEDED) | {"received": amount}
    return _stand(ProviderStatus.REQUIRES_CAPTURE) | {"capturable": amount}
