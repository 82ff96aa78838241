"""Refunds and disputes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from invoicing.gateways.orders import DisputeState, RefundOrder, RefundState
from invoicing.gateways.port import ObjectUnknown, OrderRejected, ProviderUnavailable
from invoicing.gateways.stripe.client import Answer, CardRefused, StripeCaller
from invoicing.gateways.stripe.money import from_provider, read_fee, to_provider
from invoicing.gateways.stripe.reading import (
    ACCOUNT,
    REFUND,
    name_ours,
    read_id,
    read_instant,
    read_metadata,
    read_object,
)

# The texts of evidence that Stripe has a place for; what is none of these goes, labelled, into the text for the rest.
EVIDENCE: Final = frozenset(
    """
    access_activity_log billing_address cancellation_policy_disclosure cancellation_rebuttal customer_email_address
    customer_name customer_purchase_ip duplicate_charge_explanation duplicate_charge_id product_description
    refund_policy_disclosure refund_refusal_explanation service_date shipping_address shipping_carrier shipping_date
    shipping_tracking_number uncategorized_text
    """.split()
)
_REST: Final = "uncategorized_text"
# A dispute that was settled before it began.
_STATUSES: Final = {"prevented": "warning_closed"}
_DISPUTE_EXPAND: Final = ["payment_intent"]


class MoneyBack(StripeCaller):
    """See the port."""

    def refund(self, *, order: RefundOrder, key: str) -> RefundState:
        params: Answer = {
            "payment_intent": order.payment_ref,
            "amount": to_provider(order.amount),
            "metadata": name_ours({ACCOUNT: order.account_id, REFUND: order.reference}, {}),
            **({"reason": order.reason} if order.reason else {}),
        }
        try:
            return read_refund(self.write(self.api.refunds.create, key=key, params=params))
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        except CardRefused as refusal:
            raise OrderRejected(str(refusal.error.get("code") or "refund_declined"), str(refusal)) from None

    def fetch_refund(self, *, refund_ref: str) -> RefundState:
        return read_refund(self.read(self.api.refunds.retrieve, refund_ref))

    def find_refund(self, *, reference: str, payment_ref: str) -> RefundState | None:
        for answer in self.each(self.api.refunds.list, params={"payment_intent": payment_ref}):
            if read_metadata(answer).get(REFUND) == reference:
                return read_refund(answer)
        return None

    def list_refunds(self, *, since: datetime, until: datetime) -> Iterator[RefundState]:
        for answer in self.each_made(self.api.refunds.list, since=since, until=until):
            yield read_refund(answer)

    def fetch_dispute(self, *, dispute_ref: str) -> DisputeState:
        return read_dispute(self.read(self.api.disputes.retrieve, dispute_ref, params={"expand": _DISPUTE_EXPAND}))

    def list_disputes(self, *, since: datetime, until: datetime) -> Iterator[DisputeState]:
        expand = [f"data.{path}" for path in _DISPUTE_EXPAND]
        for answer in self.each_made(self.api.disputes.list, since=since, until=until, expand=expand):
            yield read_dispute(answer)

    def submit_evidence(self, *, dispute_ref: str, evidence: Mapping[str, str], submit: bool, key: str) -> DisputeState:
        params = {"evidence": sort_evidence(evidence), "submit": submit, "expand": _DISPUTE_EXPAND}
        return self._change_dispute(self.api.disputes.update, dispute_ref, key=key, params=params)

    def close_dispute(self, *, dispute_ref: str, key: str) -> DisputeState:
        return self._change_dispute(self.api.disputes.close, dispute_ref, key=key, params={"expand": _DISPUTE_EXPAND})

    def _change_dispute(self, call: Any, dispute_ref: str, *, key: str, params: Answer) -> DisputeState:
        try:
            return read_dispute(self.write(call, dispute_ref, key=key, params=params))
        except ObjectUnknown as error:
            raise OrderRejected("resource_missing", str(error)) from None
        except CardRefused as refusal:
            raise ProviderUnavailable(str(refusal)) from None


def sort_evidence(evidence: Mapping[str, str]) -> dict[str, str]:
    """Return evidence under Stripe's names; what it has no place for becomes part of the text for the rest."""
    known = {name: text for name, text in evidence.items() if name in EVIDENCE and text}
    others = [f"{name}: {text}" for name, text in evidence.items() if name not in EVIDENCE and text]
    if others:
        known[_REST] = "\n\n".join([*([known[_REST]] if _REST in known else []), *others])
    return known


def read_refund(answer: Mapping[str, Any]) -> RefundState:
    """Return a Refund in our words."""
    metadata = read_metadata(answer)
    return RefundState(
        ref=str(answer["id"]),
        status=str(answer.get("status") or "pending"),
        amount=from_provider(int(answer["amount"]), str(answer["currency"])),
        payment_ref=read_id(answer.get("payment_intent")),
        failure_reason=str(answer.get("failure_reason") or ""),
        receipt_number=str(answer.get("receipt_number") or ""),
        reference=metadata.get(REFUND, ""),
        account_id=metadata.get(ACCOUNT, ""),
        created_at=read_instant(answer.get("created")),
    )


def read_dispute(answer: Mapping[str, Any]) -> DisputeState:
    """Return a Dispute in our words. Its fee is what its movements on our balance there cost besides."""
    payment = read_object(answer.get("payment_intent"))
    details = read_object(answer.get("evidence_details"))
    movements = answer.get("balance_transactions") or []
    fees = [read_fee(int(each["fee"]), str(each["currency"])).amount for each in movements]
    status = str(answer["status"])
    evidence = read_object(answer.get("evidence"))
    return DisputeState(
        ref=str(answer["id"]),
        status=_STATUSES.get(status, status),
        amount=from_provider(int(answer["amount"]), str(answer["currency"])),
        payment_ref=read_id(answer.get("payment_intent")),
        charge_ref=read_id(answer.get("charge")),
        reason=str(answer.get("reason") or ""),
        fee=max(0, sum(fees)),
        evidence_due_by=read_instant(details.get("due_by")),
        evidence={name: str(text) for name, text in evidence.items() if name in EVIDENCE and text},
        is_charge_refundable=bool(answer.get("is_charge_refundable")),
        account_id=read_metadata(payment).get(ACCOUNT, "") or read_metadata(answer).get(ACCOUNT, ""),
        created_at=read_instant(answer.get("created")),
    )
