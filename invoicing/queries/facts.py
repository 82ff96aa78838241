"""
Facts for the calculation, gathered for many subscriptions at once with a fixed number of queries.

Source: contract chapter Renewal and cycle; policies.md 5 to 7.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from accounts.models import Account, Subscription, SubscriptionDiscount, SubscriptionItem, SubscriptionStatus
from accounts.terms.alignment import open_period
from accounts.terms.cycles import Cycle
from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period, local_date
from invoicing.calculation.centers import CenterFacts
from invoicing.calculation.discounts import DiscountFacts
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource
from invoicing.models import PendingCharge
from invoicing.queries.billables import Billable, Billables, DueBoundary
from invoicing.queries.billed_usage import BilledBefore, LateCharge, find_billed_usage
from invoicing.queries.centers import load_center_facts
from invoicing.queries.charges import UsedFacts, make_charge_facts
from invoicing.queries.pending_charges import map_items, read_charge
from metering.queries.measuring import MeasureRequest, measure_usage
from metering.stores import CenterRequest


def get_due_boundary(subscription: Subscription, *, now: datetime) -> DueBoundary | None:
    """Return the boundary that is to be billed by `now`, or None when nothing is due."""
    if subscription.next_billing_at is None or subscription.next_billing_at > now:
        return None
    return get_boundary(subscription)


def get_boundary(subscription: Subscription) -> DueBoundary:
    """
    Return the next boundary of `subscription`, due or not: it closes the running period and opens the next one.

    At the first one the running period itself is billed in advance; a trial closes nothing. The next period begins
    where the running one ends and reaches to the boundary of the cycle after it, so that a day that a zone skipped
    (Samoa had no 30 December 2011) is billed to nobody.
    """
    number, current = subscription.next_boundary, subscription.current_period
    if subscription.bills_at_start:
        return DueBoundary(subscription, number, None, current, subscription.cycle)
    closing = None if subscription.status == SubscriptionStatus.TRIALING else current
    if subscription.cancel_at_period_end:
        return DueBoundary(subscription, number, closing, None, subscription.cycle)
    cycle = subscription.next_cycle
    opening = open_period(cycle=cycle, day=local_date(current.end, cycle.zone)).first
    return DueBoundary(subscription, number, closing, opening, cycle)


def cut_boundary(subscription: Subscription, *, at: datetime) -> DueBoundary:
    """Return the boundary of a subscription that ends at `at`, before its next one: it closes what has passed."""
    boundary = get_boundary(subscription)
    whole = boundary.closing
    if whole is None or at <= whole.start:
        return replace(boundary, closing=None, opening=None, ends_at=at, used_until=at)
    cut = Period(whole.start, at)
    return replace(boundary, closing=cut, opening=None, whole=None if cut == whole else whole, ends_at=at)


def advance_boundary(subscription: Subscription, *, at: datetime) -> DueBoundary:
    """Return the next boundary, billed at `at`, ahead of its time: usage so far is billed with it."""
    boundary = get_boundary(subscription)
    return replace(boundary, used_until=at if boundary.closing is not None else None)


NOTHING_BILLED: Final = BilledBefore()


@dataclass(frozen=True, slots=True)
class BoundaryFacts:
    """
    The facts of one boundary, and the items (perhaps not stored yet) that its charges belong to, by public id.

    `waiting` are the charges among them that were left for this invoice.
    """

    boundary: DueBoundary
    facts: InvoiceFacts
    items: dict[str, SubscriptionItem]
    waiting: tuple[PendingCharge, ...] = ()


def gather_facts(boundaries: Sequence[DueBoundary], *, billables: Billables) -> list[BoundaryFacts]:
    """
    Return the facts of each boundary, in the same order.

    At most three queries, all for usage, and two more when accounts want their lines split by cost center. Two more
    when past periods are looked at, at the first boundary of a subscription; see `find_billed_usage`.
    """
    listed = [(boundary, billables.list_for(boundary)) for boundary in boundaries]
    before = find_billed_usage(boundaries, billables)
    usage = [
        (account, MeasureRequest(account.id, each.item.meter_id, each.period, each.terms))
        for account, found in ((boundary.subscription.account, found) for boundary, found in listed)
        for each in found
        if each.type == "usage" and each.item.meter_id is not None
    ]
    late = [(boundary, each) for boundary in boundaries for each in _list_late(boundary, before)]
    again = [
        (
            boundary.subscription.account,
            MeasureRequest(boundary.subscription.account_id, meter_id, each.facts.period, each.facts.price),
        )
        for boundary, each in late
        if (meter_id := each.item.meter_id) is not None
    ]
    everything = [*usage, *again]
    measured = measure_used(everything)
    used, came = iter(measured[: len(usage)]), measured[len(usage) :]
    charged = _charge_late([each for _, each in late], came)
    return [
        _gather(
            boundary,
            found,
            used,
            billables,
            before=before.get(boundary.subscription.id, NOTHING_BILLED),
            late=charged.get(boundary.subscription.id, ()),
        )
        for boundary, found in listed
    ]


def _list_late(boundary: DueBoundary, before: Mapping[UUID, BilledBefore]) -> Sequence[LateCharge]:
    found = before.get(boundary.subscription.id)
    return found.late if found is not None else ()


def _charge_late(
    late: Sequence[LateCharge], used: Sequence[UsedFacts]
) -> dict[UUID, list[tuple[SubscriptionItem, ChargeFacts]]]:
    """Return what came late, where the usage is not what was billed, by subscription."""
    found: dict[UUID, list[tuple[SubscriptionItem, ChargeFacts]]] = defaultdict(list)
    for each, (measured, centers) in zip(late, used, strict=True):
        # Single events of an old period may have left the database; what is left of them is no smaller quantity.
        is_whole = not each.facts.price.needs_events or measured.event_count == each.counted.event_count
        if is_whole and measured.usage != each.facts.usage:
            # Where everything was taken back nothing is measured, but the time of it is known.
            recorded_at = measured.last_recorded_at or each.counted.last_recorded_at
            source = QuantitySource("usage", measured.event_count, recorded_at)
            facts = replace(each.facts, usage=measured.usage, source=source, centers=centers)
            found[each.item.subscription_id].append((each.item, facts))
    return found


def measure_used(usage: Sequence[tuple[Account, MeasureRequest]]) -> list[UsedFacts]:
    """Return what was used, and by whom where the account wants its lines split, in the same order. Five queries."""
    return list(zip(measure_usage([request for _, request in usage]), _find_centers(usage), strict=True))


def _find_centers(usage: Sequence[tuple[Account, MeasureRequest]]) -> list[tuple[CenterFacts, ...]]:
    """Return who used what, in the same order; nothing for accounts that do not want their lines split."""
    asked = [(request, account.split_by_cost_center) for account, request in usage]
    split = [CenterRequest(each.account_id, each.meter_id, each.period) for each, wanted in asked if wanted]
    centers = iter(load_center_facts(split) if split else ())
    return [next(centers) if wanted else () for _, wanted in asked]


def _gather(
    boundary: DueBoundary,
    found: Sequence[Billable],
    used: Iterator[UsedFacts],
    billables: Billables,
    *,
    before: BilledBefore,
    late: Sequence[tuple[SubscriptionItem, ChargeFacts]],
) -> BoundaryFacts:
    subscription = boundary.subscription
    waiting = billables.waiting.list_for(subscription)
    charges = [make_charge_facts(each, next(used) if each.type == "usage" else None) for each in found]
    if before.running:
        charges = [
            replace(charge, billed=before.running.get((each.item.id, each.period.start)))
            if each.type == "usage"
            else charge
            for each, charge in zip(found, charges, strict=True)
        ]
    charges += [read_charge(each) for each in waiting]
    charges += [charge for _, charge in late]
    account, seller = subscription.account, billables.sellers.of(subscription.account)
    return BoundaryFacts(
        boundary,
        InvoiceFacts(
            currency=subscription.currency,
            timezone=subscription.timezone,
            boundary=boundary.number,
            rounding=cast(RoundingMode, seller.rounding),
            charges=tuple(charges),
            discounts=_discounts(billables.discounts.find(subscription.id)),
            tax=billables.taxes.make_facts(
                account,
                seller,
                on=local_date(boundary.moment, account.zone),
                periods=[charge.period for charge in charges],
            ),
        ),
        {
            **map_items(waiting),
            **{item.public_id: item for item in (*(each.item for each in found), *(item for item, _ in late))},
        },
        tuple(waiting),
    )


def gather_usage(
    subscription: Subscription, stretch: Period, *, counted_until: datetime, billables: Billables
) -> list[tuple[SubscriptionItem, ChargeFacts]]:
    """
    Return what was used in `stretch`, outside the boundaries, with the item (perhaps not stored yet) of each charge.

    A minimum counts for the time before `counted_until` only. At most three queries.
    """
    cut = DueBoundary(subscription, subscription.next_boundary, stretch, None, subscription.cycle)
    found = []
    for each in billables.list_for(cut):
        if each.type == "usage" and each.item.meter_id is not None:
            counted = Period(each.period.start, max(each.period.start, min(each.period.end, counted_until)))
            found.append(replace(each, share=billables.measure(subscription, counted, counted, subscription.cycle)))
    requests = [
        MeasureRequest(subscription.account_id, each.item.meter_id, each.period, each.terms)
        for each in found
        if each.item.meter_id is not None
    ]
    centers = _find_centers([(subscription.account, request) for request in requests])
    used = zip(measure_usage(requests), centers, strict=True)
    return [(each.item, make_charge_facts(each, usage)) for each, usage in zip(found, used, strict=True)]


def _discounts(row: SubscriptionDiscount | None) -> tuple[DiscountFacts, ...]:
    if row is None:
        return ()
    return (
        DiscountFacts(
            id=row.public_id,
            name=row.name,
            attached_at=row.started_at,
            percent_off=row.percent_off,
            amount_off=row.amount_off,
            currency=row.currency,
            meters=tuple(row.meters),
            plans=tuple(row.plans),
            months_left=row.months_left,
        ),
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
    take_over(subscription, boundary.opened)
    subscription.current_period_start = boundary.opening.start
    subscription.current_period_end = boundary.opening.end
    subscription.next_boundary = boundary.number + 1
    subscription.next_billing_at = boundary.opening.end
    subscription.usage_from = boundary.used_until
    return True


def take_over(subscription: Subscription, cycle: Cycle) -> None:
    """Let what waited for the next period hold, in memory; `cycle` is the one the period belongs to."""
    if subscription.has_pending_change:
        subscription.plan_version = subscription.pending_plan_version or subscription.plan_version
        subscription.product_id = subscription.plan_version.plan.product_id
        subscription.quantity = subscription.pending_quantity or subscription.quantity
        subscription.drop_pending_change()
    subscription.interval, subscription.interval_count = cycle.interval.unit, cycle.interval.count
    subscription.anchor_date = cycle.anchor
