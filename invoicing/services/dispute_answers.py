"""
Answering disputes: evidence, and accepting them.

What is to be told is written and committed before the provider is asked, outside any transaction, under a key from the
row; its answer ends in `record_dispute`. What it refuses is kept with its reason, so that nothing written is lost.
Source: contract chapter Disputes; ADR 0055.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from invoicing.gateways.orders import DisputeState
from invoicing.gateways.port import ObjectUnknown, OrderRejected, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import ANSWERABLE_STATUSES, Dispute, DisputeCall
from invoicing.services.disputes import get_dispute, record_dispute, tell

EVIDENCE_FIELDS: Final = (
    *("customer_name", "customer_email_address", "product_description", "service_date", "uncategorized_text"),
)
MAX_EVIDENCE: Final = 20_000
ASKED_AGAIN_AFTER: Final = timedelta(minutes=10)

logger = logging.getLogger(__name__)


class AnswerRefused(InvalidState):
    title = "The payment provider refused the answer to the dispute"


def hand_in_evidence(
    *,
    dispute_id: uuid.UUID,
    evidence: Mapping[str, str],
    at: datetime,
    actor: Actor,
    submit: bool = True,
    reason: str = "",
    gateway: PaymentGateway | None = None,
) -> Dispute:
    """
    Add evidence to a dispute, hand it in with `submit`, and return the dispute. Call it outside a transaction.

    What is given replaces what was kept under the same name. Once handed in it is under review.
    :raises NotFound: if there is none. :raises InvalidState: when it was answered or decided, or the deadline passed.
    :raises ValidationFailed: for evidence that nobody asks for, or too much of it.
    :raises AnswerRefused: when the provider refuses it; it is kept. :raises ProviderUnavailable: when nothing is known;
        the sweep goes on.
    """
    _open_call(dispute_id, DisputeCall.EVIDENCE, at=at, actor=actor, evidence=evidence, submit=submit, reason=reason)
    return tell_provider(dispute_id=dispute_id, at=at, actor=actor, gateway=gateway)


def accept_dispute(
    *,
    dispute_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    reason: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> Dispute:
    """
    Give a dispute up and return it: it is lost, an inquiry closed. Call it outside a transaction.

    A repeat of a marked request goes on with, or answers, what the first began.
    :raises NotFound: if there is none. :raises InvalidState: when it is decided. Else as `hand_in_evidence`.
    """
    _open_call(dispute_id, DisputeCall.CLOSE, at=at, actor=actor, reason=reason, mark=mark or RequestMark())
    return tell_provider(dispute_id=dispute_id, at=at, actor=actor, gateway=gateway)


@transaction.atomic
def _open_call(
    dispute_id: uuid.UUID,
    call: DisputeCall,
    *,
    at: datetime,
    actor: Actor,
    evidence: Mapping[str, str] | None = None,
    submit: bool = True,
    reason: str = "",
    mark: RequestMark | None = None,
) -> None:
    if mark is not None and find_repeated(mark) is not None:
        return
    lock_account(get_dispute(dispute_id).account_id)
    dispute = Dispute.objects.select_for_update(of=("self",), no_key=True).get(pk=dispute_id)
    if dispute.is_decided:
        raise InvalidState("The dispute is decided.", current_status=dispute.status)
    if call == DisputeCall.EVIDENCE:
        _require_time(dispute, at)
        dispute.evidence = {**dispute.evidence, **_clean(evidence or {})}
    dispute.pending_call, dispute.pending_submit = call, submit
    dispute.calls += 1
    dispute.call_key = f"dispute:{dispute.public_id}:{call}:{dispute.calls}"
    dispute.called_at, dispute.call_error = at, ""
    dispute.save(
        update_fields=[
            *("evidence", "pending_call", "pending_submit", "calls", "call_key", "called_at", "call_error"),
            "updated_at",
        ]
    )
    what = "accepted" if call == DisputeCall.CLOSE else "evidence_given"
    tell(what, dispute, at=at, actor=actor, reason=reason)
    if mark is not None:
        remember(mark, subject_id=dispute.public_id, at=at)


def _require_time(dispute: Dispute, at: datetime) -> None:
    if dispute.status not in ANSWERABLE_STATUSES:
        raise InvalidState("Evidence was handed in already.", current_status=dispute.status)
    if dispute.evidence_due_by is not None and dispute.evidence_due_by <= at:
        raise InvalidState(
            f"The deadline for evidence passed at {dispute.evidence_due_by:%Y-%m-%d %H:%M} UTC.",
            current_status=dispute.status,
        )


def _clean(evidence: Mapping[str, str]) -> dict[str, str]:
    for name, text in evidence.items():
        if name not in EVIDENCE_FIELDS:
            raise ValidationFailed.of(f"/{name}", "unknown", "Nobody asks for this.")
        if len(text) > MAX_EVIDENCE:
            raise ValidationFailed.of(f"/{name}", "max_length", f"At most {MAX_EVIDENCE} characters.")
    return {name: text.strip() for name, text in evidence.items()}


def tell_provider(
    *, dispute_id: uuid.UUID, at: datetime, actor: Actor = SYSTEM, gateway: PaymentGateway | None = None
) -> Dispute:
    """
    Tell the provider what is pending of a dispute, record its answer and return the dispute. Outside a transaction.

    :raises AnswerRefused: when it refuses. :raises ProviderUnavailable: when nothing is known; it stays pending.
    """
    dispute = get_dispute(dispute_id)
    if not dispute.pending_call:
        return dispute
    asked = gateway or get_gateway(dispute.provider_type, livemode=dispute.livemode)
    key = dispute.call_key
    try:
        state = _call(dispute, asked)
    except (OrderRejected, ObjectUnknown) as refusal:
        _end_call(dispute_id, key, error=str(refusal))
        _look_again(dispute, asked, at=at, actor=actor)
        raise AnswerRefused(f"The provider says: {refusal}", current_status=get_dispute(dispute_id).status) from refusal
    with transaction.atomic():
        record_dispute(state=state, provider_type=dispute.provider_type, at=at, actor=actor)
        _end_call(dispute_id, key, submitted_at=at if dispute.pending_submit else None)
    return get_dispute(dispute_id)


def _call(dispute: Dispute, gateway: PaymentGateway) -> DisputeState:
    if dispute.pending_call == DisputeCall.CLOSE:
        return gateway.close_dispute(dispute_ref=dispute.provider_ref, key=dispute.call_key)
    return gateway.submit_evidence(
        dispute_ref=dispute.provider_ref,
        evidence=dispute.evidence,
        submit=dispute.pending_submit,
        key=dispute.call_key,
    )


def _end_call(dispute_id: uuid.UUID, key: str, *, error: str = "", submitted_at: datetime | None = None) -> None:
    """Note that a call was answered, unless another one began since."""
    rows = Dispute.objects.filter(pk=dispute_id, call_key=key)
    rows.update(pending_call="", call_error=error[:500])
    if submitted_at is not None:
        rows.filter(submitted_at__isnull=True).update(submitted_at=submitted_at)


def _look_again(dispute: Dispute, gateway: PaymentGateway, *, at: datetime, actor: Actor) -> None:
    """What refuses an answer may have been decided since; take that over where it can be read."""
    try:
        state = gateway.fetch_dispute(dispute_ref=dispute.provider_ref)
    except (ObjectUnknown, DomainError):
        return
    record_dispute(state=state, provider_type=dispute.provider_type, at=at, actor=actor)


def sweep_dispute_calls(*, at: datetime, limit: int = 200) -> int:
    """Go on with what was never answered for ten minutes and return how many were. `at` is the wall clock's time."""
    rows = Dispute.objects.exclude(pending_call="").filter(updated_at__lte=at - ASKED_AGAIN_AFTER)
    done = 0
    for dispute_id in list(rows.order_by("called_at").values_list("pk", flat=True)[:limit]):
        try:
            dispute = get_dispute(dispute_id)
            done += not tell_provider(dispute_id=dispute_id, at=dispute.account.clock_time or at).pending_call
        except DomainError as refusal:
            logger.warning("dispute %s is not answered: %s", dispute_id, refusal.code)
    return done
