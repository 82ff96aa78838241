"""
The quotas in force for an account and how much of each is used: the one definition, whoever asks.

An account's own quota stands in for the plan quotas of the same meter and window. All windows of a meter count at once.
Source: contract chapter Quotas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final, Literal, cast
from uuid import UUID

from django.conf import settings

from accounts.models import Account
from billing_site.kernel.errors import NotFound
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import EXACT
from billing_site.kernel.periods import Period
from catalog.models import Aggregation, Enforcement, QuotaRule, QuotaWindow
from metering.models import AccountQuota
from metering.queries.periods import get_calendar_month
from metering.queries.quota_sources import gives_access, load_quota_sources, with_quota_sources
from metering.queries.resources import is_gauge
from metering.rating.quotas import Level, choose_level, compute_percent, compute_remaining, is_within
from metering.rating.windows import get_bucket
from metering.stores import CounterRequest, QuantityRequest, read_counters, read_last_values, sum_quantities
from metering.stores.counters import Window

Source = Literal["account", "plan"]
ZERO: Final = Decimal(0)
# What a counter knows. A maximum may have been voided since, and distinct counts need to know who was counted.
_COUNTED: Final = (Aggregation.SUM, Aggregation.COUNT)


@dataclass(frozen=True, slots=True)
class QuotaInForce:
    """
    A limit that counts for an account now. Quantities are in the meter's `unit`; no `limit` is unlimited.

    `features` are the scopes it belongs to; none means that it belongs to its meter alone. `bucket` is the half-open
    stretch that its window counts in now. `upgrade_plan_id` is the plan configured, else the cheapest that allows more.
    `stated_limit` and `stated_unit` are the limit as its maker wrote it. `reserved` is what open reservations hold of
    the meter now, whatever the window: each may be committed in the present bucket.
    """

    id: UUID
    source: Source
    account_id: UUID
    meter_id: UUID
    meter_event_name: str
    unit: str
    aggregation: str
    resource_type: str
    resource_name: str
    features: tuple[str, ...]
    window: str
    bucket: Period
    limit: Decimal | None
    stated_limit: Decimal | None
    stated_unit: str
    is_hard: bool
    is_gauge: bool
    warning_percent: Decimal
    overage_price: Decimal | None
    upgrade_plan_id: str
    created_at: datetime
    updated_at: datetime
    reserved: Decimal = ZERO
    alert_recipients: tuple[str, ...] = ()
    is_active: bool = True

    @property
    def public_id(self) -> str:
        kind = AccountQuota if self.source == "account" else QuotaRule
        return encode_id(kind.id_prefix, self.id)

    @property
    def feature(self) -> str:
        """The first of its scopes; empty without any."""
        return self.features[0] if self.features else ""

    def covers(self, *, feature: str, meter_event_name: str = "") -> bool:
        """Tell whether work under a scope, counted on a meter where one is named, draws on this quota."""
        if meter_event_name and meter_event_name != self.meter_event_name:
            return False
        return feature in self.features if self.features else bool(meter_event_name)


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """How much of a quota is used in its present bucket."""

    quota: QuotaInForce
    used: Decimal

    @property
    def reserved(self) -> Decimal:
        """What open reservations hold of the rest."""
        return self.quota.reserved

    @property
    def taken(self) -> Decimal:
        """What decisions count as used: use and reservations."""
        with localcontext(EXACT):
            return self.used + self.reserved

    @property
    def remaining(self) -> Decimal | None:
        """What neither use nor reservations have taken, never below zero; None without a limit."""
        return compute_remaining(used=self.taken, limit=self.quota.limit)

    @property
    def exceeded(self) -> bool:
        """Whether nothing is left."""
        return not self.allows(ZERO)

    @property
    def percent(self) -> int:
        """Use as a share of the limit, cut to an integer. Reservations are no use yet."""
        return compute_percent(used=self.used, limit=self.quota.limit)

    @property
    def level(self) -> Level:
        """How near its limit the use is."""
        return choose_level(
            used=self.used,
            limit=self.quota.limit,
            warning=self.quota.warning_percent,
            critical=Decimal(settings.BILLING_QUOTA_CRITICAL_PERCENT),
        )

    @property
    def resets_at(self) -> datetime | None:
        """When the next bucket begins; None for what never starts again: a gauge, and the window of all time."""
        return None if self.quota.is_gauge or self.quota.window == "total" else self.quota.bucket.end

    def allows(self, requested: Decimal) -> bool:
        """Tell whether `requested` more fits; of nothing, whether anything is left. Soft limits are asked like hard."""
        return is_within(used=self.taken, requested=requested, limit=self.quota.limit)

    def stops(self, requested: Decimal) -> bool:
        """Tell whether this quota refuses `requested` more: it is hard, and that does not fit."""
        return self.quota.is_hard and not self.allows(requested)


def list_quota_uses(
    *, account: Account, at: datetime, meter_id: UUID | None = None, with_inactive: bool = False
) -> list[QuotaUse]:
    """
    Return every quota in force for an account (of one meter) with its use at `at`, the account's own first.

    With `with_inactive` also the account's own that are switched off; they replace nothing. Four queries, or fewer
    where there is nothing to count.
    """
    source = load_quota_sources(account, at=at)
    quotas = list_quotas_in_force(source, at=at)
    if with_inactive:
        quotas += list_inactive_quotas(source, at=at)
    return measure_quotas([quota for quota in quotas if meter_id in (None, quota.meter_id)])


def get_quota_use(*, account: Account, quota_id: UUID, at: datetime) -> QuotaUse:
    """
    Return one of the account's quotas with its use at `at`, switched off or not. Four queries, or fewer.

    :raises NotFound: when the account has no such quota now.
    """
    uses = list_quota_uses(account=account, at=at, with_inactive=True)
    found = next((use for use in uses if use.quota.id == quota_id), None)
    if found is None:
        raise NotFound("account_quota")
    return found


def load_quota_uses(*, account_ids: Iterable[UUID], at: datetime) -> dict[UUID, list[QuotaUse]]:
    """
    Return the quotas in force of many accounts with their use, by account; an account on a test clock by that clock.

    Four queries whatever the number of accounts, quotas and events.
    """
    accounts = with_quota_sources(Account.objects.filter(pk__in=set(account_ids)).select_related("test_clock"), at=at)
    quotas = {account.pk: list_quotas_in_force(account, at=account.clock_time or at) for account in accounts}
    uses = iter(measure_quotas([quota for found in quotas.values() for quota in found]))
    return {key: [next(uses) for _ in found] for key, found in quotas.items()}


def list_quotas_in_force(account: Account, *, at: datetime) -> list[QuotaInForce]:
    """
    Return the quotas of an account that comes from `with_quota_sources`, its own first. No query.

    Plan quotas are those of the subscriptions that give access at `at`.
    """
    subscriptions = _list_access(account, at)
    active = [entry for entry in account.listed_quotas if entry["is_active"]]  # type: ignore[attr-defined]
    replaced = {(entry["meter_id"], entry["window"]) for entry in active}
    own = [_read_account_quota(account, entry, subscriptions, at) for entry in active]
    of_plans = [
        _read_plan_quota(account, rule, subscription, at)
        for subscription in subscriptions
        for rule in subscription["quotas"]
        if (rule["meter_id"], rule["window"]) not in replaced
    ]
    return [*own, *of_plans]


def list_inactive_quotas(account: Account, *, at: datetime) -> list[QuotaInForce]:
    """Return what an account that comes from `with_quota_sources` has switched off, as it would count. No query."""
    off = [entry for entry in account.listed_quotas if not entry["is_active"]]  # type: ignore[attr-defined]
    return [_read_account_quota(account, entry, _list_access(account, at), at) for entry in off]


def measure_quotas(quotas: Sequence[QuotaInForce]) -> list[QuotaUse]:
    """
    Return the use of every quota in its bucket, in order.

    One statement for counters, one for what is read from roll-ups, and one for gauges: a counter is a few rows,
    however many events it counted.
    """
    counters: dict[QuotaInForce, CounterRequest] = {}
    sums: dict[QuotaInForce, QuantityRequest] = {}
    gauges: dict[tuple[UUID, UUID], datetime] = {}
    for quota in quotas:
        if quota.is_gauge:
            gauges[quota.account_id, quota.meter_id] = quota.bucket.end
        elif quota.aggregation in _COUNTED and quota.window != QuotaWindow.BILLING_PERIOD:
            window = cast(Window, quota.window)
            counters[quota] = CounterRequest(quota.account_id, quota.meter_id, window, quota.bucket.start)
        else:
            sums[quota] = QuantityRequest(quota.account_id, quota.meter_id, quota.bucket)
    counted = read_counters(list(dict.fromkeys(counters.values()))) if counters else {}
    summed = sum_quantities(list(dict.fromkeys(sums.values()))) if sums else {}
    values = read_last_values(gauges) if gauges else {}
    uses = []
    for quota in quotas:
        if quota in counters:
            counter = counted[counters[quota]]
            used = Decimal(counter.events) if quota.aggregation == Aggregation.COUNT else counter.total
        elif quota in sums:
            used = summed[sums[quota]].quantity
        else:
            used = values.get((quota.account_id, quota.meter_id), ZERO)
        uses.append(QuotaUse(quota, used))
    return uses


def find_stopping(uses: Iterable[QuotaUse], *, requested: Decimal = ZERO) -> QuotaUse | None:
    """Return the hard quota that refuses `requested` more: of several the one that resets last; None if all allow."""
    stopping = [use for use in uses if use.stops(requested)]
    return max(stopping, key=lambda use: (use.resets_at is None, use.quota.bucket.end), default=None)


def _list_access(account: Account, at: datetime) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = account.listed_subscriptions  # type: ignore[attr-defined]
    return [each for each in listed if gives_access(each, at=at)]


def _read_plan_quota(
    account: Account, rule: dict[str, Any], subscription: dict[str, Any], at: datetime
) -> QuotaInForce:
    period = _read_period(subscription)
    return QuotaInForce(
        source="plan",
        resource_type=rule["meter_event_name"],
        resource_name="",
        features=(rule["feature"],),
        bucket=get_bucket(rule["window"], at=at, billing_period=period),
        is_hard=rule["enforcement"] == Enforcement.HARD,
        warning_percent=Decimal(settings.BILLING_QUOTA_WARNING_PERCENT),
        **_read_common(account, rule),
        stated_limit=Decimal(rule["limit"]),
        stated_unit=rule["unit"],
        updated_at=datetime.fromisoformat(rule["created_at"]),
    )


def _read_account_quota(
    account: Account, entry: dict[str, Any], subscriptions: Sequence[dict[str, Any]], at: datetime
) -> QuotaInForce:
    """Return a quota of the account's own; scope and billing period are those of the plans that limit the meter."""
    limiting = [
        (subscription, rule)
        for subscription in subscriptions
        for rule in subscription["quotas"]
        if rule["meter_id"] == entry["meter_id"]
    ]
    limiting.sort(key=lambda found: found[1]["window"] != entry["window"])
    chosen = limiting[0][0] if limiting else subscriptions[-1] if subscriptions else None
    period = get_calendar_month(at, account.zone) if chosen is None else _read_period(chosen)
    common = _read_common(account, entry)
    inherited = next((rule["upgrade_plan_key"] for _, rule in limiting if rule["window"] == entry["window"]), "")
    return QuotaInForce(
        source="account",
        resource_type=entry["resource_type"],
        resource_name=entry["resource_name"],
        features=(entry["feature"],) if entry["feature"] else tuple(dict.fromkeys(r["feature"] for _, r in limiting)),
        bucket=get_bucket(entry["window"], at=at, billing_period=period),
        is_hard=entry["is_hard"],
        warning_percent=Decimal(entry["warning_percent"]),
        alert_recipients=tuple(entry["alert_recipients"]),
        is_active=entry["is_active"],
        stated_limit=None if entry["stated_limit"] is None else Decimal(entry["stated_limit"]),
        stated_unit=entry["stated_unit"],
        updated_at=datetime.fromisoformat(entry["updated_at"]),
        **{**common, "upgrade_plan_id": entry["upgrade_plan_key"] or inherited or common["upgrade_plan_id"]},
    )


