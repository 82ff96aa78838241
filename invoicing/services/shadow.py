"""
The shadow re-run: what was invoiced in a month, computed again by today's code, must come out the same to the cent.

Twice: from the facts that were stored with each invoice, and from facts gathered anew where that is still possible:
usage, prices that were published or negotiated and those of rules and quotas, the terms of discounts, seats that nobody
has changed, and shares of a period that the cycle explains. The rest is as it was stored. Reads only.
Source: design, Trace; ADR 0005 and 0043.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from accounts.models import PriceOverride, SubscriptionDiscount
from accounts.queries.price_overrides import Overrides, load_overrides
from billing_site.kernel.read_only import read_only
from catalog.models import Price
from catalog.pricing.terms import PriceTerms
from catalog.queries.prices import get_price_terms
from invoicing.calculation.draft import draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.models import Invoice
from invoicing.queries.charges_anew import ChargesAnew, load_charges_anew
from invoicing.queries.period_invoices import Month, list_period_invoices
from invoicing.services.verification import Difference, compare_draft
from metering.queries.measuring import MeasuredUsage, MeasureRequest, measure_usage


@dataclass(frozen=True, slots=True)
class Shadow:
    """
    One invoice computed again. `late` names meters whose usage of the period has changed since, which is no error.

    `gathered` is how many of its charges were gathered anew.
    """

    invoice: Invoice
    stored: Sequence[Difference]
    anew: Sequence[Difference]
    late: Sequence[str]
    gathered: int

    @property
    def holds(self) -> bool:
        return not self.stored and not self.anew


def shadow_month(
    month: Month,
    *,
    org_id: str = "",
    account_ids: Collection[uuid.UUID] = (),
    tell: Callable[[int], None] | None = None,
) -> Iterator[list[Shadow]]:
    """
    Yield the invoices of a month computed again, batch by batch. A fixed number of queries for each batch.

    `tell` hears, outside of any transaction, how many invoices were looked at.
    """
    for invoices in list_period_invoices(month, org_id=org_id, account_ids=account_ids, tell=tell):
        if invoices:
            with read_only():
                found = _Sources.load(invoices)
            yield [_shadow(invoice, found) for invoice in invoices]


@dataclass(frozen=True, slots=True)
class _Sources:
    """What was gathered for a batch: prices, negotiated ones, discounts, and usage by invoice and charge."""

    prices: dict[str, Price]
    overrides: Overrides
    discounts: dict[str, SubscriptionDiscount]
    usage: dict[tuple[uuid.UUID, int], MeasuredUsage]
    anew: ChargesAnew

    @classmethod
    def load(cls, invoices: Sequence[Invoice]) -> _Sources:
        """Read everything for a batch; an invoice whose trace cannot be read is told by its comparison."""
        facts = {invoice.pk: read for invoice in invoices if isinstance(read := _read(invoice), InvoiceFacts)}
        charges = [charge for each in facts.values() for charge in each.charges]
        price_ids = [key for charge in charges if (key := Price.parse_id(charge.price.price_id))]
        rows = [row for each in facts.values() for row in each.discounts]
        discount_ids = [key for row in rows if (key := SubscriptionDiscount.parse_id(row.id))]
        prices = Price.objects.filter(pk__in=price_ids).select_related("meter", "plan_version__plan")
        discounts = SubscriptionDiscount.objects.filter(pk__in=discount_ids)
        found = cls(
            {price.public_id: price for price in prices},
            load_overrides({invoice.account_id for invoice in invoices}),
            {row.public_id: row for row in discounts},
            {},
            load_charges_anew(charges),
        )
        wanted = [
            (invoice, place, charge, meter_id)
            for invoice in invoices
            if invoice.pk in facts
            for place, charge in enumerate(facts[invoice.pk].charges)
            if charge.type == "usage" and (meter_id := found.find_meter(charge)) is not None
        ]
        requests = [
            MeasureRequest(invoice.account_id, meter_id, charge.period, charge.price)
            for invoice, _, charge, meter_id in wanted
        ]
        for (invoice, place, _, _), measured in zip(wanted, measure_usage(requests), strict=True):
            found.usage[invoice.pk, place] = measured
        return found

    def find_meter(self, charge: ChargeFacts) -> uuid.UUID | None:
        """Return the meter of a charge, of its price or of what priced it outside the plan."""
        price = self.prices.get(charge.price.price_id)
        return self.anew.find_meter(charge) if price is None else price.meter_id

    def find_terms(self, charge: ChargeFacts, account_id: uuid.UUID) -> PriceTerms | None:
        """Return the price of a charge as it is known today; None where that cannot be gathered."""
        if charge.given is not None:
            return None
        price = self.prices.get(charge.price.price_id)
        if price is None:
            return self.anew.find_terms(charge)
        if not charge.price.origin:
            return get_price_terms(price)
        if charge.price.origin.startswith(f"{PriceOverride.id_prefix}_"):
            return self.overrides.apply(account_id, get_price_terms(price), at=charge.period.start)
        return None


def _read(invoice: Invoice) -> InvoiceFacts | str:
    try:
        return InvoiceFacts.from_dict(invoice.trace)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        return str(error)


def _shadow(invoice: Invoice, sources: _Sources) -> Shadow:
    facts, lines = _read(invoice), list(invoice.lines.all())
    if isinstance(facts, str):
        return Shadow(invoice, [Difference("trace", "unreadable", facts)], [], [], 0)
    late: list[str] = []
    charges, gathered = [], 0
    for place, charge in enumerate(facts.charges):
        measured = sources.usage.get((invoice.pk, place))
        anew = _gather(charge, invoice, sources, measured, late, timezone=facts.timezone)
        charges.append(charge if anew is None else anew)
        gathered += anew is not None
    discounts = tuple(
        row
        if (found := sources.discounts.get(row.id)) is None
        else replace(
            row,
            percent_off=found.percent_off,
            amount_off=found.amount_off,
            currency=found.currency,
            meters=tuple(found.meters),
            plans=tuple(found.plans),
        )
        for row in facts.discounts
    )
    again = replace(facts, charges=tuple(charges), discounts=discounts)
    # What the comparison of the stored facts says is not said twice.
    stored = compare_draft(invoice, lines, draft_invoice(facts))
    anew_found = [] if stored or again == facts else compare_draft(invoice, lines, draft_invoice(again))
    return Shadow(invoice, stored, anew_found, late, gathered)


def _gather(
    charge: ChargeFacts,
    invoice: Invoice,
    sources: _Sources,
    measured: MeasuredUsage | None,
    late: list[str],
    *,
    timezone: str,
) -> ChargeFacts | None:
    """Return a charge from what is known today, None where that cannot be gathered."""
    terms = sources.find_terms(charge, invoice.account_id)
    if terms is None:
        return None
    if measured is None:
        return sources.anew.measure(sources.anew.count_seats(replace(charge, price=terms)), timezone=timezone)
    if measured.usage.quantity != charge.quantity and _is_later(measured, charge):
        late.append(f"{charge.meter_name}: {charge.quantity} billed, {measured.usage.quantity} today")
        return replace(charge, price=terms)
    return replace(charge, price=terms, usage=measured.usage)


def _is_later(measured: MeasuredUsage, charge: ChargeFacts) -> bool:
    """Tell whether events came in after the invoice was made, as far as their moments tell."""
    before, now = charge.source.last_recorded_at, measured.last_recorded_at
    return now is not None and (before is None or now > before)
