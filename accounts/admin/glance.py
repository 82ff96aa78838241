"""The account at a glance: what stands above the profile on an account's page, as rows ready to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.admin.cost_so_far import build_cost_view
from accounts.admin.payment_method import show_expiry
from accounts.admin.prospects import describe_discount, describe_interval, describe_pending, show_waiting
from accounts.models import Account, Subscription, SubscriptionStatus
from billing_site.backoffice.actions import find_service_action
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_day,
    format_instant,
    format_money,
    format_period,
    format_quantity,
    instant,
    link_to,
    link_to_id,
    money,
    status_badge,
)
from billing_site.backoffice.panels import Metric
from invoicing.queries.agenda import AgendaEntry
from invoicing.queries.glance import AccountGlance, MeterUse

# What is offered beside a subscription; the rest is on its own page.
_OFFERED: Final = ("change_terms", "drop_change", "resume", "pause", "reactivate", "cancel")
_show_state = status_badge()


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """One subscription: `notes` are what is special about it, `actions` titles and addresses."""

    plan: SafeString | str
    state: SafeString | str
    terms: str
    period: SafeString | str
    next_due: SafeString | str
    notes: Sequence[str]
    actions: Sequence[tuple[str, str]]


def build_glance(request: HttpRequest, found: AccountGlance) -> dict[str, Any]:
    """Return what the template shows of the account to this person."""
    account = found.account
    zone = account.timezone
    return {
        "metrics": list(_list_metrics(found)),
        "subscriptions": [_show_subscription(request, each, found) for each in found.subscriptions],
        "agenda": [_show_entry(entry, zone) for entry in found.agenda],
        "until": format_day(found.until.astimezone(account.zone).date()),
        "costs": [build_cost_view(each, timezone=zone) for each in found.costs],
        "usage": [_show_use(use, zone) for use in found.usage],
        "unbilled": _add_up(found.usage),
        "invoices": [
            (link_to(each), _show_state(each), _show_issue_date(each), money(each.total, each.currency),
             money(each.amount_remaining, each.currency) if each.amount_remaining else NOTHING)
            for each in found.invoices
        ],
        "grants": [
            (link_to(grant), money(facts.remaining, grant.currency), ", ".join(sorted(facts.meters)) or "everything",
             instant(facts.expires_at, zone))
            for grant, facts in found.grants
        ],
        "methods": [
            (link_to(method), method.get_type_display(), badge("default", "info") if method.is_default else "",
             show_expiry(method))
            for method in found.methods
        ],
        "links": _list_links(account),
    }  # fmt: skip


def _list_metrics(found: AccountGlance) -> Sequence[Metric]:
    invoices = f"{reverse('admin:invoicing_invoice_changelist')}?account__id__exact={found.account.pk}"
    own = found.account.currency
    prepaid = {row.currency: row.balance for row in found.balances}
    held = {row.currency: row.holds for row in found.balances if row.holds}
    available = {row.currency: row.available for row in found.balances if row.holds}
    caption = f"{_join(available)} available, {_join(held)} on hold" if held else "available"
    open_amounts = {row.currency: row.open_amount for row in found.owed}
    late = {row.currency: row.overdue_amount for row in found.owed if row.overdue_amount}
    unbilled: dict[str, int] = {}
    for use in found.usage:
        unbilled[use.currency] = unbilled.get(use.currency, 0) + use.cost - use.discount
    return [
        Metric("Prepaid balance", _format(prepaid, own), caption=caption, icon="account_balance_wallet"),
        Metric("Invoice credit", _format(found.invoice_credit, own), caption="settles invoices", icon="redeem"),
        Metric("Credit grants", _format(found.grant_credit, own), caption="usable now", icon="loyalty"),
        Metric(
            "Open",
            _format(open_amounts, own),
            caption=_count(sum(row.open_count for row in found.owed), "invoice"),
            url=f"{invoices}&status__exact=open",
            icon="pending",
        ),
        Metric(
            "Overdue",
            _format(late, own),
            caption=_count(sum(row.overdue_count for row in found.owed), "invoice"),
            url=f"{invoices}&status__exact=open&due_date__lt={found.at.astimezone(found.account.zone):%Y-%m-%d}",
            tone="bad" if late else "neutral",
            icon="warning",
        ),
        Metric("Not billed yet", _format(unbilled, own), caption="used so far, after discounts", icon="speed"),
    ]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _format(amounts: Mapping[str, int], own: str) -> list[str]:
    """Return amounts by currency, the account's own always and first."""
    shown = {own: amounts.get(own, 0), **{key: value for key, value in amounts.items() if value}}
    return [format_money(amount, currency) for currency, amount in shown.items()]


