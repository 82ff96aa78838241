"""
Transfers that a person matches by hand; above the limit another person must approve it.

Source: contract chapter Bank transfers; ADR 0017 and 0053.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account
from accounts.services.account_locks import lock_account
from accounts.services.approval_limits import SecondPersonNeeded, get_approval_limit, needs_second_person
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval
from invoicing.models import BankTransfer, BankTransferStatus
from invoicing.services.bank_transfer_rows import lock_transfer
from invoicing.services.bank_transfers import book_transfer

MATCH_KIND: Final = "invoicing.bank_transfer_match"
PERMISSION: Final = "invoicing.approve_bank_transfer"


def register_bank_transfer_approvals() -> None:
    """Tell the platform what approving a match does. Called when the app starts."""
    register_kind(ApprovalKind(MATCH_KIND, "Match a bank transfer by hand", PERMISSION, _match_approved))


@transaction.atomic
def match_transfer(
    *,
    transfer_id: uuid.UUID,
    account: Account,
    at: datetime,
    actor: Actor,
    reason: str,
    apply_to_invoices: bool = False,
    approval: Approval | None = None,
) -> BankTransfer:
    """
    Book a transfer of the review list as invoice credit of `account`, and return it. It need not quote any reference.

    The credit is in the currency of the transfer. `at` is real time: an account on a test clock is booked by its own.
    :raises NotFound: if there is no such transfer. :raises InvalidState: unless it waits. :raises ValidationFailed:
        without a reason, or for an account of another mode or organization. :raises SecondPersonNeeded: when staff
        matches more than the limit without an `approval` of exactly this.
    """
    if not reason.strip():
        raise ValidationFailed.of("/reason", "blank", "Say how you know whose money it is.")
    lock_account(account.pk)
    transfer = _lock_waiting(transfer_id)
    _require_same_house(transfer, account)
    _require_second_person(transfer, account, apply_to_invoices, actor=actor, approval=approval)
    book_transfer(
        transfer,
        account=account,
        instruction=None,
        at=at,
        actor=actor,
        apply_to_invoices=apply_to_invoices,
        reason=reason,
        approval=approval,
    )
    return transfer


@transaction.atomic
def match_or_request(
    *,
    transfer_id: uuid.UUID,
    account: Account,
    at: datetime,
    actor: Actor,
    reason: str,
    apply_to_invoices: bool = False,
) -> BankTransfer | Approval:
    """
    Match a transfer by hand, or above the limit ask another person to; return what came of it.

    :raises DomainError: as `match_transfer`. :raises ApprovalAlreadyPending: while a request for the transfer waits.
    """
    lock_account(account.pk)
    transfer = _lock_waiting(transfer_id)
    if not needs_second_person(amount=transfer.amount, actor=actor):
        return match_transfer(
            transfer_id=transfer_id,
            account=account,
            at=at,
            actor=actor,
            reason=reason,
            apply_to_invoices=apply_to_invoices,
        )
    _require_same_house(transfer, account)
    shown = f"{format_decimal(transfer.amount, transfer.currency)} {transfer.currency.upper()}"
    request = Request(
        MATCH_KIND,
        transfer,
        f"Match bank transfer {transfer} over {shown} to {account}",
        _describe_request(transfer, account, apply_to_invoices),
        effect=Money(transfer.amount, transfer.currency),
        account_id=account.pk,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


def find_matched_transfer(approval: Approval) -> BankTransfer | None:
    """Return the transfer that a request is about, or None."""
    key = BankTransfer.parse_id(approval.subject_id)
    return None if key is None else BankTransfer.objects.filter(pk=key).first()


def find_matching_account(approval: Approval) -> Account | None:
    """Return the account to which a request wants to match a transfer, or None."""
    key = Account.parse_id(str(approval.payload.get("account", "")))
    return None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()


def _match_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    transfer, account = find_matched_transfer(approval), find_matching_account(approval)
    if transfer is None or account is None:
        raise NotFound("bank_transfer")
    matched = match_transfer(
        transfer_id=transfer.pk,
        account=account,
        at=at,
        actor=actor,
        reason=approval.reason,
        apply_to_invoices=bool(approval.payload["apply_to_invoices"]),
        approval=approval,
    )
    return {"transaction_id": "" if matched.entry is None else matched.entry.public_id}


def _lock_waiting(transfer_id: uuid.UUID) -> BankTransfer:
    transfer = lock_transfer(transfer_id)
    if not transfer.can_become(BankTransferStatus.MATCHED):
        raise InvalidState(f"The transfer is {transfer.status}.", current_status=transfer.status)
    return transfer


def _require_same_house(transfer: BankTransfer, account: Account) -> None:
    if account.livemode != transfer.livemode or transfer.org_id not in ("", account.org_id):
        raise ValidationFailed.of("/account", "elsewhere", "The transfer belongs to another organization or mode.")


def _describe_request(transfer: BankTransfer, account: Account, apply_to_invoices: bool) -> dict[str, Any]:
    return {
        "transfer": transfer.public_id,
        "account": account.public_id,
        "apply_to_invoices": apply_to_invoices,
        "amount": transfer.amount,
        "currency": transfer.currency,
    }


def _require_second_person(
    transfer: BankTransfer, account: Account, apply_to_invoices: bool, *, actor: Actor, approval: Approval | None
) -> None:
    if not needs_second_person(amount=transfer.amount, actor=actor):
        return
    if (
        approval is None
        or approval.status != ApprovalStatus.APPROVED
        or (approval.kind, approval.subject_id) != (MATCH_KIND, transfer.public_id)
        or approval.payload != _describe_request(transfer, account, apply_to_invoices)
    ):
        limit = get_approval_limit()
        raise SecondPersonNeeded(f"Above {limit} minor units, another person must approve it.", limit=limit)
