"""
Usage of running periods that may be invoiced before they end: which subscriptions ask for it, and what there is so far.

Source: policies, rule 17; contract chapter Pricing (threshold); ADR 0040.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from django.db.models import F, Q

from accounts.models import BILLABLE_STATUSES, Subscription, SubscriptionStatus
from accounts.models.subscription import ProviderType
from invoicing.calculation.billed import BilledFacts
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import ChargeFacts
from invoicing.queries.billables import Billables, DueBoundary, load_billables
from invoicing.queries.facts import BoundaryFacts, gather_facts, get_boundary
from invoicing.queries.running import load_subscriptions
from invoicing.queries.sellers import get_sellers


def list_with_threshold(
    *,
    at: datetime,
    limit: int,
    after: uuid.UUID | None = None,
    org_id: str | None = None,
    account_ids: Collection[uuid.UUID] | None = None,
    subscription_ids: Collection[uuid.UUID] | None = None,
) -> list[uuid.UUID]:
    """
    Return running subscriptions with a threshold whose period is not over, in the order of ids.

    Two queries, by index: those with one of their own, and those of accounts with one. With `account_ids`, only theirs;
    with `subscription_ids`, only those.
    """
    rows = Subscription.objects.filter(
        Q(account__test_clock__isnull=True, next_billing_at__gt=at)
        | Q(next_billing_at__gt=F("account__test_clock__now_at")),
        status__in=BILLABLE_STATUSES,
        provider_type=ProviderType.INTERNAL,
        billed_by_provider=False,
    )
    if after is not None:
        rows = rows.filter(id__gt=after)
    if org_id is not None:
        rows = rows.filter(account__org_id=org_id)
    if account_ids is not None:
        rows = rows.filter(account_id__in=list(account_ids))
    if subscription_ids is not None:
        rows = rows.filter(id__in=list(subscription_ids))
    own = rows.filter(billing_threshold__isnull=False)
    given = rows.filter(
        billing_threshold__isnull=True, account__billing_threshold__isnull=False, account__currency=F("currency")
    )
    found = [key for each in (own, given) for key in each.order_by("id").values_list("id", flat=True)[:limit]]
    return sorted(found)[:limit]


def find_past_threshold(*, subscription_ids: Sequence[uuid.UUID], at: datetime) -> list[uuid.UUID]:
    """
    Return those whose usage so far, without what was billed of it, reaches their threshold.

    Reads only, takes no lock. A fixed number of queries.
    """
    subscriptions = list(load_subscriptions().filter(id__in=subscription_ids))
    billables = load_billables(subscriptions, sellers=get_sellers([each.account for each in subscriptions]))
    times = {each.account_id: each.account.clock_time or at for each in subscriptions}
    return [gathered.boundary.subscription.id for gathered, _ in draft_interim(subscriptions, billables, times)]


def draft_interim(
    subscriptions: Sequence[Subscription],
    billables: Billables,
    times: Mapping[uuid.UUID, datetime],
    *,
    on_request: bool = False,
) -> list[tuple[BoundaryFacts, Draft]]:
    """
    Return the facts and the draft of each subscription whose threshold is reached at its account's time.

    With `on_request` whatever was used makes one, threshold or not.

    Usage only, each meter's whole quantity of the running period rated as far as it goes, less what interim invoices
    billed; no minimum, which is owed at the end. Percentages come off it; an amount off waits for the closing invoice,
    because it is one per period. The number of queries is that of `gather_facts`.
    """
    boundaries = [
        boundary
        for each in subscriptions
        if (on_request or each.threshold is not None)
        and (boundary := _cut_usage(each, times[each.account_id])) is not None
    ]
    found = []
    for gathered in gather_facts(boundaries, billables=billables) if boundaries else ():
        facts = gathered.facts
        charges = [_so_far(charge) for charge in facts.charges if charge.type == "usage" and not charge.is_late]
        discounts = [each for each in facts.discounts if each.amount_off is None]
        draft = draft_invoice(replace(facts, boundary=None, charges=tuple(charges), discounts=tuple(discounts)))
        threshold = gathered.boundary.subscription.threshold
        is_reached = threshold is not None and draft.total >= threshold
        if draft.lines and (on_request or is_reached):
            found.append((replace(gathered, facts=draft.facts, waiting=()), draft))
    return found


def _cut_usage(subscription: Subscription, now: datetime) -> DueBoundary | None:
    """Return the boundary that closes the running period, as if it opened no other; None when there is nothing yet."""
    is_running = subscription.status in BILLABLE_STATUSES and subscription.status != SubscriptionStatus.TRIALING
    due_at = subscription.next_billing_at
    if not is_running or due_at is None or due_at <= now:
        return None
    boundary = get_boundary(subscription)
    # The invoice is of now, and so are its tax rates; its usage is that of the whole period.
    return replace(boundary, opening=None, ends_at=now) if boundary.closing is not None else None


def _so_far(charge: ChargeFacts) -> ChargeFacts:
    billed = charge.billed
    return replace(charge, billed=BilledFacts("interim") if billed is None else replace(billed, kind="interim"))
