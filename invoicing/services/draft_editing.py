"""
Invoices by hand, as long as they are drafts: made of given lines, lines added and removed, a discount put on.

Every edit changes the facts and computes the draft again from them, so an edited document explains itself like any
other. Source: contract chapters Invoices, Coupons and discounts; policies, rules 2, 3 and 20; ADR 0039.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast

from django.db import transaction

from accounts.models import Account, Subscription, SubscriptionItem
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account
from accounts.services.corrections import CurrencyMismatch
from accounts.services.coupons import find_usable_coupon, use_coupon_on_document
from accounts.services.discounts import check_terms, give_month_back
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.kernel.money import RoundingMode
from billing_site.platform.models.bulk import copy_rows
from billing_site.platform.services import events
from invoicing.calculation.discounts import DiscountFacts
from invoicing.calculation.draft import Draft, DraftLine, draft_invoice
from invoicing.calculation.facts import InvoiceFacts
from invoicing.models import Invoice, InvoiceLine, InvoiceMember, InvoiceStatus, InvoiceTax, PendingCharge
from invoicing.queries.taxes import with_tax
from invoicing.services.drafting import (
    DraftToWrite,
    build_line,
    build_splits,
    build_taxes,
    get_tax_mode,
    write_drafts,
)
from invoicing.services.given_lines import NewLine, get_local_day, make_charges
from invoicing.services.invoices import list_used_discounts, lock_invoice, lock_parties
from invoicing.services.issuing import snapshot_invoice
from invoicing.services.sellers import ensure_sellers
from invoicing.services.traces import snapshot_account

MAX_DUE_DAYS: Final = 365
_DISCOUNT_PREFIX: Final = "idc"
_WRITTEN: Final = (
    "subtotal",
    "discount",
    "discount_name",
    "tax",
    "tax_mode",
    "total",
    "amount_due",
    "period_start",
    "period_end",
    "subscription_discount",
    "trace",
    "updated_at",
)


class InvoiceNotDraft(DomainError):
    """Member `current_status`."""

    code, title, status = "invoice_not_draft", "Only a draft can be edited", 409


@dataclass(frozen=True, slots=True)
class InvoiceDetails:
    """What a one-off invoice says beside its lines; what is not given is as for every invoice of the account."""

    email: str = ""
    due_days: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def create_invoice(
    *,
    account: Account,
    lines: Sequence[NewLine],
    at: datetime,
    actor: Actor,
    currency: str = "",
    subscription: Subscription | None = None,
    details: InvoiceDetails | None = None,
    reason: str = "",
) -> Invoice:
    """
    Make a draft invoice of given lines and return it; it may have none yet. `currency` is the account's by default.

    :raises ValidationFailed: for a line or a number of days that cannot be. :raises CurrencyUnsupported: for a currency
        that is not offered. :raises CurrencyMismatch: for a line or a subscription in another one.
    :raises NotFound: for an unknown meter, plan or cost center, or a subscription of another account.
    """
    details = details or InvoiceDetails()
    if details.due_days is not None and not 0 <= details.due_days <= MAX_DUE_DAYS:
        raise ValidationFailed.of("/due_days", "out_of_range", f"0 to {MAX_DUE_DAYS} days.")
    account = lock_account(account.pk)
    currency = require_currency(currency or account.currency)
    if subscription is not None and subscription.account_id != account.pk:
        raise NotFound("subscription")
    if subscription is not None and subscription.currency != currency:
        raise CurrencyMismatch(f"The subscription is in {subscription.currency.upper()}.")
    seller = ensure_sellers([account]).of(account)
    facts = InvoiceFacts(
        currency=currency,
        timezone=account.timezone,
        boundary=None,
        rounding=cast(RoundingMode, seller.rounding),
        charges=make_charges(lines, account=account, currency=currency, at=at),
        period=get_local_day(at, account),
    )
    facts = with_tax(facts, account=account, seller=seller, at=at)
    extra: dict[str, Any] = {"due_days": details.due_days, "metadata": dict(details.metadata)}
    if details.email:
        extra["account_snapshot"] = snapshot_account(account) | {"email": details.email}
    ((invoice, _),) = write_drafts(
        [DraftToWrite(draft_invoice(facts), subscription, account, seller, {}, extra=extra)], run=None
    )
    events.emit(
        "invoice.created",
        subject=invoice,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice),
        reason=reason,
    )
    return invoice


@transaction.atomic
def add_lines(
    *, invoice_id: uuid.UUID, lines: Sequence[NewLine], at: datetime, actor: Actor, reason: str = "", pointer: str = ""
) -> Invoice:
    """
    Add given lines to a draft and compute it again. `pointer` is where they stand in the request.

    :raises InvoiceNotDraft: when it is issued or void. :raises: as `create_invoice` for the lines.
    """
    invoice = lock_draft(invoice_id)
    facts = read_facts(invoice)
    added = make_charges(lines, account=invoice.account, currency=invoice.currency, at=at, pointer=pointer)
    rewrite_draft(invoice, replace(facts, charges=(*facts.charges, *added)), at=at, actor=actor, reason=reason)
    return invoice


@transaction.atomic
def remove_line(*, invoice_id: uuid.UUID, line_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Take a line off a draft and compute it again.

    What makes up for a minimum goes with the usage it belongs to. A line that waited for this invoice waits for
    the next one then; usage of a subscription comes with its next invoice within the look-back (ADR 0040). A fee is let
    off: its period is free, but nothing bills it by itself.
    :raises InvoiceNotDraft: when it is issued or void. :raises NotFound: if it has no such line.
    """
    invoice = lock_draft(invoice_id)
    line = InvoiceLine.objects.filter(invoice=invoice, pk=line_id).first()
    if line is None:
        raise NotFound("line_item")
    facts = read_facts(invoice)
    stored = [charge.as_dict() for charge in facts.charges]
    index = stored.index(line.trace["charge"])
    for charge in PendingCharge.objects.filter(invoice=invoice).order_by("id"):
        if charge.facts == stored[index]:
            charge.invoice = None
            charge.save(update_fields=["invoice", "updated_at"])
            break
    kept = (*facts.charges[:index], *facts.charges[index + 1 :])
    rewrite_draft(invoice, replace(facts, charges=kept), at=at, actor=actor, reason=reason)
    return invoice


