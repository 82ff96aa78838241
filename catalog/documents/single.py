"""A price by itself, outside any plan: the same checks as in a document, without a meter to compare it with."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from catalog.documents.normalising import read_price_options
from catalog.documents.price_models import USAGE_TERMS
from catalog.documents.price_terms import check_terms
from catalog.documents.prices import read_currency, read_cycle, read_model
from catalog.documents.reading import ObjectReader
from catalog.documents.vocabulary import PRICE_KEYS
from catalog.pricing.terms import ZERO, PriceTerms

_ANY_METER = "usage"


def read_single_price(reader: ObjectReader, *, currency: str, currencies: Collection[str]) -> PriceTerms | None:
    """
    Return what a price charges, or None after reporting what is wrong with it.

    Currency, interval and meter may be left out. What names a meter, or has terms that only usage prices have, is a
    usage price; what is flat, or says nothing of its model, is a fee per unit.
    """
    before = len(reader.findings)
    reader.check_keys(PRICE_KEYS)
    is_usage = _is_usage(reader)
    own_currency = read_currency(reader, currencies, required=False)
    if own_currency is not None and own_currency != currency:
        reader.report("currency", "currency_mixed", f"This price is in {own_currency}, and {currency} is asked for.")
    meter = reader.identifier("meter")
    model = read_model(reader, is_usage=is_usage)
    interval, count = read_cycle(reader, is_usage=is_usage, required=False)
    reader.lookup_key()
    if model is not None:
        check_terms(reader, model, is_usage=is_usage, meter=None)
    if model is None or len(reader.findings) > before:
        return None
    amount = reader.value.get("unit_amount")
    return PriceTerms(
        price_id="",
        model=model,
        currency=currency,
        unit_amount=ZERO if amount is None else Decimal(str(amount).strip()),
        meter=(meter or _ANY_METER) if is_usage else None,
        unit=None,
        interval=interval or "month",
        interval_count=count or 1,
        billing_timing="arrears" if is_usage else "advance",
        lookup_key="",
        options=read_price_options(reader.value),
    )


def _is_usage(reader: ObjectReader) -> bool:
    model, amount = reader.value.get("model"), reader.value.get("unit_amount")
    if isinstance(model, str) and model.strip().lower() != "flat":
        return True
    if model is None and amount is not None and not isinstance(amount, int):
        return True
    return reader.has("meter") or any(reader.has(key) for key in USAGE_TERMS)
