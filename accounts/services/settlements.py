"""
What is owed to payees: put on their settlement balance, from where payouts take it. Always by two people.

Source: contract chapters Ledger and Payouts; ADR 0017 and 0053.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, LedgerAccount, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account
from accounts.services.adjustments import AmountZero
from accounts.services.ledger import PostingSpec, post_entry
from accounts.services.prepaid import InsufficientBalance, require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import Approval
from billing_site.platform.services import events
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval

SETTLEMENT_KIND: Final = "ledger.settlement"
SETTLEMENT_PERMISSION: Final = "accounts.approve_settlement"
SOURCES: Final[dict[str, str]] = {"received": LedgerKind.CASH.value, "share": LedgerKind.REVENUE.value}
"""Where the money comes from: it was received for the payee, or it is its share of what we invoiced."""


def register_settlement_approvals() -> None:
    """Tell the platform how an approved change of a settlement balance is booked. Called when the app starts."""
    register_kind(ApprovalKind(SETTLEMENT_KIND, "Change a settlement balance", SETTLEMENT_PERMISSION, _change_approved))


def get_settlement_balance(*, account: Account, currency: str, lock: bool = False) -> int:
    """Return what is owed to a payee in minor units of one currency; `lock` holds it for the transaction."""
    pots = LedgerAccount.objects.filter(account=account, kind=LedgerKind.SETTLEMENT, currency=currency)
    pot = (pots.select_for_update(no_key=True) if lock else pots).first()
    return 0 if pot is None else -pot.balance


@transaction.atomic
def request_settlement_change(
    *, account: Account, amount: int, currency: str, source: str, at: datetime, actor: Actor, reason: str
) -> Approval:
    """
    Ask for `amount` minor units more on a settlement balance, or less when it is below zero.

    `source` is one of `SOURCES`: what is taken off goes back there.
    :raises AmountZero, CurrencyUnsupported, ValidationFailed, InsufficientBalance: what booking it would refuse now.
    :raises ApprovalAlreadyPending: while another change for the account waits.
    """
    currency = _check(account, amount, currency, source)
    request = Request(
        SETTLEMENT_KIND,
        account,
        f"{'Credit' if amount > 0 else 'Debit'} {format_decimal(abs(amount), currency)} {currency.upper()}: "
        f"settlement balance of {account}",
        {"account": account.public_id, "amount": amount, "currency": currency, "source": source},
        effect=Money(amount, currency),
        account_id=account.pk,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


def _check(account: Account, amount: int, currency: str, source: str) -> str:
    """Lock the account and return the currency; refuse what cannot be booked."""
    if amount == 0:
        raise AmountZero
    require_amount(abs(amount))
    if source not in SOURCES:
        raise ValidationFailed.of("/source", "invalid_choice", f"One of {', '.join(SOURCES)}.")
    currency = require_currency(currency)
    lock_account(account.pk)
    available = get_settlement_balance(account=account, currency=currency, lock=True)
    if available + amount < 0:
        raise InsufficientBalance(available=max(0, available), required=-amount)
    return currency


def _change_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    key = Account.parse_id(approval.subject_id)
    account = None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()
    if account is None:
        raise NotFound("account")
    payload = approval.payload
    entry = _change(
        account, payload["amount"], payload["currency"], payload["source"], at=at, actor=actor, approval=approval
    )
    return {"transaction_id": entry.public_id}


def _change(
    account: Account,
    amount: int,
    currency: str,
    source: str,
    *,
    at: datetime,
    actor: Actor,
    approval: Approval,
) -> LedgerEntry:
    at = account.clock_time or at
    currency = _check(account, amount, currency, source)
    before = get_settlement_balance(account=account, currency=currency)
    entry = post_entry(
        key=f"approval:{approval.public_id}",
        type="settlement",
        account_id=account.pk,
        postings=[
            PostingSpec(LedgerKind.SETTLEMENT, account.pk, currency, -amount),
            PostingSpec(SOURCES[source], None, currency, amount),
        ],
        at=at,
        livemode=account.livemode,
        description=approval.reason,
        metadata={"approval": approval.public_id, "requested_by": approval.requested_by, "source": source},
    )
    events.emit(
        "settlement.adjusted",
        subject=entry,
        account_id=account.pk,
        at=at,
        actor=actor,
        data={
            "transaction_id": entry.public_id,
            "amount": amount,
            "currency": currency,
            "source": source,
            "balance": before + amount,
        },
        previous={"balance": before},
        reason=approval.reason,
    )
    return entry
