"""What a quantity would cost at a price as it stands in the form; the engine that bills answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from billing_site.backoffice.display import format_money, format_quantity
from billing_site.kernel.errors import ValidationFailed
from catalog.admin.amounts import describe_amount
from catalog.admin.editor_price import PER_EVENT_MODELS, describe_raw_price, find_model
from catalog.admin.editor_values import WHEN, Absent, FormReader
from catalog.pricing.breakdown import PricedTier
from catalog.services.quotes import Quote, quote_price

MAX_EVENTS: Final = 1_000
_KINDS: Final = {
    "free": "Free",
    "package": "Packages",
    "percentage": "Percentage",
    "per_event": "Per event",
    "event_bounds": "Least and most per event",
    "maximum": "Most per interval",
}


def quote_form_price(form: FormReader, price: Mapping[str, Any], unit: str | None = None) -> dict[str, Any]:
    """
    Return what the form's quantity costs, and how it comes about, as the page shows it.

    `form` reads the fields of one price: `quote_quantity`, or `quote_events` events of `quote_value` each, and
    `quote_dimensions`. Anything wrong becomes `errors`: the term it is about (or nothing) and a sentence.
    """
    asked = _read_question(form, find_model(price))
    shown: dict[str, Any] = {
        "title": describe_raw_price(price, unit),
        "asked": {name: form.text(f"quote_{name}") for name in ("quantity", "events", "value", "unit", "dimensions")},
        "errors": [],
        "rows": [],
        "amount": "",
    }
    if asked is None:
        return shown
    currency = str(price.get("currency") or "")
    try:
        return {**shown, **_show_quote(quote_price(currency=currency, price=price, **asked), unit)}
    except ValidationFailed as refusal:
        shown["errors"] = [_place_error(error.pointer, error.detail) for error in refusal.errors]
        return shown


def _read_question(form: FormReader, model: str) -> dict[str, Any] | None:
    """Return quantity or events as the engine takes them, or None while nothing is asked."""
    dimensions = WHEN.read(form.text("quote_dimensions"))
    given = {} if isinstance(dimensions, Absent) else dimensions
    if model not in PER_EVENT_MODELS:
        quantity = form.text("quote_quantity")
        return {"quantity": quantity, **({"dimensions": given} if given else {})} if quantity else None
    count, value = form.text("quote_events"), form.text("quote_value")
    if not value:
        return None
    event: dict[str, Any] = {"value": value, **({"dimensions": given} if given else {})}
    if model == "dynamic":
        event["unit_amount"] = form.text("quote_unit") or None
    times = int(count) if count.isdecimal() and len(count) < 6 else 1
    return {"events": [event] * max(1, min(times, MAX_EVENTS))}


def _show_quote(quote: Quote, unit: str | None) -> dict[str, Any]:
    currency = quote.price.currency
    exact = quote.amount_decimal
    is_tiered = bool(quote.price.options.tiers)
    rows = [_show_tier(tier, currency, is_tiered=is_tiered) for tier in quote.priced.tiers]
    if quote.true_up_amount:
        missing = format_money(quote.true_up_amount, currency)
        rows.append({"label": "Up to the least per interval", "quantity": "", "terms": "", "amount": missing})
    return {
        "amount": format_money(quote.amount, currency),
        "exact": "" if exact == quote.amount else f"exactly {describe_amount(exact, currency)}",
        "unit": unit or "",
        "rows": rows,
    }


def _show_tier(tier: PricedTier, currency: str, *, is_tiered: bool) -> dict[str, str]:
    label = _KINDS.get(tier.kind, tier.kind.replace("_", " ").capitalize())
    if tier.kind == "tier":
        last = "Last tier" if is_tiered else "Amount"
        label = last if tier.up_to is None else f"Up to {format_quantity(tier.up_to)}"
    terms = []
    if tier.kind == "percentage":
        terms.append(f"{format_quantity(tier.unit_amount * 100)} %")
    elif tier.unit_amount:
        terms.append(f"× {describe_amount(tier.unit_amount, currency)}")
    if tier.flat_amount:
        terms.append(f"+ {describe_amount(tier.flat_amount, currency)}")
    return {
        "label": f"{label} ({tier.variant})" if tier.variant else label,
        "quantity": format_quantity(tier.quantity),
        "terms": " ".join(terms),
        "amount": describe_amount(tier.amount, currency),
    }


def _place_error(pointer: str, detail: str) -> dict[str, str]:
    """Name the field an error is about the way the form does: `/price/tiers/0/up_to` is `tiers-0-up_to`."""
    parts = pointer.strip("/").split("/")
    if parts[0] == "price":
        return {"field": "-".join(parts[1:]), "detail": detail}
    return {"field": f"quote_{parts[0]}" if parts[0] == "quantity" else "", "detail": detail}
