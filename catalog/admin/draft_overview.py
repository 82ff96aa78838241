"""A draft at a glance: its products with their plans, its meters, and what stands where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from catalog.admin.editor_document import Document, Entry, find_key, is_same_entry, list_entries
from catalog.admin.editor_fields import FindingPlaces
from catalog.admin.editor_price import describe_raw_price, is_usage
from catalog.admin.editor_values import TEXT
from catalog.documents.findings import Finding, Findings

_SECTIONS: Final = ("plans", "products", "meters")
_SHOWN_LINES: Final = 8
_MARKS: Final = {"popular": "popular", "contact_sales": "by agreement", "price_per_seat": "per seat"}


@dataclass(frozen=True, slots=True)
class PlanCard:
    """A plan as the overview shows it."""

    index: int
    key: str
    name: str
    description: str
    tags: Sequence[tuple[str, str]]
    lines: Sequence[tuple[str, Sequence[str]]]
    facts: str
    findings: int


@dataclass(frozen=True, slots=True)
class ProductCard:
    """A product with its plans. Plans of no product of the draft stand in one without an index."""

    index: int | None
    key: str
    name: str
    description: str
    tag: tuple[str, str] | None
    findings: int
    plans: Sequence[PlanCard]


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A meter, and how many prices and quotas use it."""

    index: int
    key: str
    name: str
    unit: str
    aggregation: str
    tag: tuple[str, str] | None
    uses: int
    findings: int


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding with the page that mends it: a section and a place, or neither for the whole document."""

    pointer: str
    detail: str
    section: str
    index: int
    where: str


@dataclass(frozen=True, slots=True)
class Overview:
    products: Sequence[ProductCard]
    meters: Sequence[MeterRow]
    findings: Sequence[FindingRow]
    plan_count: int


def build_overview(document: Document, published: Document | None, findings: Findings) -> Overview:
    """Return what a draft holds; `published` is the active document as a draft would start with it."""
    places = FindingPlaces.of(findings)
    before = {
        section: {find_key(section, entry): entry for _, entry in list_entries(published or {}, section)}
        for section in _SECTIONS
    }
    units = {find_key("meters", meter): TEXT.show(meter.get("unit")) for _, meter in list_entries(document, "meters")}
    cards: dict[str, list[PlanCard]] = {}
    plans = list_entries(document, "plans")
    for index, plan in plans:
        card = _make_plan(index, plan, before["plans"], units, places)
        cards.setdefault(TEXT.show(plan.get("product_id")), []).append(card)
    products = []
    for index, product in list_entries(document, "products"):
        key = find_key("products", product)
        name = TEXT.show(product.get("name")) or key or "Product without a name"
        description = TEXT.show(product.get("description"))
        tag = _tag(key, product, before["products"])
        found = places.count_below(f"/products/{index}")
        products.append(ProductCard(index, key, name, description, tag, found, cards.pop(key, [])))
    lost = [card for found in cards.values() for card in found]
    if lost:
        text = "Their product is not in this draft."
        products.append(ProductCard(None, "", "Plans without a product", text, None, 0, lost))
    return Overview(
        products,
        _list_meters(document, before["meters"], places),
        [_place_finding(finding, document) for finding in findings],
        len(plans),
    )


def _make_plan(
    index: int, plan: Entry, before: Mapping[str, Entry], units: Mapping[str, str], places: FindingPlaces
) -> PlanCard:
    key = find_key("plans", plan)
    prices = [price for price in _list(plan, "prices") if isinstance(price, dict)]
    tags = [tag for tag in (_tag(key, plan, before),) if tag]
    tags += [(text, "neutral") for name, text in _MARKS.items() if plan.get(name) is True]
    facts = [f"{len(prices)} price{'' if len(prices) == 1 else 's'}"]
    facts += [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for noun, count in (("feature", len(_list(plan, "features"))), ("quota", len(_list(plan, "quotas"))))
        if count
    ]
    if trial := TEXT.show(plan.get("trial_period_days")):
        facts.append(f"{trial} days of trial")
    return PlanCard(
        index=index,
        key=key,
        name=TEXT.show(plan.get("name")) or key or "Plan without a name",
        description=TEXT.show(plan.get("description")),
        tags=tags,
        lines=_summarise(prices, units),
        facts=" · ".join(facts),
        findings=places.count_below(f"/plans/{index}"),
    )


def _summarise(prices: Sequence[Entry], units: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return (CSS class, texts) by line: the fees of a currency on one, each usage price on its own; each text once."""
    meters = {TEXT.show(price.get("meter")) for price in prices if is_usage(price)}
    shared = Counter(units.get(meter) or "" for meter in meters)
    lines: dict[tuple[str, bool], dict[str, None]] = {}
    for price in prices:
        meter = TEXT.show(price.get("meter"))
        unit = units.get(meter) or ""
        text = describe_raw_price(price, unit) or "not complete yet"
        # Where the unit does not tell which meter it is, its name does.
        if meter and (shared[unit] > 1 or unit.rstrip("s") not in text):
            text = f"{meter}: {text}"
        place = (TEXT.show(price.get("currency")).lower(), is_usage(price))
        lines.setdefault(place, {})[text] = None
    found: list[tuple[str, list[str]]] = []
    for (_, usage), texts in lines.items():
        found += [("ch-muted", [text]) for text in texts] if usage else [("", list(texts))]
    if len(found) > _SHOWN_LINES:
        more = len(found) - _SHOWN_LINES + 1
        found = [*found[: _SHOWN_LINES - 1], ("ch-muted", [f"and {more} more"])]
    return found


