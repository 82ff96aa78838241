"""
Deposits and credit above the limit, asked for by one person and booked when another one approves.

Source: contract chapter Ledger; ADR 0017.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_open_account
from accounts.services.adjustments import ADJUSTMENT_KIND, adjust_invoice_credit
from accounts.services.deposits import DEPOSIT_KIND, MAX_EXPIRY_DAYS, deposit
from accounts.services.prepaid import require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval

DEPOSIT_PERMISSION: Final = "accounts.approve_deposit"
ADJUSTMENT_PERMISSION: Final = "accounts.approve_adjustment"


def register_money_approvals() -> None:
    """Tell the platform how approved deposits and adjustments are booked. Called when the app starts."""
    register_kind(ApprovalKind(DEPOSIT_KIND, "Deposit money", DEPOSIT_PERMISSION, _deposit_approved))
    register_kind(ApprovalKind(ADJUSTMENT_KIND, "Adjust invoice credit", ADJUSTMENT_PERMISSION, _adjust_approved))


@transaction.atomic
def request_deposit(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    reason: str,
    tags: str = "",
    expires_in: int | None = None,
) -> Approval:
    """
    Ask for a deposit of `amount` minor units; days until it expires count from the approval.

    :raises AmountNotPositive, CurrencyUnsupported, InvalidState, ValidationFailed: what the deposit would refuse.
    :raises ApprovalAlreadyPending: while another deposit on the account waits.
    """
    require_amount(amount)
    if expires_in is not None and not 0 <= expires_in <= MAX_EXPIRY_DAYS:
        raise ValidationFailed.of("/expires_in", "out_of_range", f"Days between 0 (never) and {MAX_EXPIRY_DAYS}.")
    return _ask(
        DEPOSIT_KIND,
        "Deposit {money} for {account}",
        account=account,
        amount=amount,
        currency=currency,
        at=at,
        actor=actor,
        reason=reason,
        terms={"tags": tags, "expires_in": expires_in or 0},
    )


@transaction.atomic
def request_adjustment(
    *, account: Account, amount: int, currency: str, at: datetime, actor: Actor, reason: str
) -> Approval:
    """
    Ask for invoice credit of `amount` minor units, above zero. The reason becomes its description.

    :raises AmountNotPositive, CurrencyUnsupported, InvalidState, ValidationFailed: what the adjustment would refuse.
    :raises ApprovalAlreadyPending: while another adjustment of the account waits.
    """
    require_amount(amount)
    return _ask(
        ADJUSTMENT_KIND,
        "Credit {money} to {account} for invoices",
        account=account,
        amount=amount,
        currency=currency,
        at=at,
        actor=actor,
        reason=reason,
        terms={},
    )


def find_account(approval: Approval) -> Account | None:
    """Return the account a request is about, or None."""
    key = Account.parse_id(approval.subject_id)
    return None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()


def _ask(
    kind: str,
    title: str,
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    reason: str,
    terms: dict[str, Any],
) -> Approval:
    currency = require_currency(currency)
    account = lock_open_account(account.pk)
    shown = f"{format_decimal(amount, currency)} {currency.upper()}"
    payload = {"account": account.public_id, "amount": amount, "currency": currency, **terms}
    request = Request(
        kind,
        account,
        title.format(money=shown, account=account),
        payload,
        effect=Money(amount, currency),
        account_id=account.pk,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


def _deposit_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    account, payload = _get_account(approval), approval.payload
    entry = deposit(
        account=account,
        amount=payload["amount"],
        currency=payload["currency"],
        at=account.clock_time or at,
        actor=actor,
        notes=approval.reason,
        tags=payload["tags"],
        expires_in=payload["expires_in"],
        metadata=_describe(approval),
        key=f"approval:{approval.public_id}",
        reason=approval.reason,
        approval=approval,
    )
    return {"transaction_id": entry.public_id}


def _adjust_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    account, payload = _get_account(approval), approval.payload
    entry = adjust_invoice_credit(
        account=account,
        amount=payload["amount"],
        currency=payload["currency"],
        description=approval.reason,
        at=account.clock_time or at,
        actor=actor,
        metadata=_describe(approval),
        key=f"approval:{approval.public_id}",
        reason=approval.reason,
        approval=approval,
    )
    return {"transaction_id": entry.public_id}


def _get_account(approval: Approval) -> Account:
    account = find_account(approval)
    if account is None:
        raise NotFound("account")
    return account


def _describe(approval: Approval) -> dict[str, Any]:
    return {"approval": approval.public_id, "requested_by": approval.requested_by}
