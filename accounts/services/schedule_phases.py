"""
What callers say of phases, checked against the clock, the catalog and the subscription, and made into rows.

Everything that is wrong is found at once. Nothing is stored here. Source: contract chapter Schedules; ADR 0026.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from accounts.models import Account, PhaseProration, SchedulePhase, Subscription
from accounts.queries.prices import choose_currency, choose_prices
from accounts.services.subscriptions import MAX_QUANTITY, MAX_TRIAL_DAYS, PlanNotSubscribable
from accounts.terms.phases import PhaseMistake, PhasesEmpty, PhaseTerms, chain_phases, check_edit, check_phases
from billing_site.kernel.errors import FieldError, ValidationFailed
from billing_site.kernel.periods import local_date, local_midnight
from catalog.models import PlanVersion, Price
from catalog.queries.plans import get_sellable_plan


@dataclass(frozen=True, slots=True)
class NewItem:
    """A price of the phase's plan and how many of it; without a price the plan's fee is meant."""

    price_id: str = ""
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class NewPhase:
    """A phase as a caller says it. What is left out of its time follows from its neighbours; no items: as it is."""

    plan_key: str
    items: Sequence[NewItem] | None = None
    start: datetime | None = None
    end: datetime | None = None
    trial_end: datetime | None = None
    proration_behavior: str = ""


@dataclass(slots=True)
class PhaseReader:
    """
    Reads phases for one account.

    `subscription` is the one that is taken over or was started, with its plan. `begun` are the phases that were entered
    already. `currency` is that of the schedule; empty until its first phase tells. `at` is the account's present.
    """

    account: Account
    at: datetime
    subscription: Subscription | None = None
    begun: Sequence[SchedulePhase] = ()
    before: Sequence[SchedulePhase] = ()
    currency: str = ""
    self_service: bool = False
    _errors: list[FieldError] = field(default_factory=list)
    _versions: dict[str, PlanVersion] = field(default_factory=dict)

    def read(self, phases: Sequence[NewPhase], *, start: datetime) -> list[SchedulePhase]:
        """
        Return the phases as rows that are not stored, the first from `start` unless it says otherwise.

        :raises ValidationFailed: with every finding, each at its place in the request.
        :raises PlanNotFound: when a phase names a plan that is not on sale.
        :raises PlanNotSubscribable: with `self_service`, for a plan sold by staff only.
        """
        chained = chain_phases(
            start=start, phases=[(each.start, each.end, self._get_trial_end(i, each)) for i, each in enumerate(phases)]
        )
        try:
            mistakes = check_phases(chained)
        except PhasesEmpty as error:
            raise ValidationFailed.of("/phases", "required", "A schedule has at least one phase.") from error
        if self.before:
            mistakes += check_edit([phase.terms for phase in self.before], chained, at=self.at)
        self._errors += [_to_finding(mistake) for mistake in mistakes]
        self._check_start(chained[0])
        self._fail_if_wrong()
        interval = "" if self.subscription is None else self.subscription.interval
        read: list[SchedulePhase] = []
        for index, (new, terms) in enumerate(zip(phases, chained, strict=True)):
            phase = self._read_one(index, new, terms)
            if index >= len(self.begun):
                interval = self._check_offer(index, phase, interval)
                self._check_trial(index, phase)
            read.append(phase)
        self._fail_if_wrong()
        return read

    # ---- time -------------------------------------------------------------------------------------------------------
    def _get_trial_end(self, index: int, new: NewPhase) -> datetime | None:
        if new.trial_end is None and index < len(self.begun):
            return self.begun[index].trial_end
        return new.trial_end

    def _check_start(self, first: PhaseTerms) -> None:
        """A running subscription is not taken over before its running period: what was billed stays."""
        if self.subscription is not None and not self.begun and first.start < self.subscription.current_period_start:
            self._find(
                "/start_date",
                "out_of_range",
                "A schedule cannot take over before the running period of a subscription.",
            )

    def _check_trial(self, index: int, phase: SchedulePhase) -> None:
        if phase.trial_end is None:
            return
        pointer = f"/phases/{index}/trial_end"
        days = count_trial_days(phase.start, phase.trial_end, zone=self.account.zone)
        if self.self_service:
            self._find(pointer, "internal_only", "Only internal callers may set a trial.")
        elif index or self.subscription is not None:
            self._find(pointer, "not_possible", "Only a phase that starts the subscription can begin with a trial.")
        elif days > MAX_TRIAL_DAYS:
            self._find(pointer, "out_of_range", f"A trial lasts at most {MAX_TRIAL_DAYS} days.")
        else:
            lasts_until = local_midnight(
                local_date(phase.start, self.account.zone) + timedelta(days=days), self.account.zone
            )
            if phase.end is not None and lasts_until > phase.end:
                self._find(
                    pointer,
                    "out_of_range",
                    "A trial lasts until midnight where the account is, and this phase ends before.",
                )

    # ---- plans and items --------------------------------------------------------------------------------------------
    def _read_one(self, index: int, new: NewPhase, terms: PhaseTerms) -> SchedulePhase:
        if index < len(self.begun):
            return self._keep(index, new, terms)
        version = self._get_version(new.plan_key)
        if version.contact_sales and self.self_service:
            raise PlanNotSubscribable(f"{version.name} is sold by our staff: please contact sales.")
        phase = SchedulePhase(
            position=index,
            plan_key=new.plan_key,
            items=[_to_json(item) for item in new.items or ()],
            start=terms.start,
            end=terms.end,
            trial_end=terms.trial_end,
            proration_behavior=new.proration_behavior or PhaseProration.CREATE_PRORATIONS,
        )
        self._read_items(index, phase, new.items or (), version)
        self._check_product(index, version)
        return phase

    def _keep(self, index: int, new: NewPhase, terms: PhaseTerms) -> SchedulePhase:
        """Return a phase that has begun, with what may be its new end; anything else about it stays."""
        old = self.begun[index]
        same_items = new.items is None or [_to_json(item) for item in new.items] == old.items
        for name, is_same in (
            ("plan_id", new.plan_key == old.plan_key),
            ("items", same_items),
            ("trial_end", terms.trial_end == old.trial_end),
            ("proration_behavior", new.proration_behavior in ("", old.proration_behavior)),
        ):
            if not is_same:
                self._find(f"/phases/{index}/{name}", "immutable", "Only the end of a phase that has begun can change.")
        return SchedulePhase(
            position=index,
            plan_key=old.plan_key,
            items=old.items,
            quantity=old.quantity,
            interval=old.interval,
            start=old.start,
            end=terms.end,
            trial_end=old.trial_end,
            proration_behavior=old.proration_behavior,
        )

    def _read_items(self, index: int, phase: SchedulePhase, items: Sequence[NewItem], version: PlanVersion) -> None:
        """Set the quantity and the interval that the items mean."""
        fees = 0
        for number, item in enumerate(items):
            pointer = f"/phases/{index}/items/{number}"
            price = self._find_price(pointer, item, version) if item.price_id else None
            if item.price_id and price is None:
                continue
            if price is not None:
                self._check_price(pointer, phase, price)
            if price is not None and price.is_metered:
                if item.quantity:
                    self._find(f"{pointer}/quantity", "metered", "The quantity of a usage price is what is used.")
                continue
            fees += 1
            if fees > 1:
                self._find(pointer, "duplicate", "A phase has one fee.")
            phase.quantity = 1 if item.quantity is None else item.quantity
            if not 1 <= phase.quantity <= MAX_QUANTITY:
                phase.quantity = 1
                self._find(f"{pointer}/quantity", "out_of_range", "The quantity is a whole number of one or more.")

    def _find_price(self, pointer: str, item: NewItem, version: PlanVersion) -> Price | None:
        """Return the price named, of whichever version of the plan: ids change with each version."""
        key = Price.parse_id(item.price_id)
        found = None if key is None else Price.objects.filter(pk=key, plan_version__plan=version.plan_id).first()
        if found is None:
            self._find(f"{pointer}/price_id", "unknown", f"{version.name} has no price {item.price_id[:100]!r}.")
        return found

    def _check_price(self, pointer: str, phase: SchedulePhase, price: Price) -> None:
        """Let a price tell the interval of its phase and the currency of the schedule; all must agree."""
        known = self.currency if self.subscription is None else self.subscription.currency
        if known and price.currency != known:
            self._find(f"{pointer}/price_id", "currency_mismatch", f"The schedule is billed in {known.upper()}.")
        if phase.interval and price.interval != phase.interval:
            self._find(f"{pointer}/price_id", "interval_mismatch", "The prices of a phase have one interval.")
        self.currency, phase.interval = known or price.currency, price.interval
        sold = [each for each in self._get_version(phase.plan_key).prices.all() if each.currency == price.currency]
        counts = [each.interval_count for each in sold if each.interval == price.interval]
        if counts and price.interval_count != min(counts):
            self._find(
                f"{pointer}/price_id",
                "not_possible",
                "A schedule takes the shortest count of an interval that is sold.",
            )

    def _check_product(self, index: int, version: PlanVersion) -> None:
        """All plans of a schedule are of one product: that is what a subscription is for."""
        products = {each.plan.product_id for each in self._versions.values()}
        if self.subscription is not None:
            products.add(self.subscription.product_id)
        if len(products) > 1:
            self._find(
                f"/phases/{index}/plan_id", "other_product", f"{version.name} belongs to another product than the rest."
            )

    def _check_offer(self, index: int, phase: SchedulePhase, interval: str) -> str:
        """Check that the plan is sold as the phase needs it, and return the interval that runs then."""
        version = self._get_version(phase.plan_key)
        prices = list(version.prices.all())
        if self.subscription is not None:
            self.currency = self.subscription.currency
        try:
            self.currency = choose_currency(
                prices, plan_name=version.name, asked=self.currency or None, default=self.account.currency
            )
            runs = phase.interval or interval or choose_interval(prices, currency=self.currency)
            choose_prices(prices, plan_name=version.name, currency=self.currency, interval=runs)
        except ValidationFailed as refusal:
            self._errors += [FieldError(f"/phases/{index}/plan_id", each.code, each.detail) for each in refusal.errors]
            return phase.interval or interval
        return runs

    def _get_version(self, plan_key: str) -> PlanVersion:
        if plan_key not in self._versions:
            self._versions[plan_key] = get_sellable_plan(org_id=self.account.org_id, key=plan_key)
        return self._versions[plan_key]

    # ---- findings ---------------------------------------------------------------------------------------------------
    def _find(self, pointer: str, code: str, detail: str) -> None:
        self._errors.append(FieldError(pointer, code, detail))

    def _fail_if_wrong(self) -> None:
        if self._errors:
            raise ValidationFailed(self._errors[0].detail, errors=self._errors)


def choose_interval(prices: Iterable[Price], *, currency: str) -> str:
    """Return the interval of a phase that names none: the only one its plan is sold by, else the month."""
    own = [price for price in prices if price.currency == currency]
    sold = {price.interval for price in own if not price.is_metered} or {price.interval for price in own}
    return sold.pop() if len(sold) == 1 else "month"


def count_trial_days(start: datetime, trial_end: datetime | None, *, zone: ZoneInfo) -> int:
    """
    Return how many local days of trial leave a phase free until `trial_end` at least; 0 without one.

    A trial ends at a local midnight, so one that is to end in the middle of a day lasts until the next.
    Source: policies, rule 8.
    """
    if trial_end is None:
        return 0
    last = local_date(trial_end, zone)
    if local_midnight(last, zone) < trial_end:
        last += timedelta(days=1)
    return (last - local_date(start, zone)).days


def _to_finding(mistake: PhaseMistake) -> FieldError:
    return FieldError(f"/phases/{mistake.index}/{mistake.field}", mistake.code, mistake.message)


def _to_json(item: NewItem) -> dict[str, Any]:
    shown: dict[str, Any] = {"price_id": item.price_id} if item.price_id else {}
    return shown if item.quantity is None else shown | {"quantity": item.quantity}
