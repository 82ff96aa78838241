"""
What a plan move would do, to whom: computed by the engine that bills, written nowhere.

Each subscription shows its next invoice as it stands and as it would be, and what the same use comes to by the month
under both versions. Source: ADR 0016; policies, rule 5.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Final

from django.db.models import Count, QuerySet

from accounts.models import RUNNING_STATUSES, ProviderType, Subscription
from accounts.queries.meter_prices import MeterPrices, list_overages
from accounts.queries.plan_items import plan_items
from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import EXACT, round_to_minor
from catalog.models import Plan, PlanVersion, Price, QuotaRule
from catalog.queries.prices import list_prices_of_versions
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.models.plan_move import MoveTiming
from invoicing.queries.billables import Billables, load_billables
from invoicing.queries.facts import gather_facts, get_boundary
from invoicing.queries.sellers import get_sellers

# Months in one interval, for "per month": a year is 12, a week 12/52, a day 12/365.
_MONTHS: Final[dict[str, Decimal]] = {
    "month": Decimal(1),
    "year": Decimal(12),
    "week": Decimal(12) / Decimal(52),
    "day": Decimal(12) / Decimal(365),
}
_CHUNK: Final = 500


class MoveNotPossible(DomainError):
    code, title, status = "move_not_possible", "This subscription cannot be moved", 422


@dataclass(frozen=True, slots=True)
class Target:
    """The version to move to, with its prices and the quotas whose overage is billed; none needs to be stored."""

    version: PlanVersion
    prices: Sequence[Price]
    quotas: Sequence[QuotaRule] = ()


@dataclass(frozen=True, slots=True)
class MovePreview:
    """
    One subscription: minor units of its currency.

    `next_before` and `next_after` are the totals of its next invoice with the usage so far, without and with the move.
    `monthly_before` and `monthly_after` price that same period wholly at the old and the new version, by the month.
    `kept` and `lost` are the lookup keys of negotiated prices that go on, or have nothing to stand in for any more.
    With an `error` it cannot be moved, and says why.
    """

    subscription: Subscription
    next_before: int = 0
    next_after: int = 0
    monthly_before: int = 0
    monthly_after: int = 0
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    error_code: str = ""
    error: str = ""

    @property
    def next_difference(self) -> int:
        return self.next_after - self.next_before

    @property
    def monthly_difference(self) -> int:
        return self.monthly_after - self.monthly_before


@dataclass(slots=True)
class MoveTotals:
    """Sums over the subscriptions of one currency that can be moved, minor units."""

    currency: str
    subscriptions: int = 0
    next_before: int = 0
    next_after: int = 0
    monthly_before: int = 0
    monthly_after: int = 0

    @property
    def next_difference(self) -> int:
        return self.next_after - self.next_before

    @property
    def monthly_difference(self) -> int:
        return self.monthly_after - self.monthly_before

    def add(self, other: MovePreview | MoveTotals) -> None:
        """Take one subscription, or the sums of others, into these sums. The currency is the same."""
        self.subscriptions += other.subscriptions if isinstance(other, MoveTotals) else 1
        self.next_before += other.next_before
        self.next_after += other.next_after
        self.monthly_before += other.monthly_before
        self.monthly_after += other.monthly_after


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why some subscriptions cannot be moved, in one sentence, and which."""

    code: str
    detail: str
    subscriptions: list[Subscription]


@dataclass(frozen=True, slots=True)
class MovePlan:
    """All previews of a move, those that cannot be moved among them, and the sums by currency."""

    previews: list[MovePreview]
    totals: list[MoveTotals] = field(default_factory=list)

    @property
    def movable(self) -> int:
        return sum(total.subscriptions for total in self.totals)

    def list_largest(self, limit: int) -> list[MovePreview]:
        """Return the first `limit` subscriptions that can be moved, those first that change most by the month."""
        movable = [each for each in self.previews if not each.error_code]
        movable.sort(key=lambda each: (-abs(each.monthly_difference), -abs(each.next_difference)))
        return movable[:limit]

    def list_obstacles(self) -> list[Obstacle]:
        """Return why subscriptions cannot be moved, the most frequent reason first."""
        found: dict[tuple[str, str], list[Subscription]] = defaultdict(list)
        for each in self.previews:
            if each.error_code:
                found[each.error_code, each.error].append(each.subscription)
        obstacles = [Obstacle(code, detail, subscriptions) for (code, detail), subscriptions in found.items()]
        return sorted(obstacles, key=lambda obstacle: -len(obstacle.subscriptions))


