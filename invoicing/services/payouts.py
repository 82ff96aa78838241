"""
Payouts: money is held when one is asked for, a second person allows it above the limit, and then it can be sent.

Locks: approval, account, ledger account, payout. Source: contract chapter Payouts; ADR 0017 and 0053.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from accounts.models import Account, PaymentMethod, PaymentMethodStatus
from accounts.queries.access import find_account
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account
from accounts.services.approval_limits import get_approval_limit
from accounts.services.prepaid import InsufficientBalance, require_amount
from accounts.services.settlements import get_settlement_balance
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval
from invoicing.models import Payout, PayoutStatus
from invoicing.services.payout_rows import emit_payout, hold_money, lock_payout, release_money

PAYOUT_KIND: Final = "invoicing.payout"
PERMISSION: Final = "invoicing.approve_payout"
SEND_JOB: Final = "invoicing.send_payout"
NO_REASON: Final = "Asked for without a description."


@dataclass(frozen=True, slots=True)
class PayoutRequest:
    """What is to be sent where: minor units of `currency` to a verified method, named by its public id."""

    amount: int
    currency: str
    destination_type: str
    destination_id: str
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def register_payout_approvals() -> None:
    """Tell the platform what approving a payout does, and refusing it. Called when the app starts."""
    register_kind(
        ApprovalKind(PAYOUT_KIND, "Send a payout above the limit", PERMISSION, _send_approved, release=_cancel_refused)
    )


@transaction.atomic
def create_payout(
    *, account: Account | None, request: PayoutRequest, at: datetime, actor: Actor, reason: str = ""
) -> Payout:
    """
    Hold the money of a payout and return it, pending. It is sent after commit, or once another person approved it.

    Without `account` it goes from us to ourselves: to a verified method of the account that
    `BILLING_PLATFORM_ACCOUNT` names, at most `BILLING_PLATFORM_PAYOUT_LIMIT` at once. Above the approval limit another
    person must allow it, whoever asks.
    :raises AmountNotPositive, CurrencyUnsupported: for what is no amount. :raises NotFound: unless the destination is a
        verified method of the payee. :raises InsufficientBalance: beyond what is owed to the payee, or the limit.
    """
    require_amount(request.amount)
    currency = require_currency(request.currency)
    payee = account or _get_platform_account()
    lock_account(payee.pk)
    destination = _find_destination(payee, request)
    if account is None:
        _require_within_limit(request.amount)
    else:
        _require_owed(account, request.amount, currency)
    key = new_uuid()
    entry = hold_money(key, account, amount=request.amount, currency=currency, at=at, livemode=destination.livemode)
    payout = Payout.objects.create(
        id=key,
        org_id=payee.org_id,
        account=account,
        amount=request.amount,
        currency=currency,
        destination_type=request.destination_type,
        destination=destination,
        description=request.description.strip()[:500],
        provider_type=destination.provider_type,
        entry=entry,
        requested_by=str(actor),
        livemode=destination.livemode,
        metadata=dict(request.metadata),
    )
    emit_payout("created", payout, at=at, actor=actor, reason=reason)
    if request.amount > get_approval_limit():
        payout.approval = _ask(payout, at=at, actor=actor, reason=reason)
        payout.save(update_fields=["approval", "updated_at"])
    else:
        jobs.enqueue(SEND_JOB, payout_id=str(payout.pk))
    return payout


def cancel_unsent(payout: Payout, *, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Cancel a locked payout that nobody was asked to send, and release its money.

    :raises InvalidState: when it is not pending any more.
    """
    if not payout.can_become(PayoutStatus.CANCELED) or payout.is_handed_over:
        raise InvalidState("The payout is on its way, or has ended.", current_status=payout.status)
    end_payout(payout, PayoutStatus.CANCELED, at=at, actor=actor, reason=reason)


