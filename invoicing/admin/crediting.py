"""Issuing a credit note from an invoice's page: what is asked, what it comes to, what another person approves."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.queries.invoice_credit import get_invoice_credit
from accounts.services.approval_limits import get_approval_limit
from billing_site.backoffice.actions import Call, ObjectForm
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import NOTHING, format_money, format_period_text, link_to, link_to_id
from billing_site.backoffice.previews import Change, Paper, PaperLine, Prospect, previewed_action
from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import parse_major
from billing_site.platform.models import Approval, ApprovalStatus
from invoicing.calculation.credit_facts import CreditFacts, WantedLine, Wish
from invoicing.calculation.explain_taxes import percent
from invoicing.models import CreditReason, Disposition, Invoice, InvoiceStatus
from invoicing.queries.credit_notes import CREDITABLE_STATUSES, load_credit_facts, sum_credited
from invoicing.services.credit_note_approvals import credit_or_request, find_credited_invoice, read_request
from invoicing.services.credit_notes import CREDIT_NOTE_KIND
from invoicing.services.credit_requests import CreditRequest, ForeseenNote, foresee_note

ISSUE: Final = "invoicing.issue_credit_note"
REST, LINES, AMOUNT = "rest", "lines", "amount"
SHOWN_LINES: Final = 100
_LINE: Final = "line_"
_DISPOSITIONS: Final = [
    (Disposition.CUSTOMER_BALANCE, "becomes invoice credit, which pays the next invoice"),
    (Disposition.REFUND, "is refunded the way it was paid"),
    (Disposition.OUT_OF_BAND, "was paid back outside, by bank transfer for example"),
]


class CreditForm(ObjectForm):
    """What to take back of an invoice. Cleaned, `wish` says it."""

    what = forms.ChoiceField(widget=UnfoldAdminRadioSelectWidget(), initial=REST, label="Take back")
    amount = forms.CharField(max_length=30, required=False, widget=UnfoldAdminTextInputWidget())
    disposition = forms.ChoiceField(
        choices=_DISPOSITIONS,
        label="What was paid already",
        help_text="What is not paid yet is owed no more, whatever is chosen here.",
        widget=UnfoldAdminSelectWidget(),
    )
    cause = forms.ChoiceField(
        choices=[("", "None"), *CreditReason.choices],
        required=False,
        label="Reason on the document",
        widget=UnfoldAdminSelectWidget(),
    )
    memo = forms.CharField(
        max_length=1000,
        required=False,
        label="Note on the document",
        help_text="The customer reads it.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        facts = load_credit_facts(self.obj, Wish(everything=True))
        self.lines = {f"{_LINE}{number}": line for number, line in enumerate(facts.lines, start=1) if line.left}
        self.currency = facts.currency
        what: Any = self.fields["what"]
        what.choices = [
            (REST, f"everything that is left: {format_money(facts.left, facts.currency)} with tax"),
            (AMOUNT, "an amount with its tax, of every line by what is left of it"),
            (LINES, "amounts of single lines, before tax"),
        ]
        self.fields["amount"].label = "Amount with tax"
        self.fields["amount"].help_text = f"In {facts.currency.upper()}, such as 25.00. For the second choice."
        self._add_lines(facts)

    def _add_lines(self, facts: CreditFacts) -> None:
        """Add a field for each of the first lines of which something is left."""
        shown = list(self.lines.items())[:SHOWN_LINES]
        for name, line in shown:
            left, net = (format_money(amount, facts.currency) for amount in (line.left, line.net))
            self.fields[name] = forms.CharField(
                max_length=30,
                required=False,
                label=f"{name.removeprefix(_LINE)}. {line.description}",
                help_text=f"Before tax; {left}" + (f" of {net}" if line.credited else "") + " is left.",
                widget=UnfoldAdminTextInputWidget(),
            )
        if len(self.lines) > SHOWN_LINES:
            last = self.fields[shown[-1][0]]
            last.help_text = f"{last.help_text} Lines after this one are credited by an amount, or by the API."
        self.order_fields(["what", "amount", *(name for name, _ in shown), "disposition", "cause", "memo", "reason"])

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        typed = {name: data.pop(name) for name in list(data) if name.startswith(_LINE)}
        lines = {name: self._read(name, text) for name, text in typed.items() if text.strip()}
        amount = self._read("amount", data.pop("amount")) if (data.get("amount") or "").strip() else 0
        what = data.get("what")
        if self.errors:
            return data
        if what != AMOUNT and amount:
            self.add_error("amount", "An amount is given, but something else is to be taken back. Choose one.")
        elif what != LINES and lines:
            self.add_error(next(iter(lines)), "A line is given, but something else is to be taken back. Choose one.")
        elif what == AMOUNT and not amount:
            self.add_error("amount", "Which amount?")
        elif what == LINES and not lines:
            self.add_error("what", "Of which lines? Give at least one of them an amount.")
        wanted = tuple(WantedLine(self.lines[name].id, number) for name, number in lines.items())
        data["wish"] = Wish(wanted, amount, everything=what == REST)
        return data

    def _read(self, name: str, text: str) -> int:
        """Return minor units; what cannot be read is an error of the field."""
        try:
            return parse_major(text.strip(), self.currency)
        except ValueError:
            self.add_error(name, f"{text!r:.40} is no amount of {self.currency.upper()}.")
            return 0


def is_creditable(invoice: Invoice) -> bool:
    """Tell whether something of an invoice is left to credit. One query for what is issued."""
    return invoice.status in CREDITABLE_STATUSES and sum_credited(invoice) < invoice.total


class CreditingActions:
    """The button of an invoice."""

    @previewed_action(
        description="Issue a credit note",
        permission=ISSUE,
        effect="An issued invoice never changes: a numbered document takes back some of it or all, with the tax at the "
        "rates of the invoice. The next page shows what it comes to; nothing happens before you have confirmed that.",
        allowed=is_creditable,
        form=CreditForm,
        confirm_label="Issue it",
        icon="assignment_return",
        variant=ActionVariant.PRIMARY,
    )
    def credit(self, request: HttpRequest, invoice: Invoice, call: Call) -> Prospect:
        data = call.data
        asked = CreditRequest(
            wish=data["wish"], disposition=data["disposition"], cause=data["cause"], memo=data["memo"].strip()
        )
        credit = get_invoice_credit(account_id=invoice.account_id, currency=invoice.currency)
        outcome = credit_or_request(
            invoice_id=invoice.pk, request=asked, at=call.at, actor=call.actor, reason=call.reason
        )
        done, foreseen = outcome.done, outcome.foreseen
        waits = isinstance(done, Approval)
        total = format_money(foreseen.draft.total, invoice.currency)
        page = "platform_approval_change" if waits else "invoicing_creditnote_change"
        return Prospect(
            message=f"A credit note over {total} waits for the approval of another person."
            if waits
            else f"{done} over {total} is issued.",
            changes=compare(invoice, foreseen, credit),
            papers=[show_paper(invoice, foreseen, badge="waits for another person" if waits else "")],
            notes=[*([_tell_limit(invoice)] if waits else []), *tell_money(invoice, foreseen)],
            url=reverse(f"admin:{page}", args=[done.pk]),
            confirm_label="Ask for it" if waits else "",
        )


def _tell_limit(invoice: Invoice) -> str:
    limit = format_money(get_approval_limit(), invoice.currency)
    return f"It is above {limit}: another person must approve it, and nothing is issued or booked before."


def compare(invoice: Invoice, foreseen: ForeseenNote, credit: int) -> list[Change]:
    """Return what is another with the note; `credit` is the account's invoice credit before, minor units."""
    currency, left = invoice.currency, foreseen.draft.facts.left
    settling, remaining = foreseen.settling, invoice.amount_remaining
    found = [
        Change("Left to credit", format_money(left, currency), format_money(left - foreseen.draft.total, currency))
    ]
    if settling.applied:
        after = remaining - settling.applied
        found.append(Change("To be paid", format_money(remaining, currency), format_money(after, currency)))
        if not after:
            found.append(Change("Status", invoice.get_status_display(), str(InvoiceStatus.PAID.label).capitalize()))
    if settling.credited:
        after = credit + settling.credited
        found.append(
            Change("Invoice credit of the account", format_money(credit, currency), format_money(after, currency))
        )
    return found


