"""The states of refunds and disputes: whatever the provider says, only what may follow is taken over."""

from __future__ import annotations

from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways.orders import DisputeState, RefundState
from invoicing.models import Dispute, PaymentIntent, Refund
from invoicing.models.dispute import DECIDED_STATUSES, DISPUTE_TRANSITIONS, HOLDING_STATUSES
from invoicing.models.refund import REFUND_TRANSITIONS
from invoicing.services.disputes import record_dispute
from invoicing.services.refund_settling import record_refund
from invoicing.services.refunds import AskedRefund, create_refund
from tests.support import world
from tests.support.card_payments import BY, pay_by_card
from tests.support.states import StateTable


# ---- refunds --------------------------------------------------------------------------------------------------------
def _tell_refund(status: str) -> Any:
    def tell(row: Refund) -> object:
        state = RefundState("re_states", status, Money(300, "usd"), reference=row.public_id, failure_reason="declined")
        return record_refund(state=state, provider_type="local", **BY)

    return tell


def _arrange_refund(state: str, _to: str) -> Refund:
    intent = pay_by_card(world.open_account(), 500)
    row = create_refund(intent_id=intent.pk, asked=AskedRefund(amount=300), **BY).refunds[0]
    if state != "pending":
        _tell_refund(state)(row)
    row.refresh_from_db()
    return row


def _hold_refund(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in REFUND_TRANSITIONS[before]:
        return "refunds_ends_once"
    return "refunds_ended_has_time" if before == "pending" else ""


REFUNDS: Final = StateTable(
    model=Refund,
    transitions=REFUND_TRANSITIONS,
    arrange=_arrange_refund,
    moves={status: _tell_refund(status) for status in REFUND_TRANSITIONS},
    held=_hold_refund,
    # What is told again, or late, changes nothing; what contradicts is told to people.
    quiet=frozenset(
        (before, after)
        for before, others in REFUND_TRANSITIONS.items()
        for after in REFUND_TRANSITIONS
        if after not in others
    ),
    allows=Refund.can_become,
)


# ---- disputes -------------------------------------------------------------------------------------------------------
def _tell_dispute(status: str) -> Any:
    def tell(row: Dispute) -> object:
        return _record(row.payment_intent, status)

    return tell


def _record(intent: PaymentIntent, status: str) -> Dispute | None:
    state = DisputeState("dp_states", status, Money(300, "usd"), payment_ref=intent.provider_ref)
    return record_dispute(state=state, provider_type="local", **BY)


def _arrange_dispute(state: str, _to: str) -> Dispute:
    dispute = _record(pay_by_card(world.open_account(), 500), state)
    assert dispute is not None
    return Dispute.objects.get(pk=dispute.pk)


def _hold_dispute(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in DISPUTE_TRANSITIONS[before]:
        return "disputes_ends_once"
    # PostgreSQL looks at constraints in the order of their names.
    if (before in DECIDED_STATUSES) != (after in DECIDED_STATUSES):
        return "disputes_decided_has_time"
    return "disputes_held_while_open" if (before in HOLDING_STATUSES) != (after in HOLDING_STATUSES) else ""


DISPUTES: Final = StateTable(
    model=Dispute,
    transitions=DISPUTE_TRANSITIONS,
    arrange=_arrange_dispute,
    moves={status: _tell_dispute(status) for status in DISPUTE_TRANSITIONS},
    held=_hold_dispute,
    quiet=frozenset(
        (before, after)
        for before, others in DISPUTE_TRANSITIONS.items()
        for after in DISPUTE_TRANSITIONS
        if after not in others
    ),
    allows=Dispute.can_become,
)
