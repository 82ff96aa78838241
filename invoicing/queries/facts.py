"""
Facts for the calculation, gathered for many subscriptions at once with a fixed number of queries.

Source: contract chapter Renewal and cycle; policies.md 5 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import cast

from accounts.models import Subscription, SubscriptionItem, SubscriptionStatus
from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period, billing_period
from catalog.pricing.usage import Usage
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource, ShareFacts
from invoicing.models import Seller
from invoicing.queries.billables import Billable, Billables, DueBoundary
from metering.queries.measuring import MeasuredUsage, MeasureRequest, measure_usage


def get_due_boundary(subscription: Subscription, *, now: datetime) -> DueBoundary | None:
    """Return the boundary that is to be billed by `now`, or None when nothing is due."""
    if subscription.next_billing_at is None or subscription.next_billing_at > now:
        return None
    return get_boundary(subscription)


def get_boundary(subscription: Subscription) -> DueBoundary:
    """
    Return the next boundary of `subscription`, due or not. At the first one of a trial nothing is closed.

    A day that a zone skipped (Samoa had no 30 December 2011) is a period without time: nobody is billed for it.
    """
    number = subscription.next_boundary
    before = number - 1
    while before >= 0 and not _get_period(subscription, before).duration:
        before -= 1
    closing = _get_period(subscription, before) if before >= 0 else None
    ends = subscription.cancel_at_period_end and (number > 0 or subscription.status == SubscriptionStatus.TRIALING)
    if ends:
        return DueBoundary(subscription, number, closing, None, number + 1)
    after = number
    while not (opening := _get_period(subscription, after)).duration:
        after += 1
    return DueBoundary(subscription, number, closing, opening, after + 1)


def cut_boundary(subscription: Subscription, *, at: datetime) -> DueBoundary:
    """Return the boundary of a subscription that ends at `at`, before its next one: it closes what has passed."""
    boundary = get_boundary(subscription)
    whole = boundary.closing
    if whole is None or at <= whole.start:
        return replace(boundary, closing=None, opening=None, ends_at=at)
    return replace(boundary, closing=Period(whole.start, at), opening=None, whole=whole, ends_at=at)


def _get_period(subscription: Subscription, number: int) -> Period:
    return billing_period(subscription.anchor_date, subscription.billing_interval, number, subscription.zone)


@dataclass(frozen=True, slots=True)
class BoundaryFacts:
    """The facts of one boundary, and the items (perhaps not stored yet) that its charges belong to, by public id."""

    boundary: DueBoundary
    facts: InvoiceFacts
    items: dict[str, SubscriptionItem]


def gather_facts(
    boundaries: Sequence[DueBoundary], *, billables: Billables, sellers: Mapping[str, Seller]
) -> list[BoundaryFacts]:
    """
    Return the facts of each boundary, in the same order. At most three queries, all for usage.

    `sellers` is by organization.
    """
    listed = [(boundary, billables.list_for(boundary)) for boundary in boundaries]
    usage = [
        MeasureRequest(boundary.subscription.account_id, each.item.meter_id, each.period, each.terms)
        for boundary, found in listed
        for each in found
        if each.type == "usage" and each.item.meter_id is not None
    ]
    measured = iter(measure_usage(usage))
    return [
        BoundaryFacts(
            boundary,
            InvoiceFacts(
                currency=boundary.subscription.currency,
                timezone=boundary.subscription.timezone,
                boundary=boundary.number,
                rounding=cast(RoundingMode, sellers[boundary.subscription.account.org_id].rounding),
                charges=tuple(_charge(each, next(measured) if each.type == "usage" else None) for each in found),
            ),
            {each.item.public_id: each.item for each in found},
        )
        for boundary, found in listed
    ]


def _charge(billable: Billable, measured: MeasuredUsage | None) -> ChargeFacts:
    item, share = billable.item, billable.share
    if measured is None:
        usage, source = Usage(Decimal(item.quantity)), QuantitySource("item")
    else:
        usage = measured.usage
        source = QuantitySource("usage", measured.event_count, measured.last_recorded_at)
    return ChargeFacts(
        type=billable.type,
        item_id=item.public_id,
        plan_version_id=billable.plan_version_id,
        plan_id=billable.plan_id,
        plan_name=billable.plan_name,
        price=billable.terms,
        usage=usage,
        period=billable.period,
        source=source,
        meter_name=item.meter.display_name if item.meter is not None else "",
        share=None if share is None else ShareFacts(share.numerator, share.denominator, share.describe()),
    )


def settle_boundary(boundary: DueBoundary) -> bool:
    """
    Move the subscription past `boundary`, in memory only, and tell whether it goes on.

    A trial that is over becomes active; one that is set to cancel ends at the boundary.
    Source: contract chapter Renewal and cycle, steps 2 and 5.
    """
    subscription = boundary.subscription
    if boundary.opening is None:
        subscription.status = SubscriptionStatus.CANCELED
        end = boundary.closing.end if boundary.closing is not None else subscription.current_period_end
        subscription.ended_at = boundary.ends_at or end
        subscription.next_billing_at = None
        return False
    if subscription.status == SubscriptionStatus.TRIALING:
        subscription.status = SubscriptionStatus.ACTIVE
    if subscription.pending_plan_version is not None:
        subscription.plan_version = subscription.pending_plan_version
        subscription.pending_plan_version = None
    subscription.current_period_start = boundary.opening.start
    subscription.current_period_end = boundary.opening.end
    subscription.next_boundary = boundary.next_number
    subscription.next_billing_at = boundary.opening.end
    return True