def select_subscriptions(
    *,
    plan: Plan,
    to_version: PlanVersion | None,
    from_versions: Collection[int] | None = None,
    subscription_ids: Collection[uuid.UUID] | None = None,
    timing: str = MoveTiming.PERIOD_END,
    accounts_of: str | None = None,
) -> QuerySet[Subscription]:
    """
    Return the running subscriptions of a plan that are not on the version, oldest first.

    Those that go there with their next period anyway are left out, unless they are to be moved at once. `accounts_of`
    is the organization whose accounts alone are meant.
    """
    rows = Subscription.objects.filter(
        plan_version__plan=plan,
        status__in=RUNNING_STATUSES,
        provider_type=ProviderType.INTERNAL,
        billed_by_provider=False,
    )
    if to_version is not None:
        rows = rows.exclude(plan_version=to_version, pending_plan_version__isnull=True)
        if timing == MoveTiming.PERIOD_END:
            rows = rows.exclude(pending_plan_version=to_version)
    if from_versions is not None:
        rows = rows.filter(plan_version__version__in=list(from_versions))
    if subscription_ids is not None:
        rows = rows.filter(id__in=list(subscription_ids))
    if accounts_of is not None:
        rows = rows.filter(account__org_id=accounts_of)
    return rows.select_related("account__test_clock", "plan_version__plan", "pending_plan_version__plan").order_by("id")


def require_movable(subscription: Subscription, timing: str) -> None:
    """:raises MoveNotPossible: if the subscription has no period left in which it could be on another version."""
    if not subscription.is_running:
        raise MoveNotPossible(f"The subscription is {subscription.status}.")
    if timing == MoveTiming.PERIOD_END and subscription.cancel_at_period_end:
        raise MoveNotPossible("The subscription ends with this period; no next one begins.")


def count_by_version(
    plans: Collection[uuid.UUID], *, accounts_of: str | None = None
) -> dict[uuid.UUID, dict[int, int]]:
    """Return how many running subscriptions each plan has on each version. One query."""
    rows = Subscription.objects.filter(plan_version__plan_id__in=list(plans), status__in=RUNNING_STATUSES)
    if accounts_of is not None:
        rows = rows.filter(account__org_id=accounts_of)
    counts = rows.order_by().values_list("plan_version__plan_id", "plan_version__version").annotate(count=Count("id"))
    found: dict[uuid.UUID, dict[int, int]] = defaultdict(dict)
    for plan_id, version, count in counts:
        found[plan_id][version] = count
    return found


def get_target(version: PlanVersion) -> Target:
    """Return a stored version as a target. Two queries."""
    quotas = list_overages([version.id]).get(version.id, [])
    return Target(version, list_prices_of_versions([version.id])[version.id], quotas)


def preview_move(subscriptions: Sequence[Subscription], *, target: Target, timing: str) -> MovePlan:
    """
    Return what moving these subscriptions would change, in the same order, and the sums by currency.

    Subscriptions come as `select_subscriptions` returns them; they are not changed. Chunks of 500, each with a fixed
    number of queries.
    """
    previews = [
        preview
        for start in range(0, len(subscriptions), _CHUNK)
        for preview in _preview_chunk(subscriptions[start : start + _CHUNK], target, timing)
    ]
    totals: dict[str, MoveTotals] = {}
    for preview in previews:
        if preview.error_code:
            continue
        currency = preview.subscription.currency
        totals.setdefault(currency, MoveTotals(currency)).add(preview)
    return MovePlan(previews, [totals[currency] for currency in sorted(totals)])