@transaction.atomic
def apply_discount(
    *,
    invoice_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    percent_off: Decimal | None = None,
    amount_off: int | None = None,
    name: str = "",
    reason: str = "",
) -> Invoice:
    """
    Put a discount on a draft in place of what it had, and compute it again; it never takes more than the subtotal.

    Either `percent_off` or `amount_off` in minor units. A discount of the subscription that it replaces gets its month
    back. :raises InvoiceNotDraft: when it is issued or void. :raises ValidationFailed: for both or none, or out of
    range. :raises AmountNotPositive: for an amount of zero or less.
    """
    check_terms(percent_off, amount_off, None, name)
    invoice = lock_draft(invoice_id)
    discount = DiscountFacts(
        id=encode_id(_DISCOUNT_PREFIX, new_uuid()),
        name=name.strip(),
        attached_at=at,
        percent_off=percent_off,
        amount_off=amount_off,
        currency="" if amount_off is None else invoice.currency,
    )
    replace_discount(invoice, discount, at=at, actor=actor, reason=reason)
    return invoice


@transaction.atomic
def apply_coupon(
    *, invoice_id: uuid.UUID, code: str, at: datetime, actor: Actor, name: str = "", reason: str = ""
) -> Invoice:
    """
    Use a coupon (its code or id) on a draft: its discount takes the place of what the draft had, and it is counted.

    Without a `name` it is called by its code.

    It stays used when the discount is replaced later.
    :raises InvoiceNotDraft: when it is issued or void. :raises CouponNotApplicable: with the first reason why not.
    """
    invoice = lock_draft(invoice_id)
    facts = read_facts(invoice)
    plans = [charge.plan_id for charge in facts.charges if charge.plan_id]
    coupon = find_usable_coupon(
        account=invoice.account, reference=code, at=at, plan_keys=plans, currency=invoice.currency
    )
    use_coupon_on_document(
        coupon=coupon, account=invoice.account, document_id=invoice.public_id, at=at, actor=actor, reason=reason
    )
    discount = DiscountFacts(
        id=encode_id(_DISCOUNT_PREFIX, new_uuid()),
        name=name.strip() or coupon.code,
        attached_at=at,
        percent_off=coupon.percent_off,
        amount_off=coupon.amount_off,
        currency=coupon.currency,
        plans=tuple(coupon.applicable_plan_ids),
    )
    replace_discount(invoice, discount, at=at, actor=actor, reason=reason)
    return invoice


