"""Negotiated prices as billing reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import Account, PriceOverride
from catalog.pricing.terms import ZERO, PriceOptions, PriceTerms


@dataclass(frozen=True, slots=True)
class Overrides:
    """The negotiated prices of many accounts, by account and lookup key, the newest first."""

    rows: Mapping[tuple[UUID, str], Sequence[PriceOverride]]

    def apply(self, account_id: UUID, terms: PriceTerms, *, at: datetime) -> PriceTerms:
        """Return what the account pays for this price in a period that starts at `at`."""
        for row in self.rows.get((account_id, terms.lookup_key), ()) if self.rows else ():
            if row.effective_from <= at and (row.effective_until is None or at < row.effective_until):
                return override_terms(terms, row)
        return terms


def override_terms(terms: PriceTerms, row: PriceOverride) -> PriceTerms:
    """Return a plan's price with its amounts replaced by negotiated ones. What it is for stays."""
    return replace(
        terms,
        model=row.model,
        unit_amount=ZERO if row.unit_amount is None else row.unit_amount,
        options=PriceOptions.from_dict(row.options),
        origin=row.public_id,
    )


def load_overrides(account_ids: Collection[UUID]) -> Overrides:
    """Return all negotiated prices of the accounts. One query."""
    rows: dict[tuple[UUID, str], list[PriceOverride]] = defaultdict(list)
    for row in PriceOverride.objects.filter(account_id__in=list(account_ids)).order_by("-effective_from", "-id"):
        rows[row.account_id, row.lookup_key].append(row)
    return Overrides(dict(rows))


def list_price_overrides(
    *, account: Account, at: datetime, lookup_key: str = "", active: bool | None = None
) -> QuerySet[PriceOverride]:
    """Return what was agreed with the account; `active` is whether a period that starts `at` has it."""
    rows = PriceOverride.objects.filter(account=account).select_related("account")
    if lookup_key:
        rows = rows.filter(lookup_key=lookup_key)
    if active is None:
        return rows
    in_force = Q(effective_from__lte=at) & (Q(effective_until__isnull=True) | Q(effective_until__gt=at))
    return rows.filter(in_force) if active else rows.exclude(in_force)
