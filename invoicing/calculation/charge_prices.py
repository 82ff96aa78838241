"""
What a charge comes to by its price, its share of a period and its direction, before anything is rounded.

Plain Python: no Django, no I/O, no clock. Source: policies, rules 2, 9, 11 and 16.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.money import EXACT, average_unit_amount
from catalog.pricing.breakdown import PricedQuantity
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PriceOptions
from invoicing.calculation.facts import ChargeFacts
from invoicing.calculation.wording import (
    LATE_USAGE,
    LATE_USAGE_OF,
    REMAINING_TIME,
    SO_FAR,
    UNUSED_TIME,
    join_words,
)

_PLAIN: Final = PriceOptions()


def price_charge(charge: ChargeFacts) -> PricedQuantity:
    """Price the charge; of part of a period, a fee and a minimum by their share. Source: policies, rules 9 and 16."""
    price, share = charge.price, charge.share
    if charge.type == "proration":
        return _price_proration(charge)
    if share is None:
        return price_usage(price, charge.usage)
    if charge.type == "usage":
        minimum = price.options.minimum_amount
        if minimum is not None:
            price = replace(price, options=replace(price.options, minimum_amount=share.of(minimum)))
        return price_usage(price, charge.usage)
    priced = price_usage(price, charge.usage)
    return PricedQuantity(share.of(priced.amount_decimal), priced.tiers)


def measure_maximum(charge: ChargeFacts, priced: PricedQuantity) -> Decimal:
    """Return what the maximum of the price changed, zero or less. Source: policies, rule 16."""
    with localcontext(EXACT):
        change = sum((tier.amount for tier in priced.tiers if tier.kind == "maximum"), Decimal(0))
    return charge.share.of(change) if charge.share is not None and charge.type == "subscription" else change


def _price_proration(charge: ChargeFacts) -> PricedQuantity:
    """Price the share of a fee, net of the fee's own discount; below zero for a credit. Source: policies, rule 11."""
    priced = price_usage(charge.price, charge.usage)
    with localcontext(EXACT):
        net = priced.amount_decimal - charge.discount
    exact = net if charge.share is None else charge.share.of(net)
    if charge.is_credit:
        exact = EXACT.minus(exact if charge.credits is None else charge.credits.bound(exact))
    return PricedQuantity(exact, priced.tiers)


def compute_unit_amount(charge: ChargeFacts, exact: Decimal) -> Decimal:
    """Return the price of a unit: the one there is, else the average, to 12 decimals and for display only."""
    price = charge.price
    is_single = price.model == "per_unit" or (price.model == "flat" and not price.is_metered)
    is_plain = charge.share is None and charge.type != "proration"
    if is_plain and ((is_single and price.options == _PLAIN) or (price.model == "flat" and not is_single)):
        return price.unit_amount
    return average_unit_amount(exact, charge.quantity)


def describe_charge(charge: ChargeFacts) -> str:
    """Return what the line of a charge says."""
    if charge.type == "usage":
        named = join_words(charge.plan_name, charge.meter_name)
        if charge.billed is None or charge.billed.kind == "rest":
            return named
        if charge.billed.kind == "interim":
            return join_words(named, SO_FAR)
        invoice = charge.billed.invoice
        return join_words(named, LATE_USAGE_OF.format(invoice=invoice) if invoice else LATE_USAGE)
    if charge.type == "proration":
        return join_words(charge.plan_name, UNUSED_TIME if charge.is_credit else REMAINING_TIME)
    return charge.plan_name
