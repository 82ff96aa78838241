"""Manual corrections of the invoice credit. Source: contract chapter Ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, LedgerAccount, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_open_account
from accounts.services.approval_limits import require_second_person
from accounts.services.ledger import PostingSpec, post_entry
from accounts.services.prepaid import InsufficientBalance, require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, ValidationFailed
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.models import Approval
from billing_site.platform.services import events

ADJUSTMENT_KIND: Final = "ledger.adjustment"


class AmountZero(DomainError):
    code, title, status = "amount_zero", "The amount must not be zero", 400


@transaction.atomic
def adjust_invoice_credit(
    *,
    account: Account,
    amount: int,
    currency: str,
    description: str,
    at: datetime,
    actor: Actor,
    allow_negative: bool = False,
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
    reason: str = "",
    approval: Approval | None = None,
) -> LedgerEntry:
    """
    Add `amount` minor units to the invoice credit, or take them when it is below zero, and return the entry.

    Credit comes from promotions and returns there. A debit passes zero only with `allow_negative`. A `key` seen before
    answers the first entry.
    :raises AmountZero: for zero. :raises CurrencyUnsupported: for a currency not offered.
    :raises InsufficientBalance: when a debit is larger than the balance. :raises ValidationFailed: without description.
    :raises SecondPersonNeeded: when staff gives more than the limit without an `approval`.
    :raises InvalidState: when the account is closed.
    """
    if amount == 0:
        raise AmountZero
    require_amount(abs(amount))
    if not description.strip():
        raise ValidationFailed.of("/description", "blank", "Say what the adjustment is for.")
    currency = require_currency(currency)
    require_second_person(
        kind=ADJUSTMENT_KIND, account=account, amount=amount, currency=currency, actor=actor, approval=approval
    )
    account = lock_open_account(account.pk)
    key = key or f"adjustment:{encode_id(LedgerEntry.id_prefix, new_uuid())}"
    if first := LedgerEntry.objects.filter(key=key).first():
        return first
    balance = _lock_invoice_credit(account, currency)
    if amount < 0 and balance + amount < 0 and not allow_negative:
        raise InsufficientBalance(available=max(0, balance), required=-amount)
    entry = post_entry(
        key=key,
        type="adjustment",
        account_id=account.pk,
        postings=[
            PostingSpec(LedgerKind.INVOICE_CREDIT, account.pk, currency, -amount),
            PostingSpec(LedgerKind.PROMOTIONS, None, currency, amount),
        ],
        at=at,
        livemode=account.livemode,
        description=description.strip(),
        metadata=metadata,
    )
    events.emit(
        "customer_balance.adjusted",
        subject=entry,
        account_id=account.pk,
        at=at,
        actor=actor,
        data={
            "transaction_id": entry.public_id,
            "amount": amount,
            "currency": currency,
            "description": entry.description,
            "balance": balance + amount,
        },
        previous={"balance": balance},
        reason=reason,
    )
    return entry


def _lock_invoice_credit(account: Account, currency: str) -> int:
    """Lock the pot and return its balance; positive is credit of the customer. The account's lock is held."""
    pots = LedgerAccount.objects.select_for_update(no_key=True)
    pot = pots.filter(account=account, kind=LedgerKind.INVOICE_CREDIT, currency=currency).first()
    return 0 if pot is None else -pot.balance
