"""
Credit that pays: burned under locks and booked, or only tried.

Both use one function on the same facts, so a preview and what it announces cannot disagree.
Source: contract chapter Credits; policies, rules 22 and 23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Account, CreditBurn, CreditGrant, CreditGrantMeter, LedgerEntry, LedgerKind
from accounts.models.ledger import ACCOUNT_KINDS
from accounts.queries.credit_grants import list_due_for_renewal, list_spendable, list_usable
from accounts.services.account_locks import lock_account
from accounts.services.credit_grants import new_grant_event, release_ended, save_grants
from accounts.services.ledger import PostingSpec, post_entry
from accounts.terms.burning import Allocation, Burn, Charge, burn, list_renewals
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.platform.models.bulk import update_rows
from billing_site.platform.services import events

SWEEP_BATCH = 500


@dataclass(frozen=True, slots=True)
class BurnedCredit:
    """What credit paid. `entry` is None when it paid nothing."""

    burn: Burn
    entry: LedgerEntry | None


def preview_burn(*, account: Account, charges: Sequence[Charge], at: datetime) -> Burn:
    """
    Return what `burn_credits` would answer at `at`, writing and locking nothing.

    A recurring grant that is to be set back by then appears under the id of its present period.
    """
    usable = list_usable(list_spendable(account_id=account.pk), at=at)
    return burn([facts for _, facts in usable], charges, at=at)


@transaction.atomic
def burn_credits(
    *,
    account: Account,
    charges: Sequence[Charge],
    key: str,
    at: datetime,
    actor: Actor,
    settles: str = LedgerKind.RECEIVABLE,
    description: str = "",
) -> BurnedCredit:
    """
    Let the account's credit pay the charges, as one ledger entry, and return what it paid and what stays open.

    Give charges in the order they are to be paid, tax last. `settles` is the pot the credit goes to: what the account
    owes, or a pot of the platform such as revenue. A `key` seen before answers the first burn and burns nothing, also
    when that one was undone since: paying again takes a new key.
    :raises ValueError: for a charge below zero, or two with one key.
    """
    locked = lock_account(account.pk)
    entry_key = f"burn:{key}"
    first = LedgerEntry.objects.filter(key=entry_key).first()
    if first is not None:
        return BurnedCredit(_read_burn(first, charges), first)
    renew_account_grants(account=locked, at=at, actor=actor)
    grants = list(list_spendable(account_id=account.pk).select_for_update(of=("self",)))
    result = burn([facts for _, facts in list_usable(grants, at=at)], charges, at=at)
    if not result.allocations:
        return BurnedCredit(result, None)
    by_id = {grant.public_id: grant for grant in grants}
    entry = post_entry(
        key=entry_key,
        type="credit_burn",
        account_id=account.pk,
        postings=_make_postings(result, by_id, settles),
        at=at,
        livemode=locked.livemode,
        description=description or "Paid with credit",
    )
    _write_burns(result, charges, by_id, entry, at=at, actor=actor)
    return BurnedCredit(result, entry)


def renew_grants(*, at: datetime, actor: Actor = SYSTEM, org_id: str | None = None) -> int:
    """
    Set back every recurring grant whose next period began, each account in its own transaction; return how many rows.

    An account on a test clock counts by that clock. Running it twice, or twice at once, renews nothing twice.
    With `org_id` only the accounts of that organization count.
    """
    due = list_due_for_renewal(at, org_id=org_id).order_by("account_id").values_list("account_id", flat=True).distinct()
    opened, after = 0, None
    while owners := list((due if after is None else due.filter(account_id__gt=after))[:SWEEP_BATCH]):
        opened += sum(_renew_if_free(pk, at, actor) for pk in owners)
        after = owners[-1]
    return opened


@transaction.atomic
def _renew_if_free(account_id: UUID, at: datetime, actor: Actor) -> int:
    rows = Account.objects.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("test_clock")
    account = rows.filter(pk=account_id).first()
    if account is None:  # another transaction has it and renews before it burns
        return 0
    return renew_account_grants(account=account, at=account.clock_time or at, actor=actor)


def renew_account_grants(*, account: Account, at: datetime, actor: Actor) -> int:
    """Set back the recurring grants of one account; see `renew_locked_grants`."""
    return renew_locked_grants(times={account.pk: at}, actor=actor)


def renew_locked_grants(*, times: Mapping[UUID, datetime], actor: Actor) -> int:
    """
    Set back the recurring grants of accounts whose rows the caller has locked; return how many periods were opened.

    `times` is now, by account. Each period is a grant of its own: the one before ends, what rolls over begins the next.
    Periods that were missed are opened one after the other. Source: policies, rule 23.
    """
    if not times:
        return 0
    opened, latest = 0, max(times.values())
    while due := [
        grant
        for grant in CreditGrant.objects.filter(account_id__in=times, renews_at__lte=latest)
        .prefetch_related("limits__meter")
        .order_by("id")
        .select_for_update(of=("self",))
        if grant.renews_at is not None and grant.renews_at <= times[grant.account_id]
    ]:
        renewed = [_make_next(grant, at=times[grant.account_id], actor=actor) for grant in due]
        for grant in due:
            grant.renews_at = None
        CreditGrant.objects.filter(pk__in=[grant.pk for grant in due]).update(renews_at=None)
        release_ended(due, times=times, actor=actor)
        save_grants(renewed)
        _copy_limits(due, renewed)
        events.emit_many(
            [
                new_grant_event(
                    "created",
                    grant,
                    at=grant.created_at,
                    actor=actor,
                    renewed_from=before.public_id,
                    rolled_over=grant.rolled_over,
                )
                for before, grant in zip(due, renewed, strict=True)
            ]
        )
        opened += len(renewed)
    return opened


def _make_next(grant: CreditGrant, *, at: datetime, actor: Actor) -> CreditGrant:
    recurrence = grant.recurrence
    if recurrence is None:
        raise TypeError(f"{grant.public_id} does not recur")
    period = list_renewals(recurrence, index=grant.period_index, rest=grant.remaining, at=at)[0]
    return CreditGrant(
        account_id=grant.account_id,
        subscription_id=grant.subscription_id,
        name=grant.name,
        amount=period.amount,
        remaining=period.amount,
        currency=grant.currency,
        priority=grant.priority,
        promotional=True,
        tags=grant.tags,
        effective_at=period.start,
        expires_at=period.end,
        renews_at=period.end,
        interval=grant.interval,
        interval_count=grant.interval_count,
        anchor_date=grant.anchor_date,
        timezone=grant.timezone,
        period_index=period.index,
        recurring_amount=grant.recurring_amount,
        rollover_minimum=grant.rollover_minimum,
        rollover_maximum=grant.rollover_maximum,
        rolled_over=period.rolled_over,
        renewed_from=grant,
        metadata=grant.metadata,
        livemode=grant.livemode,
        created_by=str(actor),
        created_at=at,
    )


def _copy_limits(before: Sequence[CreditGrant], after: Sequence[CreditGrant]) -> None:
    CreditGrantMeter.objects.bulk_create(
        CreditGrantMeter(grant=new, meter=limit.meter)
        for old, new in zip(before, after, strict=True)
        for limit in old.limits.all()
    )


def _make_postings(result: Burn, grants: dict[str, CreditGrant], settles: str) -> list[PostingSpec]:
    """Return the legs of a burn: the account's credit shrinks, and so does what it owes."""
    totals: dict[str, int] = {}
    owner = next(iter(grants.values())).account_id
    for allocation in result.allocations:
        currency = grants[allocation.grant].currency
        totals[currency] = totals.get(currency, 0) + allocation.amount
    other = owner if settles in ACCOUNT_KINDS else None
    return [
        leg
        for currency, amount in totals.items()
        for leg in (
            PostingSpec(LedgerKind.CREDIT_GRANTS, owner, currency, amount),
            PostingSpec(settles, other, currency, -amount),
        )
    ]