def _list_meters(document: Document, before: Mapping[str, Entry], places: FindingPlaces) -> list[MeterRow]:
    uses: dict[str, int] = {}
    for _, plan in list_entries(document, "plans"):
        for part, name in (("prices", "meter"), ("quotas", "meter_event_name")):
            for entry in _list(plan, part):
                if isinstance(entry, dict) and isinstance(entry.get(name), str):
                    uses[entry[name]] = uses.get(entry[name], 0) + 1
    rows = []
    for index, meter in list_entries(document, "meters"):
        key = find_key("meters", meter)
        rows.append(
            MeterRow(
                index,
                key,
                TEXT.show(meter.get("display_name")) or key or "Meter without a name",
                TEXT.show(meter.get("unit")),
                TEXT.show(meter.get("aggregation_type")) or "sum",
                _tag(key, meter, before),
                uses.get(key, 0),
                places.count_below(f"/meters/{index}"),
            )
        )
    return rows


def _tag(key: str, entry: Entry, before: Mapping[str, Entry]) -> tuple[str, str] | None:
    was = before.get(key)
    if was is None:
        return ("new", "good")
    return None if is_same_entry(was, entry) else ("changed", "info")


def _place_finding(finding: Finding, document: Document) -> FindingRow:
    parts = finding.pointer.strip("/").split("/")
    section = parts[0]
    if section in _SECTIONS and len(parts) > 1 and parts[1].isdecimal():
        index = int(parts[1])
        entry = dict(list_entries(document, section)).get(index)
        if entry is not None:
            key = find_key(section, entry) or f"number {index + 1}"
            rest = _describe_place(parts[2:])
            where = f"{section.removesuffix('s').capitalize()} {key}" + (f", {rest}" if rest else "")
            return FindingRow(finding.pointer, finding.detail, section, index, where)
    return FindingRow(finding.pointer, finding.detail, "", 0, finding.pointer or "The document")


def _describe_place(parts: Sequence[str]) -> str:
    """Return the rest of a pointer as people count: `prices/0/unit_amount` is `price 1, unit amount`."""
    words: list[str] = []
    for part in parts:
        if part.isdecimal() and words:
            words[-1] = f"{words[-1].removesuffix('s')} {int(part) + 1}"
        else:
            words.append(part.replace("_", " "))
    return ", ".join(words)


def _list(entry: Entry, key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []
