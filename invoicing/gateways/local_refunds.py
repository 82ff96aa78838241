"""Refunds and disputes of the local provider. `refundfails` and `refundpending` are told by the card, see `local`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways import local_store as store
from invoicing.gateways.local_cards import read_ref
from invoicing.gateways.orders import DisputeState, RefundOrder, RefundState
from invoicing.gateways.port import OrderRejected
from invoicing.models import LocalProviderObject

_ANSWER_WITHIN: Final = timedelta(days=14)


class LocalRefunds:
    """See the module."""

    def refund(self, *, order: RefundOrder, key: str) -> RefundState:
        """Give money back, at most what is left of the payment."""
        if (known := store.find_call(key)) is not None:
            return show_refund(known)
        payment = store.get(order.payment_ref, "payment")
        word, amount = read_ref(payment.data["method_ref"]), order.amount.amount

        def give_back(data: dict[str, Any]) -> None:
            if amount > data["received"] - data["refunded"]:
                raise OrderRejected("amount_too_large", "More than is left of the payment.")
            data["refunded"] += 0 if word == "refundfails" else amount

        store.change(order.payment_ref, "payment", f"{key}:payment", give_back)
        status = {"refundfails": "failed", "refundpending": "pending"}.get(word, "succeeded")
        row = store.add(
            kind="refund",
            ref=store.make_ref("re", key),
            key=key,
            parent=order.payment_ref,
            reference=order.reference,
            data={
                "status": status,
                "amount": amount,
                "currency": order.amount.currency,
                "failure_reason": "lost_or_stolen_card" if status == "failed" else "",
                "account_id": order.account_id,
                "created_at": store.now().isoformat(),
            },
        )
        return show_refund(row)

    def fetch_refund(self, *, refund_ref: str) -> RefundState:
        """Return a refund as it stands."""
        return show_refund(store.get(refund_ref, "refund"))

    def find_refund(self, *, reference: str, payment_ref: str) -> RefundState | None:
        """Return the refund made for our row, or None."""
        rows = LocalProviderObject.objects.filter(kind="refund", reference=reference, parent=payment_ref)
        found = rows.order_by("-id").first()
        return None if found is None else show_refund(found)

    def list_refunds(self, *, since: datetime, until: datetime) -> Iterator[RefundState]:
        """Yield refunds made in [since, until), newest first."""
        return (show_refund(row) for row in store.list_made("refund", since=since, until=until))

    def settle_refund(self, *, refund_ref: str, succeeds: bool = True) -> RefundState:
        """Let a pending refund end, as the bank would."""

        def end(data: dict[str, Any]) -> None:
            if data["status"] == "pending":
                data["status"] = "succeeded" if succeeds else "failed"
                data["failure_reason"] = "" if succeeds else "declined"

        return show_refund(store.change(refund_ref, "refund", "", end))

    # ---- disputes
    def open_dispute(self, *, payment_ref: str, amount: int | None = None, is_inquiry: bool = False) -> DisputeState:
        """Let the card holder dispute a payment, as a bank would tell."""
        payment = store.get(payment_ref, "payment")
        row = store.add(
            kind="dispute",
            ref=store.make_ref("dp", f"{payment_ref}:dispute"),
            parent=payment_ref,
            reference=payment.reference,
            data={
                "status": "warning_needs_response" if is_inquiry else "needs_response",
                "amount": amount or payment.data["received"],
                "currency": payment.data["currency"],
                "reason": "fraudulent",
                "fee": 0,
                "due_by": (store.now() + _ANSWER_WITHIN).isoformat(),
                "evidence": {},
                "account_id": payment.data["account_id"],
                "created_at": store.now().isoformat(),
            },
        )
        return show_dispute(row)

    def decide_dispute(self, *, dispute_ref: str, won: bool) -> DisputeState:
        """Let the bank decide."""

        def decide(data: dict[str, Any]) -> None:
            if data["status"].startswith("warning"):
                data["status"] = "warning_closed"
            elif data["status"] not in ("won", "lost"):
                data["status"] = "won" if won else "lost"

        return show_dispute(store.change(dispute_ref, "dispute", "", decide))

    def fetch_dispute(self, *, dispute_ref: str) -> DisputeState:
        """Return a dispute as it stands."""
        return show_dispute(store.get(dispute_ref, "dispute"))

    def submit_evidence(self, *, dispute_ref: str, evidence: Mapping[str, str], submit: bool, key: str) -> DisputeState:
        """Hand in evidence, or only keep it."""

        def hand_in(data: dict[str, Any]) -> None:
            if data["status"] not in ("needs_response", "warning_needs_response"):
                raise OrderRejected("invalid_state", "The dispute takes no evidence any more.")
            data["evidence"] |= evidence
            if submit:
                data["status"] = data["status"].replace("needs_response", "under_review")

        return show_dispute(store.change(dispute_ref, "dispute", key, hand_in))

    def close_dispute(self, *, dispute_ref: str, key: str) -> DisputeState:
        """Accept a dispute."""

        def accept(data: dict[str, Any]) -> None:
            if data["status"] in ("won", "lost", "warning_closed"):
                raise OrderRejected("invalid_state", "The dispute is decided already.")
            data["status"] = "warning_closed" if data["status"].startswith("warning") else "lost"

        return show_dispute(store.change(dispute_ref, "dispute", key, accept))

    def list_disputes(self, *, since: datetime, until: datetime) -> Iterator[DisputeState]:
        """Yield disputes begun in [since, until), newest first."""
        return (show_dispute(row) for row in store.list_made("dispute", since=since, until=until))


def show_refund(row: LocalProviderObject) -> RefundState:
    """Return a remembered refund as the port says it."""
    data = row.data
    return RefundState(
        ref=row.ref,
        status=data["status"],
        amount=Money(data["amount"], data["currency"]),
        payment_ref=row.parent,
        failure_reason=data["failure_reason"],
        receipt_number=f"L-{row.ref[-8:].upper()}" if data["status"] == "succeeded" else "",
        reference=row.reference,
        account_id=data["account_id"],
        created_at=store.read_time(row),
    )


def show_dispute(row: LocalProviderObject) -> DisputeState:
    """Return a remembered dispute as the port says it."""
    data = row.data
    return DisputeState(
        ref=row.ref,
        status=data["status"],
        amount=Money(data["amount"], data["currency"]),
        payment_ref=row.parent,
        charge_ref=f"{row.parent}_charge",
        reason=data["reason"],
        fee=data["fee"],
        evidence_due_by=datetime.fromisoformat(data["due_by"]),
        evidence=data["evidence"],
        account_id=data["account_id"],
        created_at=store.read_time(row),
    )
