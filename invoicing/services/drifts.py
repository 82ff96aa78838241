"""
Differences between us and a provider: told once, gone when they are gone, repaired by reading anew, or accepted.

Source: docs/reconciliation.md; ADR 0054.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Account
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from invoicing.gateways.orders import PaymentState
from invoicing.gateways.port import ObjectUnknown, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import Drift, DriftStatus, PaymentIntent, ProviderCustomer, ReconciliationRun
from invoicing.queries.provider_customers import find_account_of_customer
from invoicing.services.charging import record_payment
from invoicing.services.disputes import record_dispute
from invoicing.services.payment_intents import NewIntent, create_intent
from invoicing.services.provider_comparison import (
    Finding,
    compare_customers,
    compare_disputes,
    compare_payments,
    compare_refunds,
    find_missing,
)
from invoicing.services.provider_customers import link_provider_customer, record_customer_deleted
from invoicing.services.refund_settling import record_refund

_COLUMNS = (
    *("status", "ours", "theirs", "account", "run", "last_seen_at", "settled_at", "settled_by", "comment"),
    "updated_at",
)


class DriftNotRepairable(DomainError):
    code, title, status = "drift_not_repairable", "This difference cannot be repaired from here", 409


@transaction.atomic
def record_findings(
    *, run: ReconciliationRun, object_type: str, refs: Sequence[str], findings: Sequence[Finding], at: datetime
) -> int:
    """
    Keep what was found about the objects `refs`, and return how many differences are new.

    One that is known is only seen again; one that was settled and is back, or was accepted and has changed, is open
    again. What was open about these objects and was not found now is gone.
    """
    acquire_lock("drifts", run.provider_type)
    known = {
        (each.kind, each.ref, each.subject_id): each
        for each in Drift.objects.filter(
            provider_type=run.provider_type, object_kind=object_type, ref__in=[*refs, *(each.ref for each in findings)]
        )
    }
    new = 0
    for finding in findings:
        drift = known.pop((finding.kind, finding.ref, finding.subject_id), None)
        new += _keep(run, drift, finding, at)
    for drift in known.values():
        if drift.status != DriftStatus.REPAIRED:
            _settle(drift, DriftStatus.REPAIRED, at=at, actor=SYSTEM, comment="The difference is gone.")
    return new


def _keep(run: ReconciliationRun, drift: Drift | None, finding: Finding, at: datetime) -> int:
    if drift is None:
        drift = Drift(
            provider_type=run.provider_type,
            kind=finding.kind,
            object_kind=finding.object_type,
            ref=finding.ref,
            subject_id=finding.subject_id,
            account_id=finding.account_id,
            ours=finding.ours,
            theirs=finding.theirs,
            run=run,
            first_seen_at=at,
            last_seen_at=at,
        )
        drift.save(force_insert=True)
        _emit("opened", drift, at=at, actor=SYSTEM)
        return 1
    changed = (drift.ours, drift.theirs) != (finding.ours, finding.theirs)
    reopens = drift.status == DriftStatus.REPAIRED or (drift.status == DriftStatus.ACCEPTED and changed)
    drift.ours, drift.theirs, drift.account_id = finding.ours, finding.theirs, finding.account_id
    drift.run, drift.last_seen_at = run, at
    if reopens:
        drift.status, drift.settled_at, drift.settled_by, drift.comment = DriftStatus.OPEN, None, "", ""
    drift.save(update_fields=_COLUMNS)
    if reopens:
        _emit("opened", drift, at=at, actor=SYSTEM)
    return int(reopens)


@transaction.atomic
def accept_drift(*, drift_id: UUID, at: datetime, actor: Actor, reason: str) -> Drift:
    """
    Accept a difference for what it is, and return it: it is told again only when it changes.

    :raises InvalidState: unless it is open. :raises ValidationFailed: without a reason.
    """
    drift = Drift.objects.select_for_update().filter(pk=drift_id).first()
    if drift is None:
        raise NotFound("drift")
    if not reason.strip():
        raise ValidationFailed.of("/reason", "required", "Say why the difference is right.")
    if drift.status != DriftStatus.OPEN:
        raise InvalidState("Only what is open can be accepted.", current_status=drift.status)
    return _settle(drift, DriftStatus.ACCEPTED, at=at, actor=actor, comment=reason.strip()[:500])


def repair_drift(
    *, drift_id: UUID, at: datetime, actor: Actor, reason: str = "", gateway: PaymentGateway | None = None
) -> Drift:
    """
    Read the object at the provider anew, record it as its webhook would, and return the difference, repaired.

    Call it outside a transaction. A payment that we lack becomes one of the account it belongs to.
    :raises InvalidState: unless it is open. :raises DriftNotRepairable: when recording does not end it.
    :raises ProviderUnavailable: when the provider does not answer.
    """
    drift = Drift.objects.filter(pk=drift_id).first()
    if drift is None:
        raise NotFound("drift")
    if drift.status != DriftStatus.OPEN:
        raise InvalidState("Only what is open can be repaired.", current_status=drift.status)
    asked = gateway or get_gateway(drift.provider_type, livemode=drift.run.livemode)
    try:
        state = fetch(asked, drift.object_kind, drift.ref)
    except ObjectUnknown:
        state = None
    with transaction.atomic():
        _record(drift, state, at=at, actor=actor)
        left = compare(drift.object_kind, drift.ref, state, provider_type=drift.provider_type)
        if any((each.kind, each.ref) == (drift.kind, drift.ref) for each in left):
            raise DriftNotRepairable(
                "Recording what the provider says does not end this difference: look at both sides, and accept it with "
                "a reason when it is right."
            )
        drift = Drift.objects.select_for_update().get(pk=drift.pk)
        if drift.status == DriftStatus.OPEN:
            _settle(drift, DriftStatus.REPAIRED, at=at, actor=actor, comment=reason.strip()[:500])
    return drift


def fetch(gateway: PaymentGateway, object_type: str, ref: str) -> Any:
    """Return an object of the provider. :raises ObjectUnknown: for none. :raises ProviderUnavailable: if not known."""
    match object_type:
        case "payment":
            return gateway.fetch_payment(payment_ref=ref)
        case "refund":
            return gateway.fetch_refund(refund_ref=ref)
        case "dispute":
            return gateway.fetch_dispute(dispute_ref=ref)
    return gateway.fetch_customer(customer_ref=ref)


def compare(object_type: str, ref: str, state: Any, *, provider_type: str) -> list[Finding]:
    """Return how one object differs; `state` None: the provider does not have it."""
    if state is None:
        missing = find_missing(object_type, ref, provider_type=provider_type)
        return [] if missing is None else [missing]
    return compare_many(object_type, [state], provider_type=provider_type)


def compare_many(object_type: str, states: Sequence[Any], *, provider_type: str) -> list[Finding]:
    """Return how objects of one type differ."""
    match object_type:
        case "payment":
            return compare_payments(states, provider_type=provider_type)
        case "refund":
            return compare_refunds(states, provider_type=provider_type)
        case "dispute":
            return compare_disputes(states, provider_type=provider_type)
    return compare_customers(states, provider_type=provider_type)


# ---- repairs --------------------------------------------------------------------------------------------------------
def _record(drift: Drift, state: Any, *, at: datetime, actor: Actor) -> None:
    if state is None:
        if drift.object_kind == "customer":
            record_customer_deleted(provider_type=drift.provider_type, ref=drift.ref, at=at, actor=actor)
            return
        raise DriftNotRepairable("The provider does not have it any more: nothing can be read from there.")
    match drift.object_kind:
        case "payment":
            _record_payment(drift, state, at=at, actor=actor)
        case "refund":
            record_refund(state=state, provider_type=drift.provider_type, at=at, actor=actor)
        case "customer":
            _record_customer(drift, state, at=at, actor=actor)
        case _:
            record_dispute(state=state, provider_type=drift.provider_type, at=at, actor=actor)


def _record_payment(drift: Drift, state: PaymentState, *, at: datetime, actor: Actor) -> None:
    rows = PaymentIntent.objects.filter(provider_type=drift.provider_type)
    intent = rows.filter(provider_ref=state.ref).first()
    if intent is None and state.reference:
        intent = rows.filter(pk__in=[key for key in [PaymentIntent.parse_id(state.reference)] if key]).first()
    if intent is None:
        intent = _adopt_payment(drift, state, at=at, actor=actor)
    record_payment(intent_id=intent.pk, state=state, at=at, actor=actor)


def _adopt_payment(drift: Drift, state: PaymentState, *, at: datetime, actor: Actor) -> PaymentIntent:
    """Make a payment of ours of one that only the provider has; what came of it becomes invoice credit."""
    key = Account.parse_id(state.account_id) if state.account_id else None
    account = Account.objects.filter(pk=key).first() if key else None
    account = account or find_account_of_customer(provider_type=drift.provider_type, ref=state.customer_ref)
    if account is None:
        raise DriftNotRepairable(
            "The payment belongs to no account here: give its customer the metadata billing_account_id at the "
            "provider, or pay it back there."
        )
    new = NewIntent(
        amount=state.amount.amount,
        currency=state.amount.currency,
        description=f"Found at {drift.provider_type}",
        metadata={"found_by": drift.public_id},
    )
    intent = create_intent(account=account, new=new, at=at, actor=actor)
    if intent.provider_type != drift.provider_type:
        intent.provider_type = drift.provider_type
        intent.save(update_fields=["provider_type", "updated_at"])
    return intent


def _record_customer(drift: Drift, state: Any, *, at: datetime, actor: Actor) -> None:
    if state.is_deleted:
        record_customer_deleted(provider_type=drift.provider_type, ref=state.ref, at=at, actor=actor)
        return
    key = Account.parse_id(state.account_id) if state.account_id else None
    if key is None or not Account.objects.filter(pk=key).exists():
        raise DriftNotRepairable("The customer names no account of ours.")
    if (
        ProviderCustomer.objects.filter(provider_type=drift.provider_type, ref=state.ref)
        .exclude(account_id=key)
        .exists()
    ):
        raise DriftNotRepairable("The customer names another account than the one it is linked to.")
    link_provider_customer(account_id=key, provider_type=drift.provider_type, ref=state.ref, at=at, actor=actor)


def _settle(drift: Drift, status: DriftStatus, *, at: datetime, actor: Actor, comment: str) -> Drift:
    if not drift.can_become(status):
        raise InvalidState("The difference is settled.", current_status=drift.status)
    drift.status, drift.settled_at, drift.settled_by, drift.comment = status, at, str(actor)[:255], comment
    drift.save(update_fields=_COLUMNS)
    _emit(str(status), drift, at=at, actor=actor, reason=comment)
    return drift


def _emit(what: str, drift: Drift, *, at: datetime, actor: Actor, reason: str = "") -> None:
    data = {
        "id": drift.public_id,
        "provider": drift.provider_type,
        "kind": drift.kind,
        "object_type": drift.object_kind,
        "ref": drift.ref,
        "subject_id": drift.subject_id,
        "status": drift.status,
        "ours": drift.ours,
        "theirs": drift.theirs,
    }
    events.emit(
        f"drift.{what}", subject=drift, account_id=drift.account_id, at=at, actor=actor, data=data, reason=reason
    )