def tell_money(invoice: Invoice, foreseen: ForeseenNote) -> list[str]:
    """Return where the total of a note goes, as sentences."""
    settling, currency = foreseen.settling, invoice.currency
    found = []
    if settling.applied:
        found.append(f"{format_money(settling.applied, currency)} of {invoice} need not be paid any more.")
    if settling.credited:
        given = format_money(settling.credited, currency)
        found.append(f"{given} were paid: they become invoice credit and pay the next invoice.")
    for part in settling.parts:
        back = format_money(part.amount, currency)
        found.append(f"{back} go back through {part.intent.provider_type if part.intent else 'the provider'}.")
    if settling.out_of_band:
        found.append(
            f"{format_money(settling.out_of_band, currency)} were paid and are booked as paid back outside: "
            "this system does not send the money."
        )
    return found


def show_paper(invoice: Invoice, foreseen: ForeseenNote, *, badge: str = "") -> Paper:
    """Return what a note comes to as text: net by line, tax by rate, and the total. One query."""
    draft, currency, zone = foreseen.draft, invoice.currency, invoice.account.timezone
    periods = {
        line.public_id: format_period_text(line.period_start, line.period_end, zone) for line in invoice.lines.all()
    }
    lines = [
        PaperLine(
            text=line.description,
            period=periods.get(line.line.id, NOTHING),
            share=f"of {format_money(line.line.net, currency)}",
            amount=format_money(line.amount, currency),
        )
        for line in draft.lines
    ]
    taxes = [
        (f"{tax.rate.name} {percent(tax.rate.rate)} % of {format_money(tax.base, currency)}", tax.amount)
        for tax in draft.taxes
    ]
    sums = [("Net", draft.subtotal), *taxes, ("Total", draft.total)]
    shown = [(name, format_money(amount, currency)) for name, amount in sums]
    return Paper("Credit note", lines, shown, is_issued=not badge, badge=badge)