def end_payout(payout: Payout, status: PayoutStatus, *, at: datetime, actor: Actor, reason: str = "") -> None:
    """Write that a locked payout was not made, release its money, and tell. The caller has looked whether it may."""
    before = payout.status
    release_money(payout, at=at)
    payout.status, payout.ended_at = status, at
    payout.save(update_fields=["status", "ended_at", "failure_code", "failure_message", "provider_ref", "updated_at"])
    emit_payout(status, payout, at=at, actor=actor, reason=reason, previous={"status": before})


def is_allowed(payout: Payout) -> bool:
    """Tell whether a payout may be sent: nobody else had to allow it, or somebody did. Comes with its approval."""
    return payout.approval is None or payout.approval.status == ApprovalStatus.APPROVED


def find_payout(approval: Approval) -> Payout | None:
    """Return the payout a request is about, or None."""
    key = Payout.parse_id(approval.subject_id)
    rows = Payout.objects.select_related("account__test_clock", "destination")
    return None if key is None else rows.filter(pk=key).first()


def _get_platform_account() -> Account:
    """Return the account that stands for ourselves. :raises NotFound: when none is configured."""
    reference = settings.BILLING_PLATFORM_ACCOUNT
    found = find_account(Account.objects.select_related("test_clock"), reference) if reference else None
    if found is None:
        raise NotFound("payment_method", "There is no account whose bank account is ours: name the payee.")
    return found


def _find_destination(payee: Account, request: PayoutRequest) -> PaymentMethod:
    key = PaymentMethod.parse_id(request.destination_id)
    rows = PaymentMethod.objects.filter(
        account=payee,
        type=request.destination_type,
        status=PaymentMethodStatus.ATTACHED,
        verified_at__isnull=False,
    )
    found = None if key is None else rows.filter(pk=key).first()
    if found is None:
        raise NotFound("payment_method", "The payee has no such verified payment method.")
    return found


def _require_owed(account: Account, amount: int, currency: str) -> None:
    available = get_settlement_balance(account=account, currency=currency, lock=True)
    if amount > available:
        raise InsufficientBalance(available=max(0, available), required=amount)


def _require_within_limit(amount: int) -> None:
    limit = int(settings.BILLING_PLATFORM_PAYOUT_LIMIT)
    if amount > limit:
        raise InsufficientBalance(
            f"At most {limit} minor units are paid out to ourselves at once.", available=limit, required=amount
        )


def _ask(payout: Payout, *, at: datetime, actor: Actor, reason: str) -> Approval:
    shown = f"{format_decimal(payout.amount, payout.currency)} {payout.currency.upper()}"
    request = Request(
        PAYOUT_KIND,
        payout,
        f"Pay out {shown} to {payout.account or 'ourselves'}",
        {
            "payout": payout.public_id,
            "amount": payout.amount,
            "currency": payout.currency,
            "destination": None if payout.destination is None else payout.destination.public_id,
        },
        effect=Money(payout.amount, payout.currency),
        account_id=payout.account_id,
    )
    return request_approval(request, at=at, actor=actor, reason=reason or payout.description or NO_REASON)


def _send_approved(approval: Approval, _at: datetime, _actor: Actor) -> dict[str, Any]:
    payout = _lock_asked(approval)
    if payout.status != PayoutStatus.PENDING:
        raise InvalidState("The payout does not wait any more.", current_status=payout.status)
    jobs.enqueue(SEND_JOB, payout_id=str(payout.pk))
    return {"payout_id": payout.public_id}


def _cancel_refused(approval: Approval, at: datetime, actor: Actor) -> None:
    payout = _lock_asked(approval)
    if payout.status == PayoutStatus.PENDING:
        when = at if payout.account is None else payout.account.clock_time or at
        cancel_unsent(payout, at=when, actor=actor, reason=approval.comment)


def _lock_asked(approval: Approval) -> Payout:
    key = Payout.parse_id(approval.subject_id)
    if key is None:
        raise NotFound("payout")
    return lock_payout(key)
