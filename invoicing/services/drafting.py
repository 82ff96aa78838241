"""Writing drafts: from the pure draft to rows, many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounts.models import Account, Subscription, SubscriptionItem
from billing_site.kernel.errors import DomainError
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models.bulk import copy_rows
from catalog.models import PlanVersion, Price
from invoicing.calculation.draft import Draft
from invoicing.models import BillingRun, Invoice, InvoiceLine, Seller
from invoicing.services.sellers import snapshot_seller


class PeriodAlreadyInvoiced(DomainError):
    code, title, status = "period_already_invoiced", "A non-void invoice covers this subscription and period", 409


@dataclass(frozen=True, slots=True)
class DraftToWrite:
    """A draft with the rows it belongs to. `items` holds the subscription's items by id."""

    draft: Draft
    subscription: Subscription
    account: Account
    seller: Seller
    items: Mapping[str, SubscriptionItem]


def write_drafts(drafts: Sequence[DraftToWrite], *, run: BillingRun | None) -> list[tuple[Invoice, list[InvoiceLine]]]:
    """
    Insert one draft invoice with lines for each draft and return the rows in the same order. Two statements.

    The lines claim their items' periods here: a period billed before raises IntegrityError with the constraint
    `invoice_lines_period_billed_once` or `invoices_period_billed_once`.
    """
    written = [_build(each, run) for each in drafts]
    copy_rows([invoice for invoice, _ in written])
    copy_rows([line for _, lines in written for line in lines])
    return written


def _build(each: DraftToWrite, run: BillingRun | None) -> tuple[Invoice, list[InvoiceLine]]:
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
        tax=draft.tax,
        total=draft.total,
        amount_due=draft.amount_due,
        period_start=draft.period.start,
        period_end=draft.period.end,
        account_snapshot=snapshot_account(account),
        seller_snapshot=snapshot_seller(each.seller),
        trace=draft.facts.as_dict(),
        livemode=each.subscription.livemode,
    )
    return invoice, [_build_line(invoice, each, position) for position in range(len(draft.lines))]


def _build_line(invoice: Invoice, each: DraftToWrite, position: int) -> InvoiceLine:
    line = each.draft.lines[position]
    item = each.items[line.charge.item_id]
    return InvoiceLine(
        invoice=invoice,
        position=position + 1,
        type=line.type,
        description=line.description,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        amount=line.amount,
        currency=invoice.currency,
        subscription_item=item,
        price_id=Price.parse_id(line.charge.price.price_id),
        plan_version_id=PlanVersion.parse_id(line.charge.plan_version_id),
        meter_id=item.meter_id,
        period_start=line.period.start,
        period_end=line.period.end,
        trace=line.trace,
    )


def snapshot_account(account: Account) -> dict[str, Any]:
    """Return what an invoice keeps of the account it is addressed to."""
    columns = ("name", "company", "email", "line1", "line2", "city", "state", "postal_code", "country", "tax_id")
    return {"id": account.public_id} | {column: getattr(account, column) for column in columns}
