"""
Holding what a provider has against what we have: differences found, nothing changed.

Each function takes objects of the provider, reads our rows of them at once, and returns what differs. Amounts are minor
units. Source: docs/reconciliation.md; ADR 0054.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Sum

from accounts.models import Account
from invoicing.gateways.orders import CustomerState, DisputeState, PaymentState, RefundState
from invoicing.models import Dispute, DriftKind, PaymentIntent, ProviderCustomer, Refund
from invoicing.models.refund import COUNTED_STATUSES

VERIFICATION: Final = "billing_verification"
"""Metadata of holds that only verify a card; they are no payments."""
_WITH_MONEY: Final = ("succeeded", "requires_capture", "processing")
_UNFINISHED: Final = ("requires_payment_method", "requires_confirmation")


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `ref` is the provider's name of the object, `subject_id` ours; either may be empty."""

    kind: str
    object_type: str
    ref: str
    subject_id: str = ""
    account_id: UUID | None = None
    ours: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)


def compare_payments(states: Sequence[PaymentState], *, provider_type: str) -> list[Finding]:
    """Return how payments differ. What the provider has and no money came of is no difference when we lack it."""
    rows = PaymentIntent.objects.filter(provider_type=provider_type)
    by_ref = {row.provider_ref: row for row in rows.filter(provider_ref__in=[each.ref for each in states])}
    keys = {each.ref: PaymentIntent.parse_id(each.reference) for each in states if each.reference}
    by_key = {row.pk: row for row in rows.filter(pk__in=[key for key in keys.values() if key])}
    refunded = _sum_refunds([row.pk for row in (*by_ref.values(), *by_key.values())])
    accounts = _find_accounts(
        {each.account_id for each in states}, {each.customer_ref for each in states}, provider_type
    )
    findings: list[Finding] = []
    for state in states:
        if VERIFICATION in state.metadata:
            continue
        row = by_ref.get(state.ref) or by_key.get(keys.get(state.ref))  # type: ignore[arg-type]
        if row is None:
            if state.status in _WITH_MONEY:
                account = accounts.get(state.account_id) or accounts.get(state.customer_ref)
                findings.append(
                    Finding(
                        kind=DriftKind.MISSING_HERE if account else DriftKind.UNKNOWN_CUSTOMER,
                        object_type="payment",
                        ref=state.ref,
                        account_id=account,
                        theirs=show_payment(state),
                    )
                )
            continue
        findings += _compare_payment(row, state, refunded.get(row.pk, 0))
    return findings


def _compare_payment(row: PaymentIntent, state: PaymentState, refunded: int) -> Iterable[Finding]:
    ours = {
        "status": row.status,
        "amount": row.amount,
        "currency": row.currency,
        "received": row.amount_received,
        "refunded": refunded,
    }
    theirs = show_payment(state)

    def find(kind: str) -> Finding:
        return Finding(kind, "payment", state.ref, row.public_id, row.account_id, ours, theirs)

    is_paid = row.status == state.status == "succeeded"
    is_other = (ours["amount"], ours["currency"]) != (theirs["amount"], theirs["currency"])
    if is_other or (is_paid and ours["received"] != theirs["received"]):
        yield find(DriftKind.AMOUNT)
    # A call under way will tell by itself; so will what still waits for its payer on both sides.
    waits = row.status in _UNFINISHED and state.status in _UNFINISHED
    if row.status != state.status and not waits and not row.pending_call:
        yield find(DriftKind.STATUS)
    if is_paid and ours["refunded"] != theirs["refunded"]:
        yield find(DriftKind.REFUNDED)


def compare_refunds(states: Sequence[RefundState], *, provider_type: str) -> list[Finding]:
    """Return how refunds differ. One of a payment that we do not have is told with that payment."""
    rows = Refund.objects.filter(provider_type=provider_type)
    by_ref = {row.provider_ref: row for row in rows.filter(provider_ref__in=[each.ref for each in states])}
    keys = {each.ref: Refund.parse_id(each.reference) for each in states if each.reference}
    by_key = {row.pk: row for row in rows.filter(pk__in=[key for key in keys.values() if key])}
    payments = _find_payments([each.payment_ref for each in states], provider_type)
    findings: list[Finding] = []
    for state in states:
        theirs = {"status": state.status, "amount": state.amount.amount, "currency": state.amount.currency}
        row = by_ref.get(state.ref) or by_key.get(keys.get(state.ref))  # type: ignore[arg-type]
        if row is None:
            payment = payments.get(state.payment_ref)
            if payment is not None and state.status in ("succeeded", "pending"):
                findings.append(
                    Finding(DriftKind.MISSING_HERE, "refund", state.ref, "", payment.account_id, theirs=theirs)
                )
            continue
        ours = {"status": row.status, "amount": row.amount, "currency": row.currency}
        status = "pending" if state.status == "requires_action" else state.status
        for kind, differs in (
            (DriftKind.AMOUNT, (row.amount, row.currency) != (state.amount.amount, state.amount.currency)),
            (DriftKind.STATUS, row.status != status),
        ):
            if differs:
                findings.append(Finding(kind, "refund", state.ref, row.public_id, row.account_id, ours, theirs))
    return findings


