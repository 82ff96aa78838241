"""
Where an account stands, on one page: money, what is owed, what runs, what it costs so far, what comes.

A fixed number of queries, however long the account's history is; previews take some for every renewal they look at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db.models import Count, F, Q, Sum

from accounts.models import (
    Account,
    CreditGrant,
    LedgerAccount,
    LedgerKind,
    PaymentMethod,
    Subscription,
    SubscriptionDiscount,
)
from accounts.models.subscription import RUNNING_STATUSES
from accounts.queries.credit_grants import list_usable, with_details
from accounts.queries.discounts import list_in_force
from accounts.queries.ledger import Balance, list_balances
from accounts.queries.payment_methods import list_attached
from accounts.terms.burning import BurnableGrant
from billing_site.kernel.periods import local_date
from invoicing.models import Invoice, InvoiceStatus, PendingCharge
from invoicing.queries.agenda import AgendaEntry, list_agenda
from invoicing.queries.costs import AccountCosts, load_costs
from invoicing.queries.pending_charges import load_waiting
from invoicing.queries.realtime import RealtimeCost, Timeline, choose_running, compare_with_previous, draw_timeline
from invoicing.queries.running import OpenLine

HORIZON: Final = timedelta(days=90)
LOOK_BACK: Final = timedelta(days=45)
_SHOWN_ENDED: Final = 3
_SHOWN_INVOICES: Final = 6
_SHOWN_GRANTS: Final = 20
_SHOWN_METHODS: Final = 5


@dataclass(frozen=True, slots=True)
class Owed:
    """What is open in one currency, minor units, and how much of it is past its due date."""

    currency: str
    open_amount: int
    open_count: int
    overdue_amount: int
    overdue_count: int


@dataclass(frozen=True, slots=True)
class MeterUse:
    """
    What was used of one meter and not billed yet, and what it costs so far, minor units before discounts.

    Without a meter: a fee that is billed when its period closes; `name` is what its line says.
    """

    name: str
    meter_id: UUID | None
    unit: str
    quantity: Decimal
    cost: int
    discount: int
    currency: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class CostGlance:
    """The cost so far in one currency, and day by day, of the last 46 days at most."""

    cost: RealtimeCost
    days: Timeline


@dataclass(frozen=True, slots=True)
class AccountGlance:
    """
    One account at `at`.

    `balances` is prepaid money, `invoice_credit` and `grant_credit` are minor units by currency; `grants` are the
    usable ones as they stand now. `costs` has one entry for each currency that it buys in. `subscriptions` are what
    runs, then the last that ended, newest first. `agenda` reaches to `until`.
    """

    account: Account
    at: datetime
    until: datetime
    balances: Sequence[Balance]
    invoice_credit: dict[str, int]
    grant_credit: dict[str, int]
    owed: Sequence[Owed]
    subscriptions: Sequence[Subscription]
    discounts: dict[UUID, SubscriptionDiscount]
    waiting: dict[UUID, list[PendingCharge]]
    usage: Sequence[MeterUse]
    costs: Sequence[CostGlance]
    invoices: Sequence[Invoice]
    grants: Sequence[tuple[CreditGrant, BurnableGrant]]
    methods: Sequence[PaymentMethod]
    agenda: Sequence[AgendaEntry]


def _list_waiting(subscriptions: Sequence[Subscription]) -> dict[UUID, list[PendingCharge]]:
    """Return what waits for the next invoice of each; what is for any goes with the one that is billed first."""
    waiting = load_waiting(subscriptions)
    running = sorted((each for each in subscriptions if each.next_billing_at), key=_get_next_billing)
    shown = {each.id: waiting.list_for(each) for each in running}
    return waiting.of_subscription | shown


def _get_next_billing(subscription: Subscription) -> datetime:
    return subscription.next_billing_at or subscription.current_period_end


def get_glance(account: Account, *, at: datetime) -> AccountGlance:
    """Return where the account stands at `at`, by its own clock. Reads only."""
    until = at + HORIZON
    subscriptions = _list_subscriptions(account)
    keys = [each.id for each in subscriptions]
    grants = _list_grants(account, at)
    costs = load_costs(accounts=[account], at=at)[account.pk]
    return AccountGlance(
        account=account,
        at=at,
        until=until,
        balances=list_balances(account_id=account.pk, at=at),
        invoice_credit=_list_invoice_credit(account),
        grant_credit=_sum_grants(grants),
        owed=list_owed(account, at=at),
        subscriptions=subscriptions,
        discounts={row.subscription_id: row for row in list_in_force().filter(subscription_id__in=keys)},
        waiting=_list_waiting(subscriptions),
        usage=sum_by_meter([line for each in costs.subscriptions for line in each.open.lines]),
        costs=_look_at_costs(costs),
        invoices=list(
            Invoice.objects.filter(account=account)
            .defer("trace", "account_snapshot", "seller_snapshot")
            .order_by("-id")[:_SHOWN_INVOICES]
        ),
        grants=grants[:_SHOWN_GRANTS],
        methods=list(list_attached().filter(account=account).order_by("-is_default", "-id")[:_SHOWN_METHODS]),
        agenda=list_agenda(account, at=at, until=until),
    )


def _look_at_costs(costs: AccountCosts) -> list[CostGlance]:
    """Return the cost so far, one entry for each currency of a running subscription. Six queries each at most."""
    found = []
    for currency in dict.fromkeys(each.open.currency for each in costs.subscriptions):
        running = choose_running(costs, currency=currency)
        days = draw_timeline(running, start=costs.at - LOOK_BACK)
        found.append(CostGlance(compare_with_previous(running), days))
    return found


def list_owed(account: Account, *, at: datetime) -> list[Owed]:
    """Return what the account has to pay, by currency; overdue by its own calendar. One query."""
    today = local_date(at, account.zone)
    left, late = F("amount_due") - F("amount_paid"), Q(due_date__lt=today)
    rows = (
        Invoice.objects.filter(account=account, status=InvoiceStatus.OPEN)
        .order_by()
        .values("currency")
        .annotate(
            open_amount=Sum(left),
            open_count=Count("id"),
            overdue_amount=Sum(left, filter=late, default=0),
            overdue_count=Count("id", filter=late),
        )
    )
    return [Owed(**row) for row in rows.order_by("currency")]


def sum_by_meter(lines: Sequence[OpenLine]) -> list[MeterUse]:
    """Return what is not billed yet, one row per meter and currency, then one per other line."""
    grouped: dict[tuple[str, UUID | str], list[OpenLine]] = defaultdict(list)
    for number, each in enumerate(lines):
        key = each.meter.id if each.meter is not None else f"line {number}"
        grouped[each.currency, key].append(each)
    found = [_sum_lines(currency, rows) for (currency, _), rows in grouped.items()]
    return sorted(found, key=lambda use: (use.meter_id is None, use.currency, use.name))


def _sum_lines(currency: str, rows: Sequence[OpenLine]) -> MeterUse:
    first = rows[0]
    # A minimum that was not reached is a line beside its usage, and no more of the meter.
    used = [row.line.quantity for row in rows if row.line.type == "usage"]
    return MeterUse(
        name=first.line.description if first.meter is None else first.meter.display_name,
        meter_id=None if first.meter is None else first.meter.id,
        unit="" if first.meter is None else first.meter.unit,
        quantity=sum(used, Decimal(0)) if first.meter is not None else first.line.quantity,
        cost=sum(row.line.amount for row in rows),
        discount=sum(row.line.discount for row in rows),
        currency=currency,
        start=min(row.line.period.start for row in rows),
        end=max(row.line.period.end for row in rows),
    )


def _list_subscriptions(account: Account) -> list[Subscription]:
    rows = (
        Subscription.objects.filter(account=account)
        .select_related("account", "plan_version__plan", "pending_plan_version__plan")
        .order_by("-id")
    )
    running = list(rows.filter(status__in=RUNNING_STATUSES))
    return running + list(rows.exclude(status__in=RUNNING_STATUSES)[:_SHOWN_ENDED])


def _list_invoice_credit(account: Account) -> dict[str, int]:
    pots = LedgerAccount.objects.filter(account=account, kind=LedgerKind.INVOICE_CREDIT).order_by("currency")
    return {pot.currency: -pot.balance for pot in pots}


def _list_grants(account: Account, at: datetime) -> list[tuple[CreditGrant, BurnableGrant]]:
    open_rows = CreditGrant.objects.filter(account=account, voided_at__isnull=True).filter(
        Q(remaining__gt=0) | Q(renews_at__isnull=False)
    )
    return list_usable(with_details(open_rows).order_by("priority", "expires_at", "id"), at=at)


def _sum_grants(grants: Sequence[tuple[CreditGrant, BurnableGrant]]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for grant, facts in grants:
        found[grant.currency] += facts.remaining
    return dict(found)
