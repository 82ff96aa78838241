"""
Price quotes: what a quantity, or single events, would cost at a price that need not be published anywhere.

The price is written as in a catalog document and checked the same way; the engine is the one that bills.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Final

from billing_site.kernel.errors import FieldError, ValidationFailed
from billing_site.kernel.money import EXACT, round_to_minor
from catalog.documents.findings import Collector, Findings, quote
from catalog.documents.reading import ObjectReader
from catalog.documents.screening import screen_document
from catalog.documents.single import read_single_price
from catalog.documents.vocabulary import MAX_WHEN
from catalog.pricing.breakdown import PricedQuantity, PricedTier, to_text
from catalog.pricing.engine import EventsNeeded, price_usage
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import EventGroup, Usage, UsageGroup, merge_events
from catalog.services.documents import list_currencies

MAX_QUOTES: Final = 1_000
MAX_EVENTS: Final = 10_000
ZERO: Final = Decimal(0)
_QUANTITY: Final = re.compile(r"[0-9]{1,26}(?:\.[0-9]{1,12})?")
_REQUEST_KEYS: Final = frozenset({"currency", "price", "quantity", "events", "dimensions"})
_EVENT_KEYS: Final = frozenset({"value", "unit_amount", "dimensions"})


@dataclass(frozen=True, slots=True)
class Quote:
    """What usage would cost: exact and rounded, with the steps that sum to it. Minor units."""

    price: PriceTerms
    priced: PricedQuantity

    @property
    def usage_amount(self) -> int:
        """The usage alone, rounded once as its invoice line is."""
        return round_to_minor(self.priced.amount_decimal)

    @property
    def true_up_amount(self) -> int:
        """What the minimum adds, rounded on its own. Source: policies, rule 16."""
        return round_to_minor(self.priced.true_up)

    @property
    def amount(self) -> int:
        """Everything, as the sum of the rounded charges."""
        return self.usage_amount + self.true_up_amount

    @property
    def amount_decimal(self) -> Decimal:
        """Everything, exact."""
        return EXACT.add(self.priced.amount_decimal, self.priced.true_up)

    def as_dict(self) -> dict[str, Any]:
        """Return the quote as it is answered; the charges are named apart where the price has a minimum."""
        shown: dict[str, Any] = {
            "currency": self.price.currency,
            "amount_decimal": to_text(self.amount_decimal),
            "amount": self.amount,
            "tiers": [_show_tier(number, tier) for number, tier in enumerate(self.priced.tiers, 1)],
        }
        if self.price.options.minimum_amount is not None:
            shown |= {"usage_amount": self.usage_amount, "true_up_amount": self.true_up_amount}
        return shown


def quote_price(
    *,
    currency: str,
    price: Mapping[str, Any],
    quantity: Decimal | None = None,
    events: Sequence[Mapping[str, Any]] | None = None,
    dimensions: Mapping[str, str] | None = None,
) -> Quote:
    """
    Return what `quantity`, or each of `events`, costs at a price as a catalog document writes it.

    `dimensions` say for which variant of a dimensional price the quantity counts; events carry their own. An event is
    `{"value": "5000"}`, with `unit_amount` where the price is dynamic and `dimensions` where it is dimensional.
    :raises ValidationFailed: with every finding; pointers begin with `/currency`, `/price`, `/quantity`, `/events`.
    Source: policies, Usage pricing (rules 14 to 18).
    """
    request: dict[str, Any] = {"currency": currency, "price": dict(price), "quantity": quantity}
    return quote_request({**request, "events": events, "dimensions": dimensions})


def quote_request(raw: object) -> Quote:
    """
    Return the quote for one request: an object with the members of `quote_price`.

    :raises ValidationFailed: with every finding.
    """
    findings = Collector()
    quoted = _quote_one(raw, "", findings)
    if quoted is None:
        raise _refuse(findings.collect())
    return quoted


def quote_requests(raw: Sequence[object]) -> list[Quote]:
    """
    Return the quotes for several requests, in their order: all of them, or none.

    :raises ValidationFailed: with every finding; pointers begin with the place in the list.
    """
    if len(raw) > MAX_QUOTES:
        raise ValidationFailed.of("", "too_many", f"A list has at most {MAX_QUOTES:,} requests.")
    findings = Collector()
    quotes = [_quote_one(each, f"/{place}", findings) for place, each in enumerate(raw)]
    answered = [quoted for quoted in quotes if quoted is not None]
    if len(answered) < len(quotes):
        raise _refuse(findings.collect())
    return answered


def _quote_one(raw: object, pointer: str, findings: Collector) -> Quote | None:
    if not isinstance(raw, Mapping):
        findings.add(pointer, "not_an_object", "A request is an object with “currency”, “price” and a quantity.")
        return None
    before = len(findings)
    for finding in screen_document(raw if isinstance(raw, dict) else dict(raw)):
        findings.add(f"{pointer}{finding.pointer}", finding.code, finding.detail)
    if len(findings) > before:
        return None
    reader = ObjectReader(raw, pointer, findings)
    reader.check_keys(_REQUEST_KEYS)
    price = _read_price(reader)
    usage = _read_usage(reader)
    if price is None or usage is None or len(findings) > before:
        return None
    try:
        return Quote(price, price_usage(price, usage))
    except EventsNeeded:
        text = "This price counts event by event: give “events” instead of a quantity."
        reader.report("quantity", "events_needed", text)
        return None


def _read_price(reader: ObjectReader) -> PriceTerms | None:
    currencies = list_currencies()
    text = reader.text("currency", required=True)
    currency = (text or "").strip().lower()
    if text is not None and currency not in currencies:
        reader.report("currency", "currency_unsupported", f"{quote(text)} is not a currency on offer.")
    price = reader.member("price", required=True)
    return None if price is None else read_single_price(price, currency=currency, currencies=currencies)


def _read_usage(reader: ObjectReader) -> Usage | None:
    if reader.has("quantity") == reader.has("events"):
        text = "Give either a quantity or events." if reader.has("events") else "Give a quantity, or events."
        reader.report("quantity", "conflict" if reader.has("events") else "required", text)
        return None
    if reader.has("quantity"):
        quantity, dimensions = _read_quantity(reader, "quantity"), _read_dimensions(reader)
        if quantity is None or dimensions is None:
            return None
        return Usage(quantity, groups=(UsageGroup(dimensions, quantity),) if dimensions else ())
    if reader.has("dimensions"):
        reader.report("dimensions", "conflict", "Each event names its own dimensions.")
        return None
    return _read_events(reader)


def _read_events(reader: ObjectReader) -> Usage | None:
    groups: dict[tuple[tuple[str, str], ...], list[EventGroup]] = {}
    events: list[EventGroup] = []
    before = len(reader.findings)
    for each in reader.objects("events", most=MAX_EVENTS):
        each.check_keys(_EVENT_KEYS)
        value, amount, dimensions = _read_quantity(each, "value"), each.decimal("unit_amount"), _read_dimensions(each)
        if value is not None and dimensions is not None:
            event = EventGroup(value, 1, amount)
            events.append(event)
            groups.setdefault(dimensions, []).append(event)
    if len(reader.findings) > before:
        return None
    by_dimensions = tuple(
        UsageGroup(dimensions, _sum(grouped), merge_events(grouped)) for dimensions, grouped in groups.items()
    )
    is_plain = all(not dimensions for dimensions in groups)
    return Usage(_sum(events), merge_events(events), () if is_plain else by_dimensions)


def _read_quantity(reader: ObjectReader, key: str) -> Decimal | None:
    """Read a quantity as text, or as a number that did not lose anything on its way."""
    value = reader.value.get(key)
    if value is None:
        reader.report(key, "required", "This is required.")
    elif isinstance(value, float | bool) or not isinstance(value, str | int | Decimal):
        reader.report(key, "not_a_decimal_text", 'A quantity is a decimal in quotes, such as "1500" or "0.25".')
    else:
        text = to_text(value) if isinstance(value, Decimal) else str(value).strip()
        if _QUANTITY.fullmatch(text):
            return Decimal(text)
        if text.startswith("-"):
            reader.report(key, "negative", "A quantity cannot be negative.")
        else:
            rule = "at most 26 digits before the point and 12 after it."
            reader.report(key, "not_a_decimal_text", f"{quote(text)} is not a quantity: {rule}")
    return None


def _read_dimensions(reader: ObjectReader) -> tuple[tuple[str, str], ...] | None:
    dimensions = reader.member("dimensions")
    if dimensions is None:
        return None if reader.has("dimensions") else ()
    if len(dimensions.value) > MAX_WHEN:
        reader.report("dimensions", "too_many", f"There are at most {MAX_WHEN} dimensions.")
        return None
    values = [(str(key), dimensions.text(str(key), required=True)) for key in dimensions.value]
    found = [(key, value) for key, value in values if value is not None]
    return tuple(sorted(found)) if len(found) == len(values) else None


def _sum(events: Sequence[EventGroup]) -> Decimal:
    return reduce(EXACT.add, (event.value for event in events), ZERO)


def _show_tier(number: int, tier: PricedTier) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "tier": number,
        "quantity": to_text(tier.quantity),
        "unit": to_text(tier.unit_amount),
        "flat": to_text(tier.flat_amount),
        "amount_decimal": to_text(tier.amount),
    }
    if tier.kind != "tier":
        shown["kind"] = tier.kind
    if tier.variant:
        shown["variant"] = tier.variant
    return shown


def _refuse(findings: Findings) -> ValidationFailed:
    errors = [FieldError(finding.pointer, finding.code, finding.detail) for finding in findings]
    first = errors[0]
    return ValidationFailed(f"{first.pointer or 'The request'}: {first.detail}", errors=errors)
