"""Credit as accounts see it: what they hold, what is usable now, and under which tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet

from accounts.models import Account, CreditGrant
from accounts.models.credit_grant import INCLUDED_KEY
from accounts.terms.burning import BurnableGrant, is_usable, list_renewals
from billing_site.kernel.errors import NotFound

UNTAGGED = "other"


def list_grants(
    accounts: QuerySet[Account], *, at: datetime, active: bool | None = None, tags: str = ""
) -> QuerySet[CreditGrant]:
    """Return the grants of `accounts`, spent and void ones included; `active` keeps the usable ones, or the others."""
    found = with_details(CreditGrant.objects.filter(account__in=accounts.order_by()))
    if tags:
        found = found.filter(tags=tags)
    if active is None:
        return found
    usable = Q(voided_at__isnull=True, remaining__gt=0, effective_at__lte=at) & (
        Q(expires_at__isnull=True) | Q(expires_at__gt=at)
    )
    return found.filter(usable) if active else found.exclude(usable)


def with_details(grants: QuerySet[CreditGrant]) -> QuerySet[CreditGrant]:
    """Load account, subscription and meters."""
    return grants.select_related("account__test_clock", "subscription").prefetch_related("limits__meter")


def get_grant(accounts: QuerySet[Account], reference: str) -> CreditGrant:
    """
    Return a grant of one of `accounts` by public id.

    :raises NotFound: when there is none.
    """
    key = CreditGrant.parse_id(reference)
    rows = with_details(CreditGrant.objects.filter(account__in=accounts.order_by()))
    found = None if key is None else rows.filter(pk=key).first()
    if found is None:
        raise NotFound("credit_grant")
    return found


def list_spendable(*, account_id: UUID) -> QuerySet[CreditGrant]:
    """Return the grants that may pay now or later: something is left, or another period follows."""
    rows = CreditGrant.objects.filter(account_id=account_id, voided_at__isnull=True)
    return rows.filter(Q(remaining__gt=0) | Q(renews_at__isnull=False)).prefetch_related("limits__meter").order_by("id")


def list_usable(grants: Iterable[CreditGrant], *, at: datetime) -> list[tuple[CreditGrant, BurnableGrant]]:
    """
    Return which of the grants can pay at `at`, as they stand then.

    A recurring grant whose next period began counts as set back already, so that looking never depends on the sweep.
    """
    found = []
    for grant in grants:
        facts = grant.as_burnable()
        recurrence = grant.recurrence
        if grant.renews_at is not None and recurrence is not None and grant.renews_at <= at:
            last = list_renewals(recurrence, index=grant.period_index, rest=grant.remaining, at=at)[-1]
            facts = grant.as_burnable(
                remaining=last.amount, effective_at=last.start, expires_at=last.end, created_at=at, promotional=True
            )
        if is_usable(facts, at):
            found.append((grant, facts))
    return found


@dataclass(frozen=True, slots=True)
class CreditAvailable:
    """Usable credit in one currency, minor units."""

    currency: str
    available: int


def list_available(*, account: Account, at: datetime) -> list[CreditAvailable]:
    """Return the credit usable at `at` per currency, by currency; the account's own is always there."""
    totals = {account.currency: 0}
    for _, facts in list_usable(list_spendable(account_id=account.pk), at=at):
        totals[facts.currency] = totals.get(facts.currency, 0) + facts.remaining
    return [CreditAvailable(currency, totals[currency]) for currency in sorted(totals)]


@dataclass(frozen=True, slots=True)
class CreditGroup:
    """Usable credit under one tag in one currency, minor units. `expires_at` is the earliest end in the group."""

    tag: str
    currency: str
    cents: int
    expires_at: datetime | None


def list_by_tag(*, account: Account, at: datetime) -> list[CreditGroup]:
    """
    Return the credit usable at `at` per tag and currency; `other` is what has no tag.

    Credit with several tags counts once, under the first. Source: contract chapter Credits.
    """
    sums: dict[tuple[str, str], int] = {}
    ends: dict[tuple[str, str], datetime] = {}
    for grant, facts in list_usable(list_spendable(account_id=account.pk), at=at):
        key = (first_tag(grant.tags), facts.currency)
        sums[key] = sums.get(key, 0) + facts.remaining
        if facts.expires_at is not None:
            ends[key] = min(ends.get(key, facts.expires_at), facts.expires_at)
    return [
        CreditGroup(tag, currency, sums[tag, currency], ends.get((tag, currency))) for tag, currency in sorted(sums)
    ]


def first_tag(tags: str) -> str:
    """Return the first of the tags (separated by commas or spaces), or `other`."""
    return next(iter(tags.replace(",", " ").split()), UNTAGGED)


def list_due_for_expiry(at: datetime, *, org_id: str | None = None) -> QuerySet[CreditGrant]:
    """
    Return grants that ended with something left, of all accounts or those of one organization.

    An account on a test clock counts by that clock. Credit that came with a period of a plan waits for the bill of that
    period, which it may still pay.
    """
    billed = Q(subscription__next_billing_at__isnull=True) | Q(subscription__next_billing_at__gt=F("expires_at"))
    return _of_organization(org_id).filter(
        ~Q(once_key__startswith=INCLUDED_KEY) | billed,
        _has_come("expires_at", at),
        remaining__gt=0,
        expires_at__isnull=False,
        renews_at__isnull=True,
    )


def list_due_for_renewal(at: datetime, *, org_id: str | None = None) -> QuerySet[CreditGrant]:
    """
    Return recurring grants whose next period began, of all accounts or those of one organization.

    An account on a test clock counts by that clock.
    """
    return _of_organization(org_id).filter(_has_come("renews_at", at), renews_at__isnull=False)


def _of_organization(org_id: str | None) -> QuerySet[CreditGrant]:
    return CreditGrant.objects.all() if org_id is None else CreditGrant.objects.filter(account__org_id=org_id)


def _has_come(column: str, at: datetime) -> Q:
    return Q(**{"account__test_clock__isnull": True, f"{column}__lte": at}) | Q(
        account__test_clock__now_at__gte=F(column)
    )
