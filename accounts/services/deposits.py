"""Money put on the prepaid balance, and what is left of it when its time is over. Source: contract chapter Ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Account, CreditLot, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_open_account
from accounts.services.approval_limits import require_second_person
from accounts.services.ledger import NewEntry, PostingSpec
from accounts.services.prepaid import PrepaidChange, lock_balance, lock_balances, require_amount
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.models import Approval

DEPOSIT_KIND: Final = "ledger.deposit"
MAX_EXPIRY_DAYS = 36_500
SWEEP_CHUNK = 200
# A deposit tagged with one of these was given away, not paid for.
PROMOTIONAL_TAGS = frozenset({"promo", "promotion", "promotional", "starter-credit", "daily-credit"})


@transaction.atomic
def deposit(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    notes: str = "",
    tags: str = "",
    expires_in: int | None = None,
    expires_at: datetime | None = None,
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
    reason: str = "",
    approval: Approval | None = None,
) -> LedgerEntry:
    """
    Put `amount` minor units on the prepaid balance and return the entry.

    The money comes from cash, or from promotions when `tags` (separated by commas or spaces) says promotional.
    `expires_in` counts days, 0 is never; `expires_at` may be given instead. A `key` seen before answers the first
    entry and deposits nothing. What the balance owes, because usage was charged past it, is paid off first.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises SecondPersonNeeded: when staff deposits more than the limit without an `approval`.
    :raises InvalidState: when the account is closed.
    """
    require_amount(amount)
    currency = require_currency(currency)
    require_second_person(
        kind=DEPOSIT_KIND, account=account, amount=amount, currency=currency, actor=actor, approval=approval
    )
    ends_at = _find_end(expires_in, expires_at, at)
    account = lock_open_account(account.pk)
    key = key or f"deposit:{encode_id(LedgerEntry.id_prefix, new_uuid())}"
    first = LedgerEntry.objects.filter(key=key).first()
    if first is not None:
        return first
    promotional = is_promotional(tags)
    entry = NewEntry(
        key=key,
        type="deposit",
        account_id=account.pk,
        postings=[
            PostingSpec(LedgerKind.PROMOTIONS if promotional else LedgerKind.CASH, None, currency, amount),
            PostingSpec(LedgerKind.PREPAID, account.pk, currency, -amount),
        ],
        at=at,
        livemode=account.livemode,
        description=notes,
        tags=tags,
        metadata=metadata or {},
        expires_at=ends_at,
    )
    change, balance = PrepaidChange(), lock_balance(account, currency=currency, at=at)
    change.add(entry, [], event="balance.deposited", data=_describe(entry, amount, currency), reason=reason)
    remaining = amount - balance.pay_debt(amount)
    change.open_lot(entry, balance, amount=amount, remaining=remaining, promotional=promotional)
    return change.write(actor=actor)[key]


def _describe(entry: NewEntry, amount: int, currency: str) -> dict[str, Any]:
    return {
        "amount": amount,
        "currency": currency,
        "notes": entry.description,
        "tags": entry.tags,
        "promotional": is_promotional(entry.tags),
        "expires_at": entry.expires_at,
    }


def is_promotional(tags: str) -> bool:
    """Tell whether the tags say that the money was given away."""
    return not PROMOTIONAL_TAGS.isdisjoint(tags.lower().replace(",", " ").split())


def _find_end(expires_in: int | None, expires_at: datetime | None, at: datetime) -> datetime | None:
    if expires_in and expires_at:
        raise ValidationFailed.of("/expires_at", "conflict", "Give expires_in or expires_at, not both.")
    if expires_in is not None and not 0 <= expires_in <= MAX_EXPIRY_DAYS:
        raise ValidationFailed.of("/expires_in", "out_of_range", f"Days between 0 (never) and {MAX_EXPIRY_DAYS}.")
    if expires_at is not None and expires_at <= at:
        raise ValidationFailed.of("/expires_at", "in_past", "The end must lie in the future.")
    return at + timedelta(days=expires_in) if expires_in else expires_at


@dataclass(frozen=True, slots=True)
class ExpiredDeposits:
    """What one sweep took back."""

    lots: int


def expire_deposits(*, at: datetime, actor: Actor = SYSTEM, org_id: str | None = None) -> ExpiredDeposits:
    """
    Return what is left of every deposit whose end has come to the platform, in transactions of a few hundred accounts.

    An account on a test clock counts by that clock. What a pending hold needs stays until the hold ends. Running it
    twice, or twice at once, expires nothing twice. With `org_id` only the accounts of that organization count.
    """
    total = 0
    lots = _due_lots(at) if org_id is None else _due_lots(at).filter(account__org_id=org_id)
    due = lots.order_by("account_id").values_list("account_id", flat=True).distinct()
    after: UUID | None = None
    while owners := list((due if after is None else due.filter(account_id__gt=after))[:SWEEP_CHUNK]):
        total += _expire_chunk(owners, at, actor)
        after = owners[-1]
    return ExpiredDeposits(lots=total)


def _due_lots(at: datetime) -> QuerySet[CreditLot]:
    clock = "account__test_clock__now_at"
    return CreditLot.objects.filter(
        Q(account__test_clock__isnull=True, expires_at__lte=at) | Q(**{f"{clock}__gte": F("expires_at")}),
        remaining__gt=0,
        expires_at__isnull=False,
    )


@transaction.atomic
def _expire_chunk(owners: list[UUID], at: datetime, actor: Actor) -> int:
    """Expire what is due of some accounts and return how many lots; those that another transaction holds wait."""
    locked = Account.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    accounts = list(locked.filter(pk__in=owners).select_related("test_clock").order_by("id"))
    change, lots = PrepaidChange(), 0
    for balance in lock_balances(accounts, at={account.pk: account.clock_time or at for account in accounts}):
        lots += change.expire(balance)
    change.write(actor=actor)
    return lots
