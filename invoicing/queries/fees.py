"""What a subscription's fee comes to for a whole period, and what was billed for the running one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from django.db.models import F, Q, QuerySet, Sum

from accounts.models import BillingMode, Subscription, SubscriptionItem
from accounts.models.discount import DiscountEnd
from accounts.terms.fees import PeriodFee
from billing_site.kernel.money import EXACT
from billing_site.kernel.periods import Interval, Period
from catalog.models import BillingTiming, PlanVersion, Price
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from invoicing.calculation.facts import ChargeFacts
from invoicing.models import (
    CreditNoteLine,
    CreditNoteStatus,
    Invoice,
    InvoiceLine,
    InvoiceMember,
    InvoiceStatus,
    LineType,
)
from invoicing.queries.billables import Billables
from invoicing.queries.pending_charges import read_charge, select_waiting
from invoicing.queries.policies import get_proration_terms

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class PricedFee:
    """
    A fee: its plan, the price for the account, its quantity, and what a whole period comes to. No terms: free.

    `is_billed`: the rest of the running period has been billed with it, on `line` unless that waits for an invoice.
    `left` is what credit notes left of the line, net minor units.
    """

    plan_version_id: str
    plan_id: str
    plan_name: str
    quantity: Decimal
    period_fee: PeriodFee
    is_billed: bool = False
    is_advance: bool = False
    terms: PriceTerms | None = None
    line: InvoiceLine | None = None
    left: int = 0

    @property
    def is_paid(self) -> bool:
        """Tell whether the invoice that billed it is paid."""
        return self.line is not None and self.line.invoice.status == InvoiceStatus.PAID


def price_fee(
    subscription: Subscription,
    billables: Billables,
    *,
    version: PlanVersion,
    price: Price | None,
    quantity: int,
    interval: Interval,
) -> PricedFee:
    """
    Return what `quantity` of a fee costs the account now for a whole period of `interval`, net of its discount.

    Negotiated prices are those in force when the running period begins.
    """
    proration = get_proration_terms(version, billables.sellers.of(subscription.account))
    named = (version.public_id, version.plan.key, version.name, Decimal(quantity))
    if price is None:
        return PricedFee(*named, PeriodFee(_ZERO, interval, proration=proration))
    terms = billables.get_item_terms(subscription, price, at=subscription.current_period_start)
    amount = price_usage(terms, Usage(Decimal(quantity))).amount_decimal
    discount = EXACT.multiply(amount, get_discount_share(subscription, billables, price))
    return PricedFee(
        *named,
        PeriodFee(amount, interval, discount, proration),
        is_advance=price.billing_timing == BillingTiming.ADVANCE,
        terms=terms,
    )


def price_item(subscription: Subscription, billables: Billables, item: SubscriptionItem) -> PricedFee:
    """Return the fee of an item for a whole period as it is now."""
    price = item.price
    if price is None:
        raise ValueError(f"{item} is no fee")
    return price_fee(
        subscription,
        billables,
        version=price.plan_version,
        price=price,
        quantity=item.quantity,
        interval=Interval.parse(price.interval, price.interval_count),
    )


def find_billed_fee(subscription: Subscription, billables: Billables, item: SubscriptionItem) -> PricedFee | None:
    """
    Return the fee with which the rest of the running period was billed last, net of the discount it had then.

    None if it was not billed at all (a fee in arrears, a grant, a voided invoice): nothing is given back that nobody
    was asked for. Source: policies, rule 11 (credit what was really paid).
    """
    found = _find_last_billed(item, subscription.current_period)
    if found is None or item.price is None:
        return None
    charge, discount, line = found
    price = charge.price
    seller = billables.sellers.of(subscription.account)
    return PricedFee(
        charge.plan_version_id,
        charge.plan_id,
        charge.plan_name,
        charge.quantity,
        PeriodFee(
            price_usage(price, charge.usage).amount_decimal,
            Interval.parse(price.interval, price.interval_count),
            discount,
            get_proration_terms(item.price.plan_version, seller),
        ),
        is_billed=True,
        is_advance=True,
        terms=price,
        line=line,
        left=0 if line is None else line.amount - line.discount - _sum_credited(line),
    )


def _find_last_billed(item: SubscriptionItem, period: Period) -> tuple[ChargeFacts, Decimal, InvoiceLine | None] | None:
    """
    Return the charge that billed the item up to the end of `period` last, its discount for a whole period and its line.

    Without a line it waits for an invoice.
    """
    billed = _select_billed().filter(subscription_item=item, period_end=period.end).select_related("invoice")
    waiting = select_waiting().filter(item=item, period_end=period.end, facts__is_credit__isnull=True)
    line, charge = billed.order_by("-id").first(), waiting.order_by("-id").first()
    if charge is not None and (line is None or charge.id > line.id):
        facts = read_charge(charge)
        return facts, facts.discount, None
    if line is None:
        return None
    facts = ChargeFacts.from_dict(line.trace["charge"])
    if line.type == LineType.PRORATION:
        return facts, facts.discount, line
    agreed, reduced = measure_agreed(line)
    with localcontext(EXACT):
        amount = price_usage(facts.price, facts.usage).amount_decimal
        return facts, amount * (agreed - reduced) / agreed if agreed else _ZERO, line


def _select_billed() -> QuerySet[InvoiceLine]:
    """Return the lines of fees in advance that stand, charges only."""
    return InvoiceLine.objects.filter(
        Q(type=LineType.SUBSCRIPTION) | Q(type=LineType.PRORATION, trace__charge__is_credit__isnull=True),
        is_reversed=False,
        price__billing_timing=BillingTiming.ADVANCE,
    ).exclude(invoice__status=InvoiceStatus.VOID)


def find_earlier_lines(line: InvoiceLine, subscription: Subscription, *, after: datetime) -> list[InvoiceLine]:
    """
    Return the lines that billed time after `after` before `line` did, newest first: of its item, and of ended ones.

    What a change gave back of them on the invoice of `line` was set off there, so that what is given back of the later
    line may have been paid with an earlier one. One query.
    """
    lines = _select_billed().filter(
        Q(subscription_item=line.subscription_item_id) | Q(subscription_item__ended_at__isnull=False),
        Q(subscription=subscription) | Q(invoice__subscription=subscription),
        id__lt=line.id,
        period_end__gt=after,
        amount__gt=F("discount"),
    )
    return list(lines.exclude(invoice=line.invoice_id).select_related("invoice").order_by("-id"))


def measure_agreed(line: InvoiceLine) -> tuple[int, int]:
    """Return what was agreed for a line, before and after its discounts, minor units with the tax inside prices."""
    gross = line.amount + int(line.trace.get("tax_included", 0))
    taken = [int(each["amount"]) for each in line.trace.get("discounts") or ()]
    return gross, gross - (sum(taken) if taken else line.discount)


def _sum_credited(line: InvoiceLine) -> int:
    rows = CreditNoteLine.objects.filter(invoice_line=line, credit_note__status=CreditNoteStatus.ISSUED)
    return int(rows.aggregate(total=Sum("amount"))["total"] or 0)


def find_fee_item(subscription: Subscription, items: list[SubscriptionItem]) -> SubscriptionItem | None:
    """Return the item of the plan's own fee, if the plan has one."""
    return next(
        (
            item
            for item in items
            if item.billing_mode == BillingMode.LICENSED
            and item.ended_at is None
            and item.price is not None
            and item.price.plan_version_id == subscription.plan_version_id
        ),
        None,
    )


