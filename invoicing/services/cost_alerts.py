"""
Looking at cost alerts and spend alerts: what fires, what is armed again, who is told.

Costs are read without a lock; what follows from them is written account by account, under the locks of its alerts. An
alert fires once per period and threshold, however many look at once: the row of the firing is unique.
Source: contract chapter Alerts; ADR 0034.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction

from accounts.models import Account
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.periods import Period
from billing_site.platform.services import events
from billing_site.platform.services.notices import queue_notices
from invoicing.queries.alert_costs import AccountAlertCosts, AlertCosts, load_alert_costs
from metering.models import AlertScope, AlertStatus, CostAlert, CostAlertFiring, ThresholdType
from metering.queries.cost_alerts import describe_alert, list_awake_alerts, list_due_accounts
from metering.rating.alerts import Judgement, judge_amount, judge_anomaly, judge_budget
from metering.services.alert_texts import write_notices
from metering.services.cost_alerts import arm

logger = logging.getLogger(__name__)

# A little less than the schedule's five minutes, so that every round finds everything due.
CHECK_EVERY: Final = timedelta(minutes=4)
CHUNK: Final = 50
SWEEP_CHUNKS: Final = 20


def evaluate_cost_alerts(*, account_ids: Iterable[UUID], at: datetime, actor: Actor = SYSTEM) -> list[CostAlertFiring]:
    """
    Look at the alerts of these accounts and return what fired. One query where nothing can fire.

    `at` is the wall clock; an account on a test clock lives by that. Costs are read for fifty accounts at a time.
    """
    waiting: dict[UUID, list[CostAlert]] = defaultdict(list)
    for alert in list_awake_alerts(account_ids, at=at):
        waiting[alert.account_id].append(alert)
    fired: list[CostAlertFiring] = []
    keys = list(waiting)
    for first in range(0, len(keys), CHUNK):
        chunk = keys[first : first + CHUNK]
        accounts = [waiting[key][0].account for key in chunk]
        costs = load_alert_costs(accounts, at=at)
        for account in accounts:
            now = account.clock_time or at
            fired += _settle(account, waiting[account.pk], costs[account.pk], at=now, actor=actor)
    return fired


def sweep_cost_alerts(*, at: datetime, actor: Actor = SYSTEM) -> tuple[list[CostAlertFiring], bool]:
    """
    Look at every alert whose time has come, a thousand accounts at most; return what fired and whether more is due.

    An account whose costs cannot be computed is logged, passed over, and looked at again next time.
    """
    fired: list[CostAlertFiring] = []
    before: list[UUID] = []
    for _ in range(SWEEP_CHUNKS):
        due = list_due_accounts(at=at, limit=CHUNK)
        if not due or due == before:
            return fired, False
        before = due
        try:
            fired += evaluate_cost_alerts(account_ids=due, at=at, actor=actor)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.warning("cost alerts: a batch failed, its accounts are looked at one by one", exc_info=True)
            for account_id in due:
                fired += _evaluate_alone(account_id, at=at, actor=actor)
    return fired, True


def _evaluate_alone(account_id: UUID, *, at: datetime, actor: Actor) -> list[CostAlertFiring]:
    try:
        return evaluate_cost_alerts(account_ids=[account_id], at=at, actor=actor)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("cost alerts of account %s cannot be looked at", account_id)
        account = Account.objects.select_related("test_clock").get(pk=account_id)
        _postpone(CostAlert.objects.filter(account_id=account_id).values_list("pk", flat=True), account, at)
        return []


def judge_alert(alert: CostAlert, costs: AlertCosts) -> Judgement:
    """Return what the alert is about, beside its threshold; `costs` are those in its currency."""
    match alert.threshold_type:
        case ThresholdType.PERCENTAGE_OF_BUDGET:
            if alert.threshold_percent is None:
                raise TypeError(f"{alert.public_id} has no percentage")
            return judge_budget(
                costs.period_cost, percent=alert.threshold_percent, budget=costs.budget, months=costs.period_months
            )
        case ThresholdType.ANOMALY:
            if alert.threshold_percent is None:
                raise TypeError(f"{alert.public_id} has no percentage")
            return judge_anomaly(costs.today, before=costs.days_before, percent=alert.threshold_percent)
    if alert.threshold_amount is None:
        raise TypeError(f"{alert.public_id} has no amount")
    return judge_amount(_SCOPES[alert.scope](costs)[0], threshold=alert.threshold_amount)


# What an alert looks at and the period in which it is told once, by its scope.
_SCOPES: Final[Mapping[str, Callable[[AlertCosts], tuple[int, Period]]]] = {
    AlertScope.PERIOD: lambda costs: (costs.period_cost, costs.period),
    AlertScope.DAY: lambda costs: (costs.today, costs.day),
    AlertScope.MONTH: lambda costs: (costs.month_spend, costs.month),
}


def _settle(
    account: Account, alerts: Sequence[CostAlert], costs: AccountAlertCosts, *, at: datetime, actor: Actor
) -> list[CostAlertFiring]:
    """Write what follows for one account: nothing, mostly."""
    judged = {alert.pk: judge_alert(alert, costs.choose(alert.currency)) for alert in alerts}
    moving = [alert.pk for alert in alerts if judged[alert.pk].is_reached or alert.status != AlertStatus.ARMED]
    fired = _move(moving, alerts, judged, costs, at=at, actor=actor) if moving else []
    late = [alert.pk for alert in alerts if alert.pk not in moving and alert.next_check_at <= at]
    if late:
        _postpone(late, account, at)
    return fired


def _postpone(alert_ids: Iterable[UUID], account: Account, at: datetime) -> None:
    """Have alerts that stay as they are looked at again in a while."""
    next_check_at = (account.clock_time or at) + CHECK_EVERY
    CostAlert.objects.filter(pk__in=list(alert_ids), next_check_at__lt=next_check_at).update(
        next_check_at=next_check_at
    )


@transaction.atomic
def _move(
    alert_ids: Sequence[UUID],
    seen: Sequence[CostAlert],
    judged: Mapping[UUID, Judgement],
    costs: AccountAlertCosts,
    *,
    at: datetime,
    actor: Actor,
) -> list[CostAlertFiring]:
    """Arm what has a new period, fire what is reached; what was changed meanwhile is left to the next look."""
    armings = {alert.pk: alert.arming for alert in seen}
    rows = CostAlert.objects.select_for_update(of=("self",)).select_related("account__test_clock").order_by("id")
    fired = []
    for alert in rows.filter(pk__in=alert_ids, deleted_at__isnull=True):
        if alert.is_silent(at) or alert.arming != armings[alert.pk]:
            continue
        arm(alert)
        alert.next_check_at = at + CHECK_EVERY
        found = judged[alert.pk]
        period = _SCOPES[alert.scope](costs.choose(alert.currency))[1]
        firing = _make_firing(alert, found, period, at=at)
        if firing is not None:
            _trigger(alert, firing)
            fired.append(firing)
        alert.save()
    events.emit_many([_make_event(firing, at=at, actor=actor) for firing in fired])
    queue_notices([notice for firing in fired for notice in write_notices(firing)])
    return fired


def _make_firing(alert: CostAlert, found: Judgement, period: Period, *, at: datetime) -> CostAlertFiring | None:
    """Write the row that only one look can write; return None where nothing is reached, or the period had its say."""
    if found.threshold is None or not found.is_reached:
        return None
    firing = CostAlertFiring(
        alert=alert,
        arming=alert.arming,
        period_start=period.start,
        period_end=period.end,
        fired_at=at,
        value=found.value,
        threshold=found.threshold,
        currency=alert.currency,
        details=events.to_plain(found.details),
    )
    CostAlertFiring.objects.bulk_create([firing], ignore_conflicts=True)
    return firing if CostAlertFiring.objects.filter(pk=firing.pk).exists() else None


def _trigger(alert: CostAlert, firing: CostAlertFiring) -> None:
    alert.status = AlertStatus.TRIGGERED
    alert.triggered_at, alert.triggered_value = firing.fired_at, firing.value
    alert.silent_until = alert.next_check_at = firing.period_end


def _make_event(firing: CostAlertFiring, *, at: datetime, actor: Actor) -> events.NewEvent:
    alert = firing.alert
    return events.NewEvent(
        type=f"{alert.kind}.triggered",
        subject=alert,
        account_id=alert.account_id,
        at=at,
        actor=actor,
        data={
            **describe_alert(alert),
            "value": firing.value,
            "threshold": firing.threshold,
            "period_start": firing.period_start,
            "period_end": firing.period_end,
            **firing.details,
        },
        previous={"status": AlertStatus.ARMED},
    )
