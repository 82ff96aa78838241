"""
The costs that alerts look at, for many accounts at once.

They are those of the realtime doors; the days also hold what was charged at once. Source: contract chapter Alerts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from accounts.models import Account
from billing_site.kernel.money import round_to_minor
from billing_site.kernel.periods import Period
from catalog.models import Meter
from invoicing.queries.allocation import count_months
from invoicing.queries.cost_so_far import DAYS_BEFORE, CostSoFar, DayCost, cost_so_far
from metering.queries.cost_alerts import sum_root_budgets
from metering.queries.meters import CHARGED_METER
from metering.queries.periods import get_calendar_month
from metering.stores import sum_charged_days

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AlertCosts:
    """
    What an account costs in one currency, minor units, and the periods that alerts are silent for.

    `today` and `days_before` are usage by event time, rated or charged at once, without fees: a fee is no rate, and
    every renewal would look unusual. Of the seven UTC days before only those on which something was used are there.
    `budget` is what the active cost centers at the top may spend in a month, None without any.
    """

    period: Period
    period_cost: int
    period_months: int
    day: Period
    today: int
    days_before: tuple[int, ...]
    month: Period
    month_spend: int
    budget: int | None


@dataclass(frozen=True, slots=True)
class AccountAlertCosts:
    """The costs of one account in every currency it has any in."""

    account: Account
    at: datetime
    so_far: Mapping[str, CostSoFar]
    charged: Mapping[tuple[str, date], Decimal] = field(default_factory=dict)
    budgets: Mapping[str, int] = field(default_factory=dict)

    def choose(self, currency: str) -> AlertCosts:
        """Return the costs in one currency; nothing but the periods where it has none."""
        found = self.so_far.get(currency)
        # The account's own currency is always there; its period counts where another has no subscription.
        period = (found or self.so_far[self.account.currency]).period
        start = datetime.combine(self.at.astimezone(UTC).date(), time(), UTC)
        before = [self._sum_day(currency, start.date() - back * _DAY, found) for back in range(1, DAYS_BEFORE + 1)]
        return AlertCosts(
            period=period,
            period_cost=0 if found is None else found.total,
            period_months=count_months(period, self.account.zone),
            day=Period(start, start + _DAY),
            today=self._sum_day(currency, start.date(), found) or 0,
            days_before=tuple(cost for cost in before if cost is not None),
            month=get_calendar_month(self.at, ZoneInfo("UTC")),
            month_spend=0 if found is None else found.month_spend,
            budget=self.budgets.get(currency),
        )

    def _sum_day(self, currency: str, day: date, found: CostSoFar | None) -> int | None:
        """Return what was used on a day, None when nothing was."""
        days = [] if found is None else [found.today, *found.days_before]
        rated: DayCost | None = next((each for each in days if each.day == day and each.has_usage), None)
        charged = self.charged.get((currency, day))
        if rated is None and charged is None:
            return None
        return (0 if rated is None else rated.usage) + (0 if charged is None else round_to_minor(charged))


def load_alert_costs(accounts: Collection[Account], *, at: datetime) -> dict[UUID, AccountAlertCosts]:
    """
    Return the costs of accounts at `at`, or by their own clock where they are on one, by account.

    A number of queries that does not depend on how many accounts, alerts and events there are. Reads only.
    """
    so_far = cost_so_far(accounts=accounts, at=at)
    times = {each.pk: each.clock_time or at for each in accounts}
    budgets: dict[UUID, dict[str, int]] = defaultdict(dict)
    for (owner, currency), total in sum_root_budgets(list(times)).items():
        budgets[owner][currency] = total
    charged = _load_charged(accounts, times)
    return {
        each.pk: AccountAlertCosts(
            account=each, at=times[each.pk], so_far=so_far[each.pk], charged=charged[each.pk], budgets=budgets[each.pk]
        )
        for each in accounts
    }


def _load_charged(
    accounts: Collection[Account], times: Mapping[UUID, datetime]
) -> dict[UUID, dict[tuple[str, date], Decimal]]:
    """Return what was charged at once, by account, currency and UTC day. A query for each day that is today."""
    charged: dict[UUID, dict[tuple[str, date], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    meters = list(Meter.objects.filter(event_name=CHARGED_METER).values_list("pk", flat=True))
    own = {each.pk: each.currency for each in accounts}
    todays: dict[date, list[UUID]] = defaultdict(list)
    for owner, moment in times.items() if meters else ():
        todays[moment.astimezone(UTC).date()].append(owner)
    for day, owners in todays.items():
        start = datetime.combine(day, time(), UTC)
        week = Period(start - DAYS_BEFORE * _DAY, start + _DAY)
        for found in sum_charged_days(account_ids=owners, meter_ids=meters, period=week):
            charged[found.account_id][found.currency or own[found.account_id], found.day] += found.amount
    return charged
