"""
Credit that comes back because what it paid was undone, as when an invoice is voided.

Source: contract chapter Credits; ADR 0019.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import CreditBurn, CreditGrant, LedgerEntry, LedgerKind
from accounts.services.account_locks import lock_account
from accounts.services.credit_grants import new_grant_event
from accounts.services.ledger import NewEntry, PostingSpec, post_entries, reverse_entry
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.platform.models.bulk import update_rows
from billing_site.platform.services import events


@dataclass(frozen=True, slots=True)
class RestoredCredit:
    """Minor units that can be used again, and those that could not because their grant ended or was voided since."""

    entry: LedgerEntry
    restored: int
    released: int


@transaction.atomic
def restore_burn(*, key: str, at: datetime, actor: Actor, reason: str = "") -> RestoredCredit:
    """
    Undo the burn with this `key` and return what came of it; doing it again changes nothing and answers the same.

    Each grant gets back what it paid. What belongs to a grant that is void or over goes to promotions instead.
    :raises NotFound: when nothing was burned under the key.
    """
    burned = LedgerEntry.objects.filter(key=f"burn:{key}", account__isnull=False).first()
    if burned is None or burned.account_id is None:
        raise NotFound("credit_burn")
    lock_account(burned.account_id)
    parts = list(CreditBurn.objects.filter(entry=burned).order_by("id"))
    done = CreditBurn.objects.filter(reverses__in=parts).select_related("entry")
    if done:
        return _read_restored(done[0].entry, parts)
    totals: dict[UUID, int] = {}
    for part in parts:
        totals[part.grant_id] = totals.get(part.grant_id, 0) + part.amount
    rows = CreditGrant.objects.filter(pk__in=totals).select_for_update(of=("self",)).order_by("id")
    grants = list(rows)
    reversal = reverse_entry(entry=burned, at=at, description=reason.strip() or "Credit given back")
    CreditBurn.objects.bulk_create(
        CreditBurn(
            grant_id=part.grant_id,
            entry=reversal,
            charge=part.charge,
            meter=part.meter,
            amount=-part.amount,
            reverses=part,
            created_at=at,
        )
        for part in parts
    )
    over = [grant for grant in grants if grant.is_voided or grant.is_ended(at)]
    post_entries(_release(grant, totals[grant.pk], reversal, at) for grant in over)
    for grant in grants:
        if grant in over:
            grant.released += totals[grant.pk]
        else:
            grant.remaining += totals[grant.pk]
    update_rows(grants, {"remaining": "bigint", "released": "bigint"})
    events.emit_many(
        [
            new_grant_event(
                "restored",
                grant,
                at=at,
                actor=actor,
                reason=reason,
                restored=0 if grant in over else totals[grant.pk],
                released=totals[grant.pk] if grant in over else 0,
                transaction_id=reversal.public_id,
            )
            for grant in grants
        ]
    )
    return _read_restored(reversal, parts)


def _release(grant: CreditGrant, amount: int, reversal: LedgerEntry, at: datetime) -> NewEntry:
    return NewEntry(
        key=f"credit-release:{reversal.public_id}:{grant.public_id}",
        type="credit_expiry",
        account_id=grant.account_id,
        postings=[
            PostingSpec(LedgerKind.CREDIT_GRANTS, grant.account_id, grant.currency, amount),
            PostingSpec(LedgerKind.PROMOTIONS, None, grant.currency, -amount),
        ],
        at=at,
        livemode=grant.livemode,
        description="Credit that was over when it came back",
        tags=grant.tags,
        metadata={"credit_grant_id": grant.public_id, "amount": amount},
    )


def _read_restored(reversal: LedgerEntry, parts: list[CreditBurn]) -> RestoredCredit:
    """Return how a reversal ended, from what was booked."""
    prefix = f"credit-release:{reversal.public_id}:"
    booked = LedgerEntry.objects.filter(key__startswith=prefix).values_list("metadata", flat=True)
    released = sum(int(metadata["amount"]) for metadata in booked)
    return RestoredCredit(reversal, sum(part.amount for part in parts) - released, released)