def _write_burns(
    result: Burn,
    charges: Sequence[Charge],
    grants: dict[str, CreditGrant],
    entry: LedgerEntry,
    *,
    at: datetime,
    actor: Actor,
) -> None:
    meters = {charge.key: charge.meter or "" for charge in charges}
    touched: dict[str, int] = {}
    for part in result.allocations:
        grants[part.grant].remaining -= part.amount
        touched[part.grant] = touched.get(part.grant, 0) + part.amount
    CreditBurn.objects.bulk_create(
        CreditBurn(
            grant=grants[part.grant],
            entry=entry,
            charge=part.charge,
            meter=meters[part.charge],
            amount=part.amount,
            created_at=at,
        )
        for part in result.allocations
    )
    changed = [grants[name] for name in touched]
    update_rows(changed, {"remaining": "bigint"})
    events.emit_many(
        [
            new_grant_event(
                "burned", grant, at=at, actor=actor, burned=touched[grant.public_id], transaction_id=entry.public_id
            )
            for grant in changed
        ]
    )


def _read_burn(entry: LedgerEntry, charges: Sequence[Charge]) -> Burn:
    """Return what an earlier burn paid, and what that leaves of the charges."""
    rows = CreditBurn.objects.filter(entry=entry).select_related("grant").order_by("id")
    parts = tuple(Allocation(row.grant.public_id, row.charge, row.amount) for row in rows)
    rest = {charge.key: charge.amount for charge in charges}
    for part in parts:
        rest[part.charge] = rest.get(part.charge, part.amount) - part.amount
    return Burn(parts, rest)