def _join(amounts: Mapping[str, int]) -> str:
    return ", ".join(format_money(amount, currency) for currency, amount in amounts.items())


def _show_subscription(request: HttpRequest, subscription: Subscription, found: AccountGlance) -> SubscriptionRow:
    zone = subscription.timezone
    notes = []
    if pending := describe_pending(subscription):
        notes.append(f"From the next period: {pending}")
    if subscription.cancel_at_period_end and subscription.is_running:
        notes.append("Ends with its period")
    if subscription.status == SubscriptionStatus.PAUSED:
        until = format_instant(subscription.resume_at, zone) if subscription.resume_at else "somebody resumes it"
        notes.append(f"Paused until {until}")
    if discount := describe_discount(found.discounts.get(subscription.id)):
        notes.append(f"Discount {discount}")
    waiting = found.waiting.get(subscription.id, [])
    if waiting and (papers := show_waiting(subscription, waiting)):
        notes.append(f"{papers[0].sums[-1][1]} waits for the next invoice")
    rhythm = describe_interval(subscription.interval, subscription.interval_count)
    return SubscriptionRow(
        plan=link_to(subscription, str(subscription.plan_version)),
        state=_show_state(subscription),
        terms=f"{format_quantity(subscription.quantity)}, {rhythm}",
        period=format_period(subscription.current_period_start, subscription.current_period_end, zone),
        next_due=instant(subscription.next_billing_at if subscription.is_running else None, zone),
        notes=notes,
        actions=_list_actions(request, subscription),
    )


def _list_actions(request: HttpRequest, subscription: Subscription) -> list[tuple[str, str]]:
    """Return title and address of what this person may do with the subscription now."""
    page = admin.site._registry[Subscription]
    offered = []
    for name in _OFFERED:
        action = find_service_action(getattr(page, name))
        if action is not None and action.is_permitted(request.user, Subscription) and action.is_allowed(subscription):
            offered.append((action.description, reverse(f"admin:accounts_subscription_{name}", args=[subscription.pk])))
    return offered


def _show_entry(entry: AgendaEntry, zone: str) -> tuple[Any, ...]:
    amount = money(entry.amount, entry.currency) if entry.amount is not None else ""
    return (instant(entry.at, zone), link_to_id(entry.subject, entry.text), amount)


def _show_use(use: MeterUse, zone: str) -> tuple[Any, ...]:
    quantity = f"{format_quantity(use.quantity)} {use.unit}".strip()
    return (use.name, format_period(use.start, use.end, zone), quantity, money(use.cost, use.currency))


def _add_up(usage: Sequence[MeterUse]) -> list[SafeString | str]:
    """Return what is not billed yet in all, one amount per currency."""
    totals: dict[str, int] = {}
    for use in usage:
        totals[use.currency] = totals.get(use.currency, 0) + use.cost
    return [money(amount, currency) for currency, amount in totals.items()]


def _show_issue_date(invoice: Any) -> str:
    return format_day(invoice.issue_date) if invoice.issue_date else NOTHING


def _list_links(account: Account) -> dict[str, str]:
    """Return where the whole lists are."""
    own = f"?account__id__exact={account.pk}"
    return {
        "subscriptions": reverse("admin:accounts_subscription_changelist") + own,
        "invoices": reverse("admin:invoicing_invoice_changelist") + own,
        "start": reverse("admin:accounts_account_start", args=[account.pk]),
    }
