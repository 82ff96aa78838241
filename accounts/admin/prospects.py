"""
What an action on a subscription comes to: read before and after, so that every action shows the same things.

What changes about the subscription and the account's stored money, what is invoiced at once, what waits for the next
invoice, and what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from accounts.admin.discount_values import describe_value
from accounts.admin.inlines import natural_balance
from accounts.models import Account, LedgerAccount, LedgerKind, Subscription, SubscriptionDiscount
from accounts.queries.discounts import find_discount
from accounts.services.account_locks import lock_account
from billing_site.backoffice.actions import Call
from billing_site.backoffice.display import (
    NOTHING,
    format_day,
    format_instant,
    format_money,
    format_period_text,
    format_quantity,
)
from billing_site.backoffice.previews import Change, Coming, Paper, PaperLine, Prospect
from invoicing.calculation.draft import Draft
from invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, PendingCharge
from invoicing.queries.agenda import AgendaEntry, list_agenda
from invoicing.queries.credit_notes import read_unused
from invoicing.queries.pending_charges import draft_charges, read_charge, select_waiting
from invoicing.queries.sellers import get_sellers

_SHOWN_COMING: Final = 4
_MOMENT: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(days=400)
_POTS: Final = {
    LedgerKind.PREPAID: "Prepaid balance",
    LedgerKind.INVOICE_CREDIT: "Invoice credit",
    LedgerKind.CREDIT_GRANTS: "Credit",
}
_INTERVALS: Final = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}


@dataclass(frozen=True, slots=True)
class _Before:
    """Where an account and one subscription of it stood, and which documents there were."""

    terms: Mapping[str, str]
    pots: Mapping[str, str]
    newest_invoice: UUID | None
    newest_note: UUID | None
    newest_charge: UUID | None


def name_subscription(subscription: Subscription) -> str:
    """Return which subscription of whom, for people: `Pro v1 of Acme`."""
    return f"{subscription.plan_version} of {subscription.account}"


def describe_interval(unit: str, count: int) -> str:
    """Return `monthly`, or `every 3 months`."""
    return _INTERVALS.get(unit, unit) if count == 1 else f"every {count} {unit}s"


def describe_pending(subscription: Subscription) -> str:
    """Return what takes over with the next period, as text; empty when nothing does."""
    parts = []
    if subscription.pending_plan_version is not None:
        parts.append(str(subscription.pending_plan_version))
    if subscription.pending_quantity is not None:
        parts.append(f"quantity {format_quantity(subscription.pending_quantity)}")
    if subscription.pending_interval:
        parts.append(describe_interval(subscription.pending_interval, subscription.pending_interval_count or 1))
    return ", ".join(parts)


def describe_discount(discount: SubscriptionDiscount | None) -> str:
    """Return what a discount takes off, as text; empty without one."""
    if discount is None:
        return ""
    value = describe_value(discount)
    left = discount.months_left
    lasts = "until removed" if left is None else f"{left} invoice{'' if left == 1 else 's'} left"
    return f"{discount.name}: {value} off, {lasts}" if discount.name else f"{value} off, {lasts}"


def describe_terms(subscription: Subscription) -> dict[str, str]:
    """Return what a person wants to know of a subscription, by name, as text. One query."""
    zone = subscription.timezone
    trial = subscription.trial_end if subscription.status in {"trialing", "paused"} else None
    if subscription.billing_cycle_anchor is not None:
        boundaries = f"from {format_day(subscription.billing_cycle_anchor)}"
    else:
        boundaries = subscription.get_alignment_display().lower()
    return {
        "State": subscription.get_status_display(),
        "Plan": str(subscription.plan_version),
        "Quantity": format_quantity(subscription.quantity),
        "Billed": describe_interval(subscription.interval, subscription.interval_count),
        "Boundaries": boundaries,
        "Trial until": format_instant(trial, zone) if trial else "",
        "Period": format_period_text(subscription.current_period_start, subscription.current_period_end, zone),
        "Billed next": format_instant(subscription.next_billing_at, zone) if subscription.next_billing_at else "",
        "From the next period": describe_pending(subscription),
        "Ends with the period": "yes" if subscription.cancel_at_period_end else "",
        "Paused since": format_instant(subscription.paused_at, zone) if subscription.paused_at else "",
        "Resumes": format_instant(subscription.resume_at, zone) if subscription.resume_at else "",
        "Ended": format_instant(subscription.ended_at, zone) if subscription.ended_at else "",
        "Discount": describe_discount(find_discount(subscription)),
    }


def carry_out(
    act: Callable[[], UUID],
    *,
    account: Account,
    subscription: Subscription | None,
    at: datetime,
    message: Callable[[Subscription, Sequence[Invoice | CreditNote]], str],
    url: Callable[[Subscription], str] = lambda _: "",
) -> Prospect:
    """
    Call `act`, which returns the id of the subscription it changed or made, and return what that came to.

    Runs in the caller's transaction, under the lock of the account. `message` says what was done.
    """
    lock_account(account.pk)
    before = _look(account, None if subscription is None else _load(subscription.pk))
    changed = _load(act())
    invoices = list(
        _newer(Invoice.objects.filter(account=account), before.newest_invoice).prefetch_related("lines", "credits")
    )
    notes = list(
        _newer(CreditNote.objects.filter(account=account), before.newest_note)
        .select_related("invoice")
        .prefetch_related("lines__invoice_line")
    )
    waiting = list(
        _newer(select_waiting().filter(subscription=changed), before.newest_charge).filter(invoice__isnull=True)
    )
    return Prospect(
        message=message(changed, [*notes, *invoices]),
        changes=_compare(before, _look(account, changed)),
        papers=[
            *(show_credit_note(each, account.timezone) for each in notes),
            *(show_invoice(each, account.timezone) for each in invoices),
            *show_waiting(changed, waiting),
        ],
        coming=_foresee(account, changed, at),
        url=url(changed),
    )


def carry_out_on(subscription: Subscription, call: Call, done: str, act: Callable[[], object]) -> Prospect:
    """Call the one service of an action on a subscription and return what that came to; `done` is a sentence."""

    def run() -> UUID:
        act()
        return subscription.pk

    return carry_out(
        run,
        account=subscription.account,
        subscription=subscription,
        at=call.at,
        message=lambda _, documents: say_done(done, documents),
    )


def say_done(done: str, documents: Sequence[Invoice | CreditNote]) -> str:
    """Return what was done, with what was invoiced and credited."""
    issued = [f"{each} over {format_money(each.total, each.currency)}" for each in documents]
    return f"{done} Issued: {', '.join(issued)}." if issued else f"{done} Nothing was invoiced."


def _load(subscription_id: UUID) -> Subscription:
    rows = Subscription.objects.select_related(
        "account__test_clock", "plan_version__plan", "pending_plan_version__plan"
    )
    (found,) = rows.filter(pk=subscription_id)
    return found


def _newer(rows: Any, newest: UUID | None) -> Any:
    """Return the rows that were made since, oldest first; keys are ordered by time."""
    return (rows if newest is None else rows.filter(id__gt=newest)).order_by("id")


def _look(account: Account, subscription: Subscription | None) -> _Before:
    pots = LedgerAccount.objects.filter(account=account, kind__in=_POTS).order_by("kind", "currency")
    charges = PendingCharge.objects.filter(subscription=subscription) if subscription else PendingCharge.objects.none()
    return _Before(
        terms={} if subscription is None else describe_terms(subscription),
        pots={
            f"{_POTS[LedgerKind(pot.kind)]}, {pot.currency.upper()}": format_money(natural_balance(pot), pot.currency)
            for pot in pots
        },
        newest_invoice=Invoice.objects.filter(account=account).order_by("-id").values_list("id", flat=True).first(),
        newest_note=CreditNote.objects.filter(account=account).order_by("-id").values_list("id", flat=True).first(),
        newest_charge=charges.order_by("-id").values_list("id", flat=True).first(),
    )


def _compare(before: _Before, after: _Before) -> list[Change]:
    found = []
    for old, new, none in ((before.terms, after.terms, ""), (before.pots, after.pots, "0")):
        names = [*old, *(name for name in new if name not in old)]
        found += [
            Change(name, old.get(name, none), new.get(name, none))
            for name in names
            if old.get(name, "") != new.get(name, "")
        ]
    return found


def _foresee(account: Account, subscription: Subscription, at: datetime) -> list[Coming]:
    """Return what happens next to the subscription: up to its next boundary, told by the agenda of the account."""
    moments = [moment for moment in (subscription.next_billing_at, subscription.resume_at) if moment is not None]
    if not moments or not subscription.is_running:
        return []
    until = min(max(moments) + _MOMENT, at + _LONGEST)
    entries = [entry for entry in list_agenda(account, at=at, until=until) if entry.subject == subscription.public_id]
    return [show_entry(entry, account.timezone) for entry in entries[:_SHOWN_COMING]]


def show_entry(entry: AgendaEntry, zone: str) -> Coming:
    """Return an entry of the agenda as text."""
    amount = format_money(entry.amount, entry.currency) if entry.amount is not None else ""
    return Coming(format_instant(entry.at, zone), entry.text, amount)


# ---- documents ------------------------------------------------------------------------------------------------------
def show_invoice(invoice: Invoice, zone: str) -> Paper:
    """Return an invoice with its lines and sums as text; its lines and credits are loaded."""
    currency = invoice.currency
    sums = [("Subtotal", invoice.subtotal)]
    if invoice.discount:
        sums.append((f"Discount {invoice.discount_name}".strip(), -invoice.discount))
    if invoice.tax:
        sums.append(("Tax", invoice.tax))
    sums = [*sums, ("Total", invoice.total)] if len(sums) > 1 else [("Total", invoice.total)]
    sums += [(credit.description, -credit.amount) for credit in invoice.credits.all()]
    if invoice.total < 0:
        sums.append(("Becomes invoice credit", -invoice.total))
    else:
        sums.append(("Left to pay", invoice.amount_remaining))
    return Paper(
        "Invoice",
        [_show_line(line, zone) for line in invoice.lines.all()],
        [(name, format_money(amount, currency)) for name, amount in sums],
    )


def show_credit_note(note: CreditNote, zone: str) -> Paper:
    """Return a credit note with its lines and sums as text; its lines are loaded."""
    sums = [("Subtotal", note.subtotal), ("Tax", note.tax)] if note.tax else []
    sums += [("Total", note.total)]
    sums += [
        (name, amount)
        for name, amount in (
            ("Lowers what is left to pay", note.amount_applied),
            ("Becomes invoice credit", note.amount_credited),
            ("Paid back outside", note.out_of_band_amount),
        )
        if amount
    ]
    return Paper(
        f"Credit note of {note.invoice}",
        [_show_credited(line, note.currency, zone) for line in note.lines.all()],
        [(name, format_money(amount, note.currency)) for name, amount in sums],
    )


def _show_credited(line: CreditNoteLine, currency: str, zone: str) -> PaperLine:
    unused = read_unused(line)
    period = line.invoice_line.period if unused is None else unused.period
    return PaperLine(
        text=line.description,
        period=format_period_text(period.start, period.end, zone),
        share=NOTHING if unused is None else unused.share.text,
        amount=format_money(line.amount, currency),
    )


def _show_line(line: InvoiceLine, zone: str) -> PaperLine:
    share = (line.trace.get("charge") or {}).get("share") or {}
    return PaperLine(
        text=line.description,
        period=format_period_text(line.period_start, line.period_end, zone),
        share=share.get("text") or NOTHING,
        amount=format_money(line.amount, line.currency),
    )


def show_waiting(subscription: Subscription, charges: Sequence[PendingCharge]) -> list[Paper]:
    """Return what waits for the next invoice of a subscription as one paper; none when nothing waits. Two queries."""
    if not charges:
        return []
    seller = get_sellers([subscription.account]).of(subscription.account)
    facts = [read_charge(each) for each in charges]
    draft = draft_charges(subscription, facts, seller, at=subscription.current_period_end)
    return [_show_draft(draft, subscription)] if draft.lines else []


def _show_draft(draft: Draft, subscription: Subscription) -> Paper:
    zone, currency = subscription.timezone, subscription.currency
    lines = [
        PaperLine(
            text=line.description,
            period=format_period_text(line.period.start, line.period.end, zone),
            share=NOTHING if line.charge.share is None else line.charge.share.text,
            amount=format_money(line.amount, currency),
        )
        for line in draft.lines
    ]
    return Paper("Waits for the next invoice", lines, [("Total", format_money(draft.total, currency))], is_issued=False)
