"""
Holds: prepaid money set aside, then captured, let go, or free again when its time is over.

Locks in the order account, ledger account, hold, lot. Source: contract chapter Ledger (Holds); ADR 0021.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Account, Hold, HoldStatus, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account, lock_open_account
from accounts.services.ledger import NewEntry
from accounts.services.prepaid import InsufficientBalance, PrepaidChange, lock_balance, require_amount
from accounts.services.spending import make_legs
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.services import events

DEFAULT_LIFETIME: Final = timedelta(days=7)
SWEEP_CHUNK: Final = 200


class AmountExceedsCapturable(DomainError):
    """Member `capturable` is minor units."""

    code, title, status = "amount_exceeds_capturable", "More than was held", 422


@transaction.atomic
def create_hold(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    expires_at: datetime | None = None,
    key: str | None = None,
    description: str = "",
    metadata: dict[str, Any] | None = None,
) -> Hold:
    """
    Set `amount` minor units of the prepaid balance aside until `expires_at` (exclusive; a week unless given).

    A `key` seen before answers the first hold.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises InsufficientBalance: when less is available. :raises InvalidState: when the account is closed.
    :raises ValidationFailed: when the end does not lie in the future.
    """
    require_amount(amount)
    currency = require_currency(currency)
    ends_at = expires_at or at + DEFAULT_LIFETIME
    if ends_at <= at:
        raise ValidationFailed.of("/expires_at", "in_past", "The end must lie in the future.")
    account = lock_open_account(account.pk)
    pk = new_uuid()
    key = key or f"hold:{encode_id(Hold.id_prefix, pk)}"
    if first := Hold.objects.filter(key=key).first():
        return first
    change, balance = PrepaidChange(), lock_balance(account, currency=currency, at=at)
    change.expire(balance)
    if balance.available < amount:
        raise InsufficientBalance(available=balance.available, required=amount)
    hold = Hold.objects.create(
        id=pk,
        account=account,
        key=key,
        currency=currency,
        amount=amount,
        description=description,
        metadata=metadata or {},
        livemode=account.livemode,
        expires_at=ends_at,
        created_at=at,
    )
    change.write(actor=actor)
    events.emit("hold.created", subject=hold, account_id=account.pk, at=at, actor=actor, data=_describe(hold))
    return hold


@transaction.atomic
def capture_hold(
    *,
    hold_id: UUID,
    at: datetime,
    actor: Actor,
    amount: int | None = None,
    into: str = LedgerKind.REVENUE,
    description: str = "",
    metadata: dict[str, Any] | None = None,
    reason: str = "",
) -> Hold:
    """
    Spend the held money, or `amount` minor units of it, and release the rest. Answers the hold with its entry.

    Capturing the same amount again answers what was done the first time.
    :raises AmountNotPositive: for zero or less; :raises AmountExceedsCapturable: for more than was held.
    :raises InvalidState: unless it is pending and its end has not come.
    :raises InsufficientBalance: when usage was charged past what was held.
    :raises NotFound: if there is no such hold.
    """
    account, hold = _lock_account_of(hold_id)
    taken = hold.amount if amount is None else amount
    require_amount(taken)
    if hold.status == HoldStatus.CAPTURED and taken == hold.captured_amount:
        return hold
    _require_pending(hold, HoldStatus.CAPTURED)
    if hold.expires_at <= at:
        raise InvalidState("The end of this hold has come.", current_status=HoldStatus.EXPIRED)
    if taken > hold.amount:
        raise AmountExceedsCapturable(f"{hold.amount} were held.", capturable=hold.amount)
    change, balance = PrepaidChange(), lock_balance(account, currency=hold.currency, at=at)
    hold = _lock_hold(hold_id)
    if balance.posted < taken:
        raise InsufficientBalance(available=max(0, balance.posted), required=taken)
    entry = NewEntry(
        key=f"capture:{hold.public_id}",
        type="capture",
        account_id=account.pk,
        postings=make_legs(account.pk, taken, hold.currency, into=into),
        at=at,
        livemode=hold.livemode,
        description=description or hold.description,
        metadata={**hold.metadata, **(metadata or {}), "hold_id": hold.public_id},
    )
    data = {"hold_id": hold.public_id, "amount": taken, "currency": hold.currency}
    change.add(entry, balance.take(taken, held=True), event="balance.charged", data=data, reason=reason)
    written = change.write(actor=actor)[entry.key]
    _end(hold, HoldStatus.CAPTURED, at=at, captured=taken, entry=written)
    _emit(hold, at=at, actor=actor, reason=reason)
    return hold


@transaction.atomic
def void_hold(*, hold_id: UUID, at: datetime, actor: Actor, reason: str = "") -> Hold:
    """
    Let the held money go and return the hold.

    :raises InvalidState: unless it is pending. :raises NotFound: if there is no such hold.
    """
    _lock_account_of(hold_id)
    hold = _lock_hold(hold_id)
    _require_pending(hold, HoldStatus.VOIDED)
    _end(hold, HoldStatus.VOIDED, at=at)
    _emit(hold, at=at, actor=actor, reason=reason)
    return hold


@transaction.atomic
def expire_hold(*, hold_id: UUID, at: datetime, actor: Actor = SYSTEM) -> Hold:
    """
    Free the money of a hold whose end has come and return it.

    :raises InvalidState: unless it is pending and its end has come. :raises NotFound: if there is no such hold.
    """
    _lock_account_of(hold_id)
    hold = _lock_hold(hold_id)
    _require_pending(hold, HoldStatus.EXPIRED)
    if hold.expires_at > at:
        raise InvalidState("The end of this hold has not come.", current_status=hold.status)
    _end(hold, HoldStatus.EXPIRED, at=at)
    _emit(hold, at=at, actor=actor, reason="")
    return hold


def expire_holds(*, at: datetime, actor: Actor = SYSTEM) -> int:
    """
    Expire every pending hold whose end has come, in transactions of a few hundred, and return how many.

    An account on a test clock counts by that clock. Money past the end of its hold is free before this is run.
    """
    total, after = 0, None
    due = _due_holds(at).order_by("id").values_list("id", flat=True)
    while chunk := list((due if after is None else due.filter(id__gt=after))[:SWEEP_CHUNK]):
        total += _expire_chunk(chunk, at, actor)
        after = chunk[-1]
    return total


def _due_holds(at: datetime) -> QuerySet[Hold]:
    clock = "account__test_clock__now_at"
    return Hold.objects.filter(
        Q(account__test_clock__isnull=True, expires_at__lte=at) | Q(**{f"{clock}__gte": F("expires_at")}),
        status=HoldStatus.PENDING,
    )


@transaction.atomic
def _expire_chunk(chunk: list[UUID], at: datetime, actor: Actor) -> int:
    """Expire some holds and return how many; those of accounts that another transaction holds wait."""
    rows = Account.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    owners = Hold.objects.filter(pk__in=chunk).values("account")
    accounts = {account.pk: account for account in rows.filter(pk__in=owners).select_related("test_clock")}
    due = _due_holds(at).filter(pk__in=chunk, account__in=accounts).order_by("id")
    holds = list(due.select_for_update(of=("self",)))
    for hold in holds:
        _end(hold, HoldStatus.EXPIRED, at=accounts[hold.account_id].clock_time or at)
    events.emit_many([_make_event(hold, at=hold.ended_at or at, actor=actor) for hold in holds])
    return len(holds)


def _lock_account_of(hold_id: UUID) -> tuple[Account, Hold]:
    """Lock the hold's account. The hold comes as it is then; its own row is locked later, in its turn."""
    owner = Hold.objects.filter(pk=hold_id).values_list("account", flat=True).first()
    if owner is None:
        raise NotFound("hold")
    account = lock_account(owner)
    return account, Hold.objects.select_related("entry").get(pk=hold_id)