@transaction.atomic
def remove_discount(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Take the discount off a draft and compute it again.

    :raises InvoiceNotDraft: when it is issued or void. :raises InvalidState: when it has none.
    """
    invoice = lock_draft(invoice_id)
    if not read_facts(invoice).discounts:
        raise InvalidState("The draft has no discount.", current_status=invoice.status)
    replace_discount(invoice, None, at=at, actor=actor, reason=reason)
    return invoice


def lock_draft(invoice_id: uuid.UUID) -> Invoice:
    """
    Lock account, subscription and invoice, and return the invoice.

    :raises NotFound: if there is none. :raises InvoiceNotDraft: when it is issued or void.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        raise InvoiceNotDraft("It is issued or void, and stays as it is.", current_status=invoice.status)
    return invoice


def read_facts(invoice: Invoice) -> InvoiceFacts:
    """Return the facts that the document was computed from."""
    return InvoiceFacts.from_dict(invoice.trace)


def replace_discount(
    invoice: Invoice, discount: DiscountFacts | None, *, at: datetime, actor: Actor, reason: str
) -> None:
    """Give a locked draft this discount, or none, in place of what it had, and compute it again."""
    for discount_id in list_used_discounts(invoice):
        give_month_back(discount_id)
    InvoiceMember.objects.filter(invoice=invoice, discount__isnull=False).update(discount=None)
    invoice.subscription_discount = None
    discounts = () if discount is None else (discount,)
    rewrite_draft(invoice, replace(read_facts(invoice), discounts=discounts), at=at, actor=actor, reason=reason)


def rewrite_draft(
    invoice: Invoice,
    facts: InvoiceFacts,
    *,
    at: datetime,
    actor: Actor,
    reason: str = "",
    items: Mapping[str, SubscriptionItem] | None = None,
) -> Draft:
    """
    Compute a locked draft from other facts, store it with its lines and its tax, and return it.

    A line whose charge is the same keeps its id. `items` are those of charges that are new to it. Seven statements at
    most and the event, however many lines. Draft only: the caller has checked it.
    """
    before = snapshot_invoice(invoice)
    facts = with_tax(facts, account=invoice.account, seller=invoice.seller, at=at)
    draft = draft_invoice(facts)
    if not draft.lines and facts.period is None:
        # A draft that lost its last line keeps the period it had.
        draft = draft_invoice(replace(facts, period=invoice.period))
    rows = list(InvoiceLine.objects.filter(invoice=invoice).select_related("subscription_item").order_by("position"))
    known = {row.subscription_item.public_id: row.subscription_item for row in rows if row.subscription_item}
    known |= items or {}
    InvoiceLine.objects.filter(invoice=invoice).delete()
    written = [
        build_line(invoice, line, position=position, item=known.get(line.charge.item_id))
        for position, line in enumerate(draft.lines, start=1)
    ]
    _keep_ids(rows, written, draft.lines)
    copy_rows(written)
    copy_rows(list(build_splits(draft.lines, written)))
    InvoiceTax.objects.filter(invoice=invoice).delete()
    copy_rows(list(build_taxes(draft, invoice)))
    invoice.subtotal, invoice.discount, invoice.discount_name = (
        draft.subtotal,
        draft.discount,
        draft.discount_name[:255],
    )
    invoice.tax, invoice.total, invoice.amount_due = draft.tax, draft.total, draft.amount_due
    invoice.tax_mode = get_tax_mode(draft)
    invoice.period_start, invoice.period_end = draft.period.start, draft.period.end
    invoice.trace = draft.facts.as_dict()
    invoice.save(update_fields=_WRITTEN)
    events.emit(
        "invoice.updated",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice),
        previous=before,
        reason=reason,
    )
    return draft


def _keep_ids(old: Sequence[InvoiceLine], new: Sequence[InvoiceLine], lines: Sequence[DraftLine]) -> None:
    """Give new rows the ids of old ones with the same charge and type, in their order."""
    ids: dict[tuple[str, str], list[uuid.UUID]] = defaultdict(list)
    for row in old:
        ids[_name_charge(row.trace["charge"]), row.type].append(row.pk)
    for row, line in zip(new, lines, strict=True):
        found = ids[_name_charge(line.charge.as_dict()), line.type]
        if found:
            row.pk = found.pop(0)


def _name_charge(charge: Mapping[str, Any]) -> str:
    return json.dumps(charge, sort_keys=True)