def compare_disputes(states: Sequence[DisputeState], *, provider_type: str) -> list[Finding]:
    """Return how disputes differ. One of a payment that we do not have is told with that payment."""
    rows = Dispute.objects.filter(payment_intent__provider_type=provider_type)
    by_ref = {row.provider_ref: row for row in rows.filter(provider_ref__in=[each.ref for each in states])}
    payments = _find_payments([each.payment_ref for each in states], provider_type)
    findings: list[Finding] = []
    for state in states:
        theirs = {"status": state.status, "amount": state.amount.amount, "currency": state.amount.currency}
        row = by_ref.get(state.ref)
        if row is None:
            payment = payments.get(state.payment_ref)
            if payment is not None:
                findings.append(
                    Finding(DriftKind.MISSING_HERE, "dispute", state.ref, "", payment.account_id, theirs=theirs)
                )
            continue
        ours = {"status": row.status, "amount": row.amount, "currency": row.currency}
        for kind, differs in (
            (DriftKind.AMOUNT, (row.amount, row.currency) != (state.amount.amount, state.amount.currency)),
            (DriftKind.STATUS, row.status != state.status and not row.pending_call),
        ):
            if differs:
                findings.append(Finding(kind, "dispute", state.ref, row.public_id, row.account_id, ours, theirs))
    return findings


def compare_customers(states: Sequence[CustomerState], *, provider_type: str) -> list[Finding]:
    """Return how customers differ. One that does not say it is ours may be anybody's, and is none of our business."""
    ties = ProviderCustomer.objects.filter(provider_type=provider_type)
    by_ref = {tie.ref: tie for tie in ties.filter(ref__in=[each.ref for each in states]).select_related("account")}
    accounts = _find_accounts({each.account_id for each in states}, set(), provider_type)
    findings: list[Finding] = []
    for state in states:
        tie = by_ref.get(state.ref)
        theirs = {"account": state.account_id, "email": state.email, "is_deleted": state.is_deleted}
        if tie is None and state.account_id and not state.is_deleted:
            account = accounts.get(state.account_id)
            kind = DriftKind.MISSING_HERE if account else DriftKind.UNKNOWN_CUSTOMER
            findings.append(Finding(kind, "customer", state.ref, "", account, theirs=theirs))
        elif tie is not None:
            ours = {"account": tie.account.public_id, "is_deleted": tie.is_deleted}
            differs = state.account_id not in ("", tie.account.public_id) or state.is_deleted != tie.is_deleted
            if differs and not (tie.is_deleted and not state.is_deleted):
                findings.append(
                    Finding(
                        DriftKind.STATUS, "customer", state.ref, tie.public_id, tie.account_id, ours=ours, theirs=theirs
                    )
                )
    return findings


def find_missing(object_type: str, ref: str, *, provider_type: str) -> Finding | None:
    """Return that the provider does not have what we have; None when it is no loss."""
    row: Any
    if object_type == "payment":
        row = PaymentIntent.objects.filter(provider_type=provider_type, provider_ref=ref).first()
    elif object_type == "refund":
        row = Refund.objects.filter(provider_type=provider_type, provider_ref=ref).first()
    elif object_type == "dispute":
        row = Dispute.objects.filter(payment_intent__provider_type=provider_type, provider_ref=ref).first()
    else:
        row = ProviderCustomer.objects.filter(provider_type=provider_type, ref=ref, is_deleted=False).first()
    if row is None:
        return None
    ours = {name: getattr(row, name) for name in ("status", "amount", "currency") if hasattr(row, name)}
    return Finding(DriftKind.MISSING_THERE, object_type, ref, row.public_id, row.account_id, ours=ours)


def list_own_refs(object_type: str, *, provider_type: str, since: datetime, until: datetime) -> list[str]:
    """Return the provider's names of what we made in [since, until), and of everything that is not settled."""
    match object_type:
        case "payment":
            rows: Any = PaymentIntent.objects.filter(provider_type=provider_type).exclude(provider_ref="")
            open_rows = rows.filter(status__in=("processing", "requires_capture", "requires_action"))
        case "refund":
            rows = Refund.objects.filter(provider_type=provider_type).exclude(provider_ref="")
            open_rows = rows.filter(status="pending")
        case "dispute":
            rows = Dispute.objects.filter(payment_intent__provider_type=provider_type).exclude(provider_ref="")
            open_rows = rows.exclude(status__in=("won", "lost", "warning_closed"))
        case _:
            ties = ProviderCustomer.objects.filter(provider_type=provider_type, is_deleted=False)
            return sorted(ties.filter(created_at__gte=since, created_at__lt=until).values_list("ref", flat=True))
    made = rows.filter(created_at__gte=since, created_at__lt=until)
    return sorted({*made.values_list("provider_ref", flat=True), *open_rows.values_list("provider_ref", flat=True)})


def show_payment(state: PaymentState) -> dict[str, Any]:
    """Return a payment of the provider as a drift keeps it."""
    shown = asdict(state)
    return {
        "status": state.status,
        "amount": state.amount.amount,
        "currency": state.amount.currency,
        "received": shown["amount_received"],
        "refunded": shown["amount_refunded"],
    }


def _sum_refunds(intents: Sequence[UUID]) -> dict[UUID, int]:
    counted = Refund.objects.filter(payment_intent_id__in=intents, status__in=COUNTED_STATUSES).exclude(provider_ref="")
    return {
        row["payment_intent_id"]: row["total"]
        for row in counted.values("payment_intent_id").annotate(total=Sum("amount"))
    }


def _find_payments(refs: Sequence[str], provider_type: str) -> dict[str, PaymentIntent]:
    rows = PaymentIntent.objects.filter(provider_type=provider_type, provider_ref__in=[ref for ref in refs if ref])
    return {row.provider_ref: row for row in rows}


def _find_accounts(ids: set[str], customers: set[str], provider_type: str) -> dict[str, UUID]:
    """Return accounts by what the provider calls them: our id of them, or their customer."""
    keys = [key for key in (Account.parse_id(each) for each in ids if each) if key]
    found = {account.public_id: account.pk for account in Account.objects.filter(pk__in=keys)}
    ties = ProviderCustomer.objects.filter(provider_type=provider_type, ref__in=[each for each in customers if each])
    return found | {tie.ref: tie.account_id for tie in ties}