def _lock_hold(hold_id: UUID) -> Hold:
    return Hold.objects.select_for_update().get(pk=hold_id)


def _require_pending(hold: Hold, status: HoldStatus) -> None:
    if not hold.may_become(status):
        raise InvalidState(f"The hold is {hold.status}; that is final.", current_status=hold.status)


def _end(hold: Hold, status: HoldStatus, *, at: datetime, captured: int = 0, entry: LedgerEntry | None = None) -> None:
    hold.status, hold.ended_at, hold.removal_id = status, at, new_uuid()
    hold.captured_amount, hold.entry = captured, entry
    hold.save(update_fields=["status", "ended_at", "removal_id", "captured_amount", "entry"])


def _describe(hold: Hold) -> dict[str, Any]:
    return {
        "status": hold.status,
        "amount": hold.amount,
        "captured_amount": hold.captured_amount,
        "currency": hold.currency,
        "expires_at": hold.expires_at,
        "description": hold.description,
    }


def _make_event(hold: Hold, *, at: datetime, actor: Actor, reason: str = "") -> events.NewEvent:
    return events.NewEvent(
        type=f"hold.{hold.status}",
        subject=hold,
        account_id=hold.account_id,
        at=at,
        actor=actor,
        data=_describe(hold),
        previous={"status": HoldStatus.PENDING},
        reason=reason,
    )


def _emit(hold: Hold, *, at: datetime, actor: Actor, reason: str) -> None:
    events.emit_many([_make_event(hold, at=at, actor=actor, reason=reason)])
