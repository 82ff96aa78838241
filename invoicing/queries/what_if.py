"""
A month that was invoiced, at the prices of another catalog: the same facts, the same engine, other prices.

Discounts and policies stay as they were. Reads only. Source: design, One engine, many doors; ADR 0043.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from billing_site.kernel.read_only import read_only
from catalog.documents.content import CatalogContent
from catalog.models import Price
from catalog.pricing.terms import ZERO, PriceTerms
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import InvoiceFacts
from invoicing.calculation.repricing import Kept, PriceBook, Repriced, reprice
from invoicing.models import Invoice
from invoicing.queries.period_invoices import Month, list_period_invoices
from metering.queries.measuring import MeasureRequest, measure_usage


@dataclass(frozen=True, slots=True)
class Reconsidered:
    """An issued invoice and what it would have been. `kept` says which charges keep their price, and why."""

    invoice: Invoice
    draft: Draft
    kept: Sequence[Kept]

    @property
    def difference(self) -> int:
        """What more would have been invoiced, minor units; below zero where less."""
        return self.draft.total - self.invoice.total


def build_price_book(content: CatalogContent) -> PriceBook:
    """Return the prices of a catalog document, by plan, as the engine reads them."""
    meters = {meter.name: meter for meter in content.meters}
    return {
        plan.id: [
            PriceTerms(
                price_id="",
                model=price.model,
                currency=price.currency,
                unit_amount=ZERO if price.unit_amount is None else price.unit_amount,
                meter=meters[price.meter].event_name if price.meter else None,
                unit=meters[price.meter].unit if price.meter else None,
                interval=price.interval,
                interval_count=price.interval_count,
                billing_timing=price.billing_timing,
                lookup_key=price.lookup_key,
                options=price.options,
            )
            for price in plan.prices
        ]
        for plan in content.plans
    }


def reconsider_month(
    month: Month,
    book: PriceBook,
    *,
    org_id: str = "",
    account_ids: Collection[uuid.UUID] = (),
    tell: Callable[[int], None] | None = None,
) -> Iterator[list[Reconsidered]]:
    """
    Yield the invoices of a month at the prices of `book`, batch by batch, each in a read-only transaction.

    `tell` hears, outside of it, how many invoices were looked at.
    """
    for invoices in list_period_invoices(month, org_id=org_id, account_ids=account_ids, tell=tell):
        repriced = [(invoice, reprice(InvoiceFacts.from_dict(invoice.trace), book)) for invoice in invoices]
        usage = _measure(repriced)
        yield [
            Reconsidered(invoice, draft_invoice(usage.get(invoice.pk, found.facts)), found.kept)
            for invoice, found in repriced
        ]


def _measure(repriced: Sequence[tuple[Invoice, Repriced]]) -> dict[uuid.UUID, InvoiceFacts]:
    """Return the facts of invoices whose new prices look closer at usage than the old ones did."""
    wanted = [
        (invoice, found, place, Price.parse_id(found.facts.charges[place].price.price_id))
        for invoice, found in repriced
        for place in found.wanting
    ]
    if not wanted:
        return {}
    with read_only():
        meters = dict(Price.objects.filter(pk__in=[key for *_, key in wanted]).values_list("pk", "meter_id"))
        requests = []
        for invoice, found, place, key in wanted:
            charge, meter_id = found.facts.charges[place], None if key is None else meters.get(key)
            if meter_id is None:
                raise ValueError(f"the price of {charge.meter_name} on {invoice} is gone")
            requests.append(MeasureRequest(invoice.account_id, meter_id, charge.period, charge.price))
        measured = measure_usage(requests)
    by_invoice: dict[uuid.UUID, dict[int, int]] = {}
    for number, (invoice, _, place, _) in enumerate(wanted):
        by_invoice.setdefault(invoice.pk, {})[place] = number
    return {
        invoice.pk: found.with_usage(
            {place: measured[number].usage for place, number in by_invoice[invoice.pk].items()}
        )
        for invoice, found in repriced
        if invoice.pk in by_invoice
    }