def _preview_chunk(subscriptions: Sequence[Subscription], target: Target, timing: str) -> Iterator[MovePreview]:
    sellers = get_sellers([each.account for each in subscriptions])
    billables = load_billables(subscriptions, sellers=sellers)
    movable: list[Subscription] = []
    failures: dict[uuid.UUID, DomainError] = {}
    for subscription in subscriptions:
        try:
            require_movable(subscription, timing)
            plan_items(
                subscription,
                billables.items.get(subscription.id, ()),
                target.prices,
                at=subscription.current_period_end,
            )
        except DomainError as error:
            failures[subscription.id] = error
        else:
            movable.append(subscription)
    before = _draft_next(movable, billables)
    moved = _draft_next(*_move_all(movable, billables, target))
    next_after = moved if timing == MoveTiming.NOW else _draft_next(*_let_wait(movable, billables, target))
    unchanged = _draft_next(*_without_pending(movable, billables))
    keys = {price.lookup_key for price in target.prices}
    for subscription in subscriptions:
        if failure := failures.get(subscription.id):
            yield MovePreview(subscription, error_code=failure.code, error=failure.detail)
            continue
        overrides = {key for account, key in billables.overrides.rows if account == subscription.account_id}
        yield MovePreview(
            subscription,
            next_before=before[subscription.id].total,
            next_after=next_after[subscription.id].total,
            # A discount of some months says nothing of what the plan costs by the month.
            monthly_before=_per_month(unchanged[subscription.id].subtotal, subscription),
            monthly_after=_per_month(moved[subscription.id].subtotal, subscription),
            kept=tuple(sorted(overrides & keys)),
            lost=tuple(sorted(_list_own(overrides, subscription) - keys)),
        )


def _list_own(keys: Collection[str], subscription: Subscription) -> set[str]:
    return {key for key in keys if key.startswith(f"{subscription.plan_version.plan.key}:")}


def _move_all(
    subscriptions: Sequence[Subscription], billables: Billables, target: Target
) -> tuple[list[Subscription], Billables]:
    """Return the subscriptions as if they were on the target for all of the next boundary."""
    copies, items = [], {}
    for subscription in subscriptions:
        planned = plan_items(
            subscription, billables.items.get(subscription.id, ()), target.prices, at=subscription.current_period_start
        )
        items[subscription.id] = planned.current
        copied = copy.copy(subscription)
        copied.plan_version, copied.pending_plan_version = target.version, None
        copies.append(copied)
    prices, discounts = _add_overages(billables, target), billables.discounts
    return copies, Billables(
        items, billables.overrides, prices, {}, billables.sellers, billables.taxes, discounts=discounts
    )


def _let_wait(
    subscriptions: Sequence[Subscription], billables: Billables, target: Target
) -> tuple[list[Subscription], Billables]:
    """Return the subscriptions as if the target took over with their next period."""
    copies = []
    for subscription in subscriptions:
        copied = copy.copy(subscription)
        copied.pending_plan_version = target.version
        copies.append(copied)
    pending: Mapping[uuid.UUID, Sequence[Price]] = {target.version.id: target.prices}
    prices, discounts = _add_overages(billables, target), billables.discounts
    return copies, Billables(
        billables.items,
        billables.overrides,
        prices,
        pending,
        billables.sellers,
        billables.taxes,
        discounts=discounts,
    )


def _add_overages(billables: Billables, target: Target) -> MeterPrices:
    prices = billables.meter_prices
    return replace(prices, overages={**prices.overages, target.version.id: target.quotas})


def _without_pending(
    subscriptions: Sequence[Subscription], billables: Billables
) -> tuple[list[Subscription], Billables]:
    copies = []
    for subscription in subscriptions:
        copied = copy.copy(subscription)
        copied.drop_pending_change()
        copies.append(copied)
    return copies, Billables(
        billables.items,
        billables.overrides,
        billables.meter_prices,
        {},
        billables.sellers,
        billables.taxes,
        discounts=billables.discounts,
    )


def _draft_next(subscriptions: Sequence[Subscription], billables: Billables) -> dict[uuid.UUID, Draft]:
    """Return the next boundary's invoice of each, with the usage so far."""
    boundaries = [get_boundary(each) for each in subscriptions]
    return {
        each.boundary.subscription.id: draft_invoice(each.facts)
        for each in gather_facts(boundaries, billables=billables)
    }


def _per_month(amount: int, subscription: Subscription) -> int:
    with localcontext(EXACT):
        return round_to_minor(Decimal(amount) / (_MONTHS[subscription.interval] * subscription.interval_count))