def render_credit(approval: Approval) -> SafeString | str:
    """Return what approving a credit note takes back as things stand now, or what it took back."""
    invoice = find_credited_invoice(approval)
    if invoice is None:
        return "The invoice is gone."
    if approval.status != ApprovalStatus.PENDING:
        return _render_decided(approval, invoice)
    request = read_request(approval)
    try:
        foreseen = foresee_note(invoice, request)
    except DomainError as error:
        return format_html("<p>It can no longer be issued for {}. {}</p>", link_to(invoice), error.detail)
    notes = tell_money(invoice, foreseen)
    if foreseen.draft.total != approval.amount:
        now = format_money(foreseen.draft.total, invoice.currency)
        notes.insert(0, f"The invoice changed since: it would come to {now} now, and cannot be approved as it is.")
    context = {
        "invoice": link_to(invoice),
        "account": link_to(invoice.account),
        "paper": show_paper(invoice, foreseen),
        "notes": notes,
        "cause": CreditReason(request.cause).label if request.cause else "",
        "memo": request.memo,
    }
    return mark_safe(render_to_string("invoicing/credit_note_effect.html", context))  # noqa: S308 — escaped there


def _render_decided(approval: Approval, invoice: Invoice) -> SafeString | str:
    number, key = approval.result.get("number", ""), approval.result.get("credit_note_id", "")
    if approval.status == ApprovalStatus.APPROVED and number:
        return format_html("<p>{} was issued for {}.</p>", link_to_id(key, number), link_to(invoice))
    return format_html("<p>Nothing was issued for {}.</p>", link_to(invoice))


register_effect(CREDIT_NOTE_KIND, render_credit, find_subject=find_credited_invoice)