def _read_common(account: Account, entry: dict[str, Any]) -> dict[str, Any]:
    limit, price = entry["limit"], entry["overage_price"]
    reserved = {each["meter_id"]: each["held"] for each in account.listed_reservations}  # type: ignore[attr-defined]
    roomier = "" if limit is None else entry["roomier_plan"]
    return {
        "id": UUID(entry["id"]),
        "account_id": account.pk,
        "meter_id": UUID(entry["meter_id"]),
        "meter_event_name": entry["meter_event_name"],
        "unit": entry["unit"],
        "aggregation": entry["aggregation"],
        "window": entry["window"],
        "limit": None if limit is None else Decimal(limit),
        "reserved": Decimal(reserved.get(entry["meter_id"], ZERO)),
        "is_gauge": is_gauge(event_name=entry["meter_event_name"], aggregation=entry["aggregation"]),
        "overage_price": None if price is None else Decimal(price),
        "upgrade_plan_id": entry["upgrade_plan_key"] or roomier or "",
        "created_at": datetime.fromisoformat(entry["created_at"]),
    }


def _read_period(subscription: dict[str, Any]) -> Period:
    return Period(
        datetime.fromisoformat(subscription["current_period_start"]),
        datetime.fromisoformat(subscription["current_period_end"]),
    )