def list_fee_items(items: Iterable[SubscriptionItem]) -> list[SubscriptionItem]:
    """Return the items in force that are a fee: the plan's own and those of parts that were added."""
    return [item for item in items if item.billing_mode == BillingMode.LICENSED and item.ended_at is None]


def get_discount_share(subscription: Subscription, billables: Billables, price: Price | None) -> Decimal:
    """
    Return which share of a fee, zero to one, the subscription's discount takes off the running period.

    For a fee in advance that is the discount with which the period was billed, as long as nobody took it away; for a
    fee in arrears, and where the period was billed nothing, the one in force. An amount off is one per invoice of a
    period and takes nothing off a change. Source: policies, rules 11 and 20.
    """
    if price is None:
        return _ZERO
    discount = billables.discounts.find(subscription.id)
    if price.billing_timing == BillingTiming.ADVANCE:
        opened = _find_opening_invoice(subscription) or _find_opening_member(subscription)
        if isinstance(opened, InvoiceMember):
            discount = opened.discount
        elif opened is not None:
            discount = opened.subscription_discount
    if discount is None or discount.percent_off is None or discount.meters:
        return _ZERO
    if discount.end_reason not in {"", DiscountEnd.USED_UP}:
        return _ZERO
    if discount.plans and price.plan_version.plan.key not in discount.plans:
        return _ZERO
    return EXACT.divide(discount.percent_off, Decimal(100))


def _find_opening_member(subscription: Subscription) -> InvoiceMember | None:
    """Return its part of the invoice for several subscriptions at which the running period opened, if there was one."""
    members = InvoiceMember.objects.filter(
        subscription=subscription, boundary=subscription.next_boundary - 1, is_reversed=False
    )
    return members.select_related("discount").first()


def _find_opening_invoice(subscription: Subscription) -> Invoice | None:
    """Return the invoice of the boundary at which the running period opened, if there was one."""
    invoices = Invoice.objects.filter(
        subscription=subscription, boundary=subscription.next_boundary - 1, period_end=subscription.current_period_end
    )
    return invoices.exclude(status=InvoiceStatus.VOID).select_related("subscription_discount").first()
