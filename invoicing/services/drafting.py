"""Writing drafts: from the pure draft to rows, many at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.db import IntegrityError

from accounts.models import Account, CostCenter, Subscription, SubscriptionDiscount, SubscriptionItem
from billing_site.kernel.errors import DomainError
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models.bulk import RowMaker, attach, copy_rows, update_rows
from catalog.models import Meter, PlanVersion, Price, TaxRate
from invoicing.calculation.draft import Draft, DraftLine
from invoicing.calculation.review import ReviewFinding
from invoicing.models import (
    BillingRun,
    Invoice,
    InvoiceLine,
    InvoiceLineSplit,
    InvoiceMember,
    InvoiceTax,
    PendingCharge,
    Seller,
)
from invoicing.services.traces import TraceTexts


class PeriodAlreadyInvoiced(DomainError):
    code, title, status = "period_already_invoiced", "A non-void invoice covers this subscription and period", 409


def is_billed_before(error: IntegrityError) -> bool:
    """Tell whether the database refused a draft because a period or a boundary of it is billed already."""
    found = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or str(error)
    return "period_billed_once" in found


class DraftMember(NamedTuple):
    """One of several subscriptions of a draft, and the discount of which the draft uses a month for it."""

    subscription: Subscription
    discount: SubscriptionDiscount | None = None


@dataclass(frozen=True, slots=True)
class DraftToWrite:
    """
    A draft with the rows it belongs to. `items` holds the subscription's items by id.

    `waiting` are the pending charges that the draft takes up, `discount` the one of which it uses a month. `members`
    are the subscriptions of a draft for several, in the order of its facts; it has neither of its own then. `extra` are
    further columns of the invoice. One with a `finding` is written to be looked at by a person before it is issued.
    """

    draft: Draft
    subscription: Subscription | None
    account: Account
    seller: Seller
    items: Mapping[str, SubscriptionItem]
    waiting: Sequence[PendingCharge] = ()
    discount: SubscriptionDiscount | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    finding: ReviewFinding | None = None
    members: Sequence[DraftMember] = ()

    def list_subscriptions(self) -> list[Subscription]:
        """Return whom it bills."""
        return [each.subscription for each in self.members] or ([self.subscription] if self.subscription else [])


def write_drafts(drafts: Sequence[DraftToWrite], *, run: BillingRun | None) -> list[tuple[Invoice, list[InvoiceLine]]]:
    """
    Insert one draft invoice with lines for each draft and return the rows in the same order.

    Two statements, one more when lines are split by cost center, and one more when there is tax.

    The lines claim their items' periods here: a period billed before raises IntegrityError with the constraint
    `invoice_lines_period_billed_once` or `invoices_period_billed_once`.
    """
    written = _build_all(drafts, run)
    copy_rows([invoice for invoice, _ in written])
    _write_lines(drafts, written)
    take_up_charges(drafts, [invoice for invoice, _ in written])
    return written


def write_lines(drafts: Sequence[DraftToWrite], *, run: BillingRun | None) -> list[Invoice]:
    """
    Insert the lines of each draft and return their invoices, which are inserted when they are issued, only once.

    As `write_drafts`, for what is issued in the same transaction: call `issue_invoices`, for what is not issued
    `store_drafts`, then `take_up_charges`.
    """
    built = _build_all(drafts, run)
    _write_lines(drafts, built)
    return [invoice for invoice, _ in built]


def store_drafts(invoices: Sequence[Invoice]) -> None:
    """Insert invoices of `write_lines` that stay drafts."""
    copy_rows(invoices)


def _build_all(drafts: Sequence[DraftToWrite], run: BillingRun | None) -> list[tuple[Invoice, list[InvoiceLine]]]:
    texts = TraceTexts()
    return [_build(each, run, texts) for each in drafts]


def _write_lines(drafts: Sequence[DraftToWrite], built: Sequence[tuple[Invoice, Sequence[InvoiceLine]]]) -> None:
    copy_rows([line for _, lines in built for line in lines])
    parts = [build_splits(each.draft.lines, lines) for each, (_, lines) in zip(drafts, built, strict=True)]
    copy_rows([split for found in parts for split in found])
    taxes = [build_taxes(each.draft, invoice) for each, (invoice, _) in zip(drafts, built, strict=True)]
    copy_rows([tax for found in taxes for tax in found])
    members = [build_members(each, invoice) for each, (invoice, _) in zip(drafts, built, strict=True)]
    copy_rows([member for found in members for member in found])


def take_up_charges(drafts: Sequence[DraftToWrite], invoices: Sequence[Invoice]) -> None:
    """Store which invoice has which pending charge."""
    taken = []
    for draft, invoice in zip(drafts, invoices, strict=True):
        for charge in draft.waiting:
            charge.invoice = invoice
            taken.append(charge)
    if taken:
        update_rows(taken, {"invoice_id": "uuid"})


def _build(each: DraftToWrite, run: BillingRun | None, texts: TraceTexts) -> tuple[Invoice, list[InvoiceLine]]:
    draft, account = each.draft, each.account
    invoice = Invoice(
        id=new_uuid(),
        org_id=account.org_id,
        account=account,
        subscription=each.subscription,
        seller=each.seller,
        run=run,
        boundary=draft.facts.boundary,
        currency=draft.facts.currency,
        subtotal=draft.subtotal,
        discount=draft.discount,
        discount_name=draft.discount_name[:255],
        subscription_discount=each.discount,
        tax=draft.tax,
        tax_mode=get_tax_mode(draft),
        total=draft.total,
        amount_due=draft.amount_due,
        period_start=draft.period.start,
        period_end=draft.period.end,
        account_snapshot=texts.show_account(account),
        seller_snapshot=texts.show_seller(each.seller),
        trace=texts.show_facts(draft),
        livemode=(each.subscription or account).livemode,
        in_review=each.finding is not None,
        is_grouped=bool(draft.facts.members),
    )
    for column, value in each.extra.items():
        setattr(invoice, column, value)
    lines = [
        build_line(invoice, line, position=position, item=each.items.get(line.charge.item_id), texts=texts)
        for position, line in enumerate(draft.lines, start=1)
    ]
    return invoice, lines


def build_line(
    invoice: Invoice,
    line: DraftLine,
    *,
    position: int,
    item: SubscriptionItem | None,
    texts: TraceTexts | None = None,
) -> InvoiceLine:
    """
    Return the row of a line. `item` is whose period it claims; what was entered by hand has none.

    With `texts` its trace is JSON that is ready to be stored.

    :raises KeyError: when a line that is not given has no item.
    """
    given = line.charge.given
    if item is None and given is None:
        raise KeyError(line.charge.item_id)
    is_usage, billed, source = line.type == "usage", line.charge.billed, line.charge.source
    names_original = is_usage and billed is not None and not billed.is_first
    row = _LINES.make(
        invoice.pk,
        position,
        line.type,
        line.description,
        line.quantity,
        line.unit_amount,
        line.amount,
        line.discount,
        line.tax,
        list(line.taxes),
        invoice.currency,
        None if item is None else item.pk,
        Subscription.parse_id(line.charge.subscription) if line.charge.subscription else None,
        Price.parse_id(line.charge.price.price_id),
        PlanVersion.parse_id(line.charge.plan_version_id),
        item.meter_id if item is not None else Meter.parse_id(given.meter_id) if given else None,
        line.period.start,
        line.period.end,
        source.event_count if is_usage else None,
        source.last_recorded_at if is_usage else None,
        InvoiceLine.parse_id(billed.line) if names_original and billed is not None else None,
        billed.sequence if names_original and billed is not None else 0,
        line.trace if texts is None else texts.show_line(line),
    )
    attach(row, "invoice", invoice)
    return row


_LINES: Final = RowMaker(
    InvoiceLine,
    "invoice_id",
    "position",
    "type",
    "description",
    "quantity",
    "unit_amount",
    "amount",
    "discount",
    "tax",
    "tax_shares",
    "currency",
    "subscription_item_id",
    "subscription_id",
    "price_id",
    "plan_version_id",
    "meter_id",
    "period_start",
    "period_end",
    "usage_events",
    "usage_recorded_at",
    "original_line_id",
    "sequence",
    "trace",
)


def build_splits(lines: Sequence[DraftLine], rows: Sequence[InvoiceLine]) -> Iterator[InvoiceLineSplit]:
    """Yield the parts of the lines that are split by cost center; `rows` are the lines as they are stored."""
    for row, line in zip(rows, lines, strict=True):
        for position, split in enumerate(line.splits, start=1):
            yield InvoiceLineSplit(
                line=row,
                position=position,
                cost_center_id=CostCenter.parse_id(split.center.id),
                code=split.center.code,
                name=split.center.name,
                quantity=split.center.quantity,
                amount=split.amount,
            )


def build_members(each: DraftToWrite, invoice: Invoice) -> Iterator[InvoiceMember]:
    """Yield the rows of the subscriptions of a draft for several, not stored yet."""
    for position, (member, facts) in enumerate(zip(each.members, each.draft.facts.members, strict=True), start=1):
        yield InvoiceMember(
            invoice=invoice,
            position=position,
            subscription=member.subscription,
            boundary=facts.boundary,
            discount=member.discount,
        )


def get_tax_mode(draft: Draft) -> str:
    """Return how the tax of a draft was rounded; empty when nothing was known of tax."""
    return "" if draft.facts.tax is None else draft.facts.tax.mode


def build_taxes(draft: Draft, invoice: Invoice) -> Iterator[InvoiceTax]:
    """Yield the rows of a draft's tax, one for each rate, not stored yet."""
    for position, tax in enumerate(draft.taxes, start=1):
        yield InvoiceTax(
            invoice=invoice,
            position=position,
            tax_rate_id=TaxRate.parse_id(tax.rate.id) if tax.rate.id else None,
            name=tax.rate.name,
            rate=tax.rate.rate,
            inclusive=tax.rate.inclusive,
            jurisdiction=tax.rate.jurisdiction,
            base=tax.base,
            amount=tax.amount,
            note=tax.note,
        )
