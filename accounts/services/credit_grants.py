"""
Credit given or sold to an account, taken back, and ended.

What is left of a grant is owed to the account in its ledger account `credit_grants`. Granting books it against
promotions, or cash when it was paid for; what ends or is voided goes to promotions.
Source: contract chapter Credits; ADR 0019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Account, CreditGrant, CreditGrantMeter, LedgerKind, Subscription
from accounts.queries.credit_grants import list_due_for_expiry
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account, lock_open_account
from accounts.services.approval_limits import require_second_person
from accounts.services.ledger import NewEntry, PostingSpec, post_entries
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, NotFound, ValidationFailed
from billing_site.kernel.periods import Interval, local_date
from billing_site.platform.models import Approval
from billing_site.platform.models.bulk import update_rows
from billing_site.platform.services import events
from catalog.models import Meter
from catalog.queries.meters import MeterNotFound, get_meter

GRANT_KIND = "credits.grant"
MAX_AMOUNT = 10**15
MAX_PRIORITY = 1_000_000
SWEEP_CHUNK = 200
# A grant tagged with one of these was paid for, not given away.
PAID_TAGS = frozenset({"paid", "purchased"})


class AlreadyVoided(DomainError):
    code, title, status = "already_voided", "It is void already", 409


@dataclass(frozen=True, slots=True)
class Recurring:
    """That a grant is set back to its amount every `interval`, and what of the rest then stays: minor units."""

    interval: Interval
    rollover_minimum: int = 0
    rollover_maximum: int = 0


@transaction.atomic
def grant_credit(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    name: str = "",
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: int = 0,
    eligibility: Sequence[str] = (),
    tags: str = "",
    subscription: Subscription | None = None,
    recurring: Recurring | None = None,
    metadata: dict[str, Any] | None = None,
    once_key: str = "",
    reason: str = "",
    approval: Approval | None = None,
) -> CreditGrant:
    """
    Give an account `amount` minor units of credit and return the grant.

    `eligibility` names meters (id or event name) whose usage alone it pays; `subscription` the only one it pays for.
    It was paid for when `tags` say `paid` or `purchased`, else it is promotional. A recurring grant ends with its first
    period, when the next follows. A `once_key` the account had before answers that grant and gives nothing.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises ValidationFailed: for an unknown meter, an end that is past or before the start, a rollover out of order.
    :raises InvalidState: when the account is closed.
    :raises SecondPersonNeeded: for a person above the limit, without the `approval` of another one.
    """
    currency, meters = check_terms(
        account=account, amount=amount, currency=currency, priority=priority, meters=eligibility
    )
    require_second_person(
        kind=GRANT_KIND, account=account, amount=amount, currency=currency, actor=actor, approval=approval
    )
    lock_open_account(account.pk)
    if once_key and (first := CreditGrant.objects.filter(account=account, once_key=once_key).first()):
        return first
    grant = CreditGrant(
        account=account,
        subscription=subscription,
        name=name.strip(),
        amount=amount,
        remaining=amount,
        currency=currency,
        priority=priority,
        promotional=is_given_away(tags),
        tags=tags.strip(),
        once_key=once_key,
        effective_at=effective_at or at,
        expires_at=expires_at,
        metadata=metadata or {},
        livemode=account.livemode,
        created_by=str(actor),
        created_at=at,
    )
    if recurring is not None:
        _set_recurrence(grant, recurring, account)
    _check_end(grant, at)
    save_grants([grant])
    CreditGrantMeter.objects.bulk_create([CreditGrantMeter(grant=grant, meter=meter) for meter in meters])
    events.emit_many([new_grant_event("created", grant, at=at, actor=actor, reason=reason)])
    return grant


def check_terms(
    *, account: Account, amount: int, currency: str, priority: int = 0, meters: Sequence[str] = ()
) -> tuple[str, list[Meter]]:
    """
    Return the currency in lower case and the meters named by id or event name.

    :raises AmountNotPositive, CurrencyUnsupported, ValidationFailed: as `grant_credit`.
    """
    if amount <= 0:
        raise AmountNotPositive
    if amount > MAX_AMOUNT:
        raise ValidationFailed.of("/amount", "max_value", f"At most {MAX_AMOUNT} minor units at once.")
    if abs(priority) > MAX_PRIORITY:
        raise ValidationFailed.of("/priority", "out_of_range", f"Between -{MAX_PRIORITY} and {MAX_PRIORITY}.")
    return require_currency(currency), _find_meters(account, meters)


@transaction.atomic
def void_grant(*, grant_id: UUID, at: datetime, actor: Actor, reason: str = "") -> CreditGrant:
    """
    Make what is left of a grant unusable and return it. What it paid stays paid; a recurring one is not renewed.

    :raises AlreadyVoided: when it is void. :raises NotFound: when there is none.
    """
    owner = CreditGrant.objects.filter(pk=grant_id).values_list("account_id", flat=True).first()
    if owner is None:
        raise NotFound("credit_grant")
    lock_account(owner)
    grant = CreditGrant.objects.select_for_update(of=("self",)).select_related("account").get(pk=grant_id)
    if grant.is_voided:
        raise AlreadyVoided(f"{grant.public_id} was voided by {grant.voided_by} at {grant.voided_at:%Y-%m-%d %H:%M}.")
    released = grant.remaining
    if released:
        post_entries([new_release_entry(grant, at=at, type="credit_void", description="Voided credit")])
    grant.voided_at, grant.voided_by, grant.void_reason = at, str(actor), reason.strip()
    grant.remaining, grant.released, grant.renews_at = 0, grant.released + released, None
    grant.save(update_fields=["voided_at", "voided_by", "void_reason", "remaining", "released", "renews_at"])
    event = new_grant_event("voided", grant, at=at, actor=actor, reason=reason, released=released)
    events.emit_many([event])
    return grant


@dataclass(frozen=True, slots=True)
class ExpiredCredit:
    """What one sweep ended."""

    grants: int


def expire_grants(*, at: datetime, actor: Actor = SYSTEM, org_id: str | None = None) -> ExpiredCredit:
    """
    Release what is left of every grant whose end has come, in transactions of a few hundred.

    An account on a test clock counts by that clock. Running it twice, or twice at once, ends nothing twice. With
    `org_id` only the accounts of that organization count.
    """
    total = 0
    while count := _expire_chunk(at, actor, org_id):
        total += count
    return ExpiredCredit(grants=total)


@transaction.atomic
def _expire_chunk(at: datetime, actor: Actor, org_id: str | None) -> int:
    """Expire one chunk and return how many grants it had; accounts held by another transaction are left for later."""
    owners = set(
        list_due_for_expiry(at, org_id=org_id)
        .order_by("expires_at", "id")
        .values_list("account_id", flat=True)[:SWEEP_CHUNK]
    )
    if not owners:
        return 0
    locked = Account.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    accounts = {row.pk: row for row in locked.filter(pk__in=owners).select_related("test_clock").order_by("id")}
    due = (
        list_due_for_expiry(at, org_id=org_id)
        .filter(account_id__in=accounts)
        .order_by("id")
        .select_for_update(of=("self",))
    )
    grants = list(due[:SWEEP_CHUNK])
    if not grants:
        return 0
    times = {pk: row.clock_time or at for pk, row in accounts.items()}
    release_ended(grants, times=times, actor=actor)
    return len(grants)


def release_ended(grants: Sequence[CreditGrant], *, times: Mapping[UUID, datetime], actor: Actor) -> None:
    """Release what is left of grants that ended, under their locks. `times` is when, by account."""
    left = [grant for grant in grants if grant.remaining]
    post_entries(
        new_release_entry(grant, at=times[grant.account_id], type="credit_expiry", description="Expired credit")
        for grant in left
    )
    new_events = []
    for grant in left:
        released, at = grant.remaining, times[grant.account_id]
        grant.remaining, grant.released, grant.expired_at = 0, grant.released + released, at
        new_events.append(new_grant_event("expired", grant, at=at, actor=actor, released=released))
    update_rows(left, {"remaining": "bigint", "released": "bigint", "expired_at": "timestamptz"})
    events.emit_many(new_events)


def save_grants(grants: Sequence[CreditGrant]) -> None:
    """Book new grants and write them. The number of statements does not depend on how many there are."""
    if not grants:
        return
    entries = post_entries(
        NewEntry(
            key=f"credit-grant:{grant.public_id}",
            type="credit_grant",
            account_id=grant.account_id,
            postings=[
                PostingSpec(
                    LedgerKind.PROMOTIONS if grant.promotional else LedgerKind.CASH, None, grant.currency, grant.amount
                ),
                PostingSpec(LedgerKind.CREDIT_GRANTS, grant.account_id, grant.currency, -grant.amount),
            ],
            at=grant.created_at,
            livemode=grant.livemode,
            description=grant.name or "Credit grant",
            tags=grant.tags,
            metadata={"credit_grant_id": grant.public_id},
            expires_at=grant.expires_at,
        )
        for grant in grants
    )
    for grant, entry in zip(grants, entries, strict=True):
        grant.entry = entry
    CreditGrant.objects.bulk_create(grants)


def new_release_entry(grant: CreditGrant, *, at: datetime, type: str, description: str) -> NewEntry:
    """Return the entry that takes back what is left of a grant."""
    return NewEntry(
        key=f"{type.replace('_', '-')}:{grant.public_id}",
        type=type,
        account_id=grant.account_id,
        postings=[
            PostingSpec(LedgerKind.CREDIT_GRANTS, grant.account_id, grant.currency, grant.remaining),
            PostingSpec(LedgerKind.PROMOTIONS, None, grant.currency, -grant.remaining),
        ],
        at=at,
        livemode=grant.livemode,
        description=description,
        tags=grant.tags,
        metadata={"credit_grant_id": grant.public_id},
    )


def new_grant_event(
    what: str, grant: CreditGrant, *, at: datetime, actor: Actor, reason: str = "", **more: Any
) -> events.NewEvent:
    """Return the event that tells what happened to a grant."""
    data: dict[str, Any] = {
        "id": grant.public_id,
        "name": grant.name,
        "amount": grant.amount,
        "remaining": grant.remaining,
        "currency": grant.currency,
        "tags": grant.tags,
        "priority": grant.priority,
        "promotional": grant.promotional,
        "effective_at": grant.effective_at,
        "expires_at": grant.expires_at,
        "subscription_id": grant.subscription_public_id,
        **more,
    }
    return events.NewEvent(
        type=f"credit_grant.{what}",
        subject=grant,
        account_id=grant.account_id,
        at=at,
        actor=actor,
        data=data,
        reason=reason,
    )


def is_given_away(tags: str) -> bool:
    """Tell whether nothing was paid for credit with these tags."""
    return PAID_TAGS.isdisjoint(tags.lower().replace(",", " ").split())


def _find_meters(account: Account, references: Sequence[str]) -> list[Meter]:
    found: dict[UUID, Meter] = {}
    for position, reference in enumerate(references):
        try:
            meter = get_meter(org_id=account.org_id, reference=reference)
        except MeterNotFound as error:
            raise ValidationFailed.of(f"/eligibility/{position}", "meter_not_found", error.detail) from error
        found[meter.pk] = meter
    return list(found.values())


def _set_recurrence(grant: CreditGrant, recurring: Recurring, account: Account) -> None:
    if not 0 <= recurring.rollover_minimum <= recurring.rollover_maximum <= MAX_AMOUNT:
        raise ValidationFailed.of("/rollover", "out_of_range", "A rollover has 0 <= minimum <= maximum.")
    if grant.expires_at is not None:
        raise ValidationFailed.of("/expires_at", "conflict", "A recurring grant ends with each of its periods.")
    grant.recurring_amount = grant.amount
    grant.interval, grant.interval_count = recurring.interval.unit, recurring.interval.count
    grant.anchor_date, grant.timezone = local_date(grant.effective_at, account.zone), account.timezone
    grant.rollover_minimum, grant.rollover_maximum = recurring.rollover_minimum, recurring.rollover_maximum
    recurrence = grant.recurrence
    if recurrence is not None:
        grant.expires_at = grant.renews_at = recurrence.boundary(1)


def _check_end(grant: CreditGrant, at: datetime) -> None:
    if grant.expires_at is None:
        return
    if grant.expires_at <= grant.effective_at:
        raise ValidationFailed.of("/expires_at", "before_start", "Credit ends after it begins.")
    if grant.expires_at <= at and grant.renews_at is None:
        raise ValidationFailed.of("/expires_at", "in_past", "The end must lie in the future.")
