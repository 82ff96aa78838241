"""Money put on the prepaid balance, and what is left of it when its time is over. Source: contract chapter Ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Account, CreditLot, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_open_account
from accounts.services.ledger import NewEntry, PostingSpec, post_entries
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import AmountNotPositive, ValidationFailed
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.services import events

MAX_AMOUNT = 10**15
MAX_EXPIRY_DAYS = 36_500
SWEEP_CHUNK = 200
# A deposit tagged with one of these was given away, not paid for.
PROMOTIONAL_TAGS = frozenset({"promo", "promotion", "promotional"})


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
) -> LedgerEntry:
    """
    Put `amount` minor units on the prepaid balance and return the entry.

    The money comes from cash, or from promotions when `tags` (separated by commas or spaces) says promotional.
    `expires_in` counts days, 0 is never; `expires_at` may be given instead. A `key` seen before answers the first
    entry and deposits nothing.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises InvalidState: when the account is closed.
    """
    if amount <= 0:
        raise AmountNotPositive
    if amount > MAX_AMOUNT:
        raise ValidationFailed.of("/amount", "max_value", f"At most {MAX_AMOUNT} minor units at once.")
    currency = require_currency(currency)
    ends_at = _find_end(expires_in, expires_at, at)
    lock_open_account(account.pk)
    key = key or f"deposit:{encode_id(LedgerEntry.id_prefix, new_uuid())}"
    first = LedgerEntry.objects.filter(key=key).first()
    if first is not None:
        return first
    entry = _book(
        account,
        NewEntry(
            key=key,
            type="deposit",
            account_id=account.pk,
            postings=[
                PostingSpec(LedgerKind.PROMOTIONS if is_promotional(tags) else LedgerKind.CASH, None, currency, amount),
                PostingSpec(LedgerKind.PREPAID, account.pk, currency, -amount),
            ],
            at=at,
            livemode=account.livemode,
            description=notes,
            tags=tags,
            metadata=metadata or {},
            expires_at=ends_at,
        ),
    )
    events.emit(
        "balance.deposited",
        subject=entry,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=_describe(entry, amount, currency),
        reason=reason,
    )
    return entry


def _book(account: Account, new: NewEntry) -> LedgerEntry:
    """Post the entry and open the lot from which the money will be spent."""
    entry = post_entries([new])[0]
    into = new.postings[1]
    CreditLot.objects.create(
        account=account,
        entry=entry,
        currency=into.currency,
        amount=-into.amount,
        remaining=-into.amount,
        promotional=is_promotional(new.tags),
        expires_at=new.expires_at,
        created_at=new.at,
    )
    return entry


def _describe(entry: LedgerEntry, amount: int, currency: str) -> dict[str, Any]:
    return {
        "transaction_id": entry.public_id,
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
    Return what is left of every deposit whose end has come to the platform, in transactions of a few hundred.

    An account on a test clock counts by that clock. Running it twice, or twice at once, expires nothing twice. With
    `org_id` only the accounts of one organization are looked at.
    """
    total = 0
    while count := _expire_chunk(at, actor, org_id):
        total += count
    return ExpiredDeposits(lots=total)


def _due_lots(at: datetime, org_id: str | None) -> QuerySet[CreditLot]:
    clock = "account__test_clock__now_at"
    lots = CreditLot.objects.filter(
        Q(account__test_clock__isnull=True, expires_at__lte=at) | Q(**{f"{clock}__gte": F("expires_at")}),
        remaining__gt=0,
        expires_at__isnull=False,
    )
    return lots if org_id is None else lots.filter(account__org_id=org_id)


@transaction.atomic
def _expire_chunk(at: datetime, actor: Actor, org_id: str | None) -> int:
    """Expire one chunk and return how many lots it had; accounts that another transaction holds are left for later."""
    owners = set(_due_lots(at, org_id).order_by("expires_at", "id").values_list("account_id", flat=True)[:SWEEP_CHUNK])
    if not owners:
        return 0
    locked = Account.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    accounts = {
        account.pk: account for account in locked.filter(pk__in=owners).select_related("test_clock").order_by("id")
    }
    due = _due_lots(at, org_id).filter(account_id__in=accounts)
    lots = list(due.order_by("id").select_for_update(of=("self",))[:SWEEP_CHUNK])
    _post_expiry(lots, accounts_at={pk: account.clock_time or at for pk, account in accounts.items()}, actor=actor)
    return len(lots)


def _post_expiry(lots: Sequence[CreditLot], *, accounts_at: dict[Any, datetime], actor: Actor) -> None:
    entries = post_entries(
        NewEntry(
            key=f"expiry:{lot.public_id}",
            type="expiry",
            account_id=lot.account_id,
            postings=[
                PostingSpec(LedgerKind.PREPAID, lot.account_id, lot.currency, lot.remaining),
                PostingSpec(LedgerKind.PROMOTIONS, None, lot.currency, -lot.remaining),
            ],
            at=accounts_at[lot.account_id],
            livemode=lot.entry.livemode,
            description="Expired deposit",
            tags="expired",
            metadata={"lot_id": lot.public_id},
        )
        for lot in CreditLot.objects.filter(pk__in=[lot.pk for lot in lots]).select_related("entry").order_by("id")
    )
    events.emit_many(
        [
            events.NewEvent(
                type="balance.expired",
                subject=entry,
                account_id=lot.account_id,
                at=accounts_at[lot.account_id],
                actor=actor,
                data={
                    "transaction_id": entry.public_id,
                    "lot_id": lot.public_id,
                    "amount": lot.remaining,
                    "currency": lot.currency,
                },
            )
            for lot, entry in zip(lots, entries, strict=True)
        ]
    )
    CreditLot.objects.filter(pk__in=[lot.pk for lot in lots]).update(remaining=0)
