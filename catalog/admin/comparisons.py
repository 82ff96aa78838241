"""Two documents side by side, entry by entry, in words: the old on the left, the new on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any, Final, Literal

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.display import Column, format_quantity
from billing_site.kernel.money import EXACT
from catalog.admin.amounts import describe_amount, describe_details, describe_interval, describe_terms, make_terms
from catalog.documents.content import CatalogContent, PlanEntry, PriceEntry, QuotaEntry
from catalog.documents.differences import DocumentDifference, EntryChange, KindDifference, diff_documents
from catalog.documents.findings import Findings
from catalog.documents.formatting import format_document

Change = Literal["added", "removed", "changed"]
FindUrl = Callable[[str, str], str]

_SHOWN_ENTRIES: Final = 100
_SHOWN_TEXT: Final = 400
_SINGULAR: Final = {"products": "product", "meters": "meter", "plans": "plan", "prices": "provider price"}
_TONES: Final[dict[str, str]] = {"added": "good", "removed": "warning", "changed": "info"}
_WORDS: Final[dict[str, str]] = {"added": "added", "removed": "becomes inactive", "changed": "changed"}
_PLAN_FIELDS: Final = (
    ("name", "Name"),
    ("product_id", "Product"),
    ("description", "Description"),
    ("category", "Category"),
    ("trial_period_days", "Trial days"),
    ("proration", "Proration"),
    ("proration_basis", "Whole period counts"),
    ("price_per_seat", "Price per seat"),
    ("contact_sales", "By agreement"),
    ("popular", "Marked as popular"),
    ("features", "Features"),
    ("feature_texts", "Feature texts"),
    ("limits", "Limits"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a side; `is_new` where the other side does not have it."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that differs: what it is, and its lines on either side. `note` measures the step."""

    label: str
    old: tuple[Line, ...] = ()
    new: tuple[Line, ...] = ()
    note: str = ""
    is_price: bool = False


@dataclass(frozen=True, slots=True)
class ComparedEntry:
    """A product, meter or plan that differs."""

    kind: str
    key: str
    name: str
    change: Change
    rows: tuple[Row, ...] = ()
    unchanged: str = ""
    url: str = ""
    undo_url: str = ""

    @property
    def undo_label(self) -> str:
        return {"added": "Remove", "removed": "Put back", "changed": "Undo"}[self.change]

    @property
    def tone(self) -> str:
        return _TONES[self.change]

    @property
    def word(self) -> str:
        return _WORDS[self.change]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that differs between two documents."""

    entries: tuple[ComparedEntry, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        return not self.entries


def compare_contents(
    old: CatalogContent | None,
    new: CatalogContent,
    *,
    find_url: FindUrl | None = None,
    find_undo_url: FindUrl | None = None,
) -> Comparison:
    """
    Return what `new` changes, in the order of the document; plans first, they are what is sold.

    `find_url` and `find_undo_url` return where an entry (section and key) is edited, and where its change is undone.
    """
    before = old or CatalogContent()
    difference = diff_documents(old, new)
    kinds = {kind.kind: kind for kind in difference.kinds}
    units = {meter.event_name: meter.unit for meter in (*before.meters, *new.meters)}
    url_of = find_url or (lambda _kind, _key: "")
    entries: list[ComparedEntry] = []
    old_plans, new_plans = ({plan.id: plan for plan in content.plans} for content in (before, new))
    for change, key in _list_keys(kinds["plans"]):
        plan, was = new_plans.get(key), old_plans.get(key)
        entries.append(compare_plans(was, plan, units=units, change=change, url=url_of("plans", key)))
    for name in ("products", "meters", "prices"):
        entries += _compare_kind(kinds[name], before, new, url_of)
    if find_undo_url is not None:
        sections = {noun: section for section, noun in _SINGULAR.items()}
        entries = [replace(entry, undo_url=find_undo_url(sections[entry.kind], entry.key)) for entry in entries]
    return Comparison(tuple(entries))


def compare_plans(
    old: PlanEntry | None,
    new: PlanEntry | None,
    *,
    units: Mapping[str, str],
    change: Change | None = None,
    url: str = "",
) -> ComparedEntry:
    """Return how a plan differs from what it was; `units` are those of the meters by event name."""
    plan = new or old
    if plan is None:
        raise ValueError("there is no plan to compare")
    kind: Change = change or ("changed" if old and new else "added" if new else "removed")
    rows = [row for name, label in _PLAN_FIELDS if (row := _compare_field(label, name, old, new))]
    prices = list(_compare_prices(old, new, units))
    rows += [row for row in prices if row is not None]
    rows += list(_compare_quotas(old, new))
    same = sum(1 for row in prices if row is None)
    unchanged = f"{same} price{'s' if same != 1 else ''} unchanged" if same else ""
    return ComparedEntry("plan", plan.id, plan.name, kind, tuple(rows), unchanged, url)


def render_comparison(
    comparison: Comparison, *, before: str, after: str, nothing: str = "Nothing differs.", csrf_token: str = ""
) -> SafeString:
    """Return the two sides as a block; with a `csrf_token` its entries may offer to undo their change."""
    context = {
        "csrf_token": csrf_token,
        "entries": comparison.entries[:_SHOWN_ENTRIES],
        "more": max(0, len(comparison.entries) - _SHOWN_ENTRIES),
        "before": before,
        "after": after,
        "nothing": nothing,
    }
    return mark_safe(render_to_string("catalog/difference.html", context))  # noqa: S308 — escaped there


def render_findings(findings: Findings) -> SafeString:
    """Return the findings as a table of places and sentences."""
    return mark_safe(render_to_string("catalog/findings.html", {"findings": findings.items}))  # noqa: S308 — escaped there


def describe_difference(difference: DocumentDifference) -> str:
    """Return what changes in one sentence: `plans: pro changed, team added`."""
    parts = []
    for kind, changes in difference.summarise().items():
        texts = [f"{', '.join(_shorten_list(keys))} {change}" for change, keys in changes.items()]
        parts.append(f"{kind}: {'; '.join(texts)}")
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "." if parts else "Nothing differs."


def document_display(field: str = "document", *, description: str = "Document") -> Column:
    """Return a read-only field showing a document the way it is edited."""

    @admin.display(description=description)
    def column(*arguments: Any) -> SafeString:
        text = format_document(getattr(arguments[-1], field))
        return format_html('<pre class="ch-json" tabindex="0">{}</pre>', text)

    return column


# ---- plans ----------------------------------------------------------------------------------------------------------
def _compare_field(label: str, name: str, old: PlanEntry | None, new: PlanEntry | None) -> Row | None:
    was, now = getattr(old, name, None), getattr(new, name, None)
    if was == now or (not was and not now):
        return None
    return _make_row(label, _show_value(was), _show_value(now))


def _compare_prices(old: PlanEntry | None, new: PlanEntry | None, units: Mapping[str, str]) -> Iterator[Row | None]:
    """Yield a row for each price that differs, None for each that does not; prices are matched by their place."""
    before = {price.place: price for price in old.prices} if old else {}
    after = {price.place: price for price in new.prices} if new else {}
    for place in (*after, *(place for place in before if place not in after)):
        was, now = before.get(place), after.get(place)
        if was == now:
            yield None
            continue
        price = now or was
        if price is not None:
            sides = [_show_price(side, units) for side in (was, now)]
            if was and now and was.lookup_key != now.lookup_key:
                sides = [[*sides[0], f"lookup key {was.lookup_key}"], [*sides[1], f"lookup key {now.lookup_key}"]]
            row = _make_row(_name_price(price), *sides, note=_measure_step(was, now))
            yield replace(row, is_price=True)


def _name_price(price: PriceEntry) -> str:
    what = price.meter or "Fee"
    return f"{what} · {price.currency.upper()} · {describe_interval(price.interval, price.interval_count)}"


def _show_price(price: PriceEntry | None, units: Mapping[str, str]) -> list[str]:
    if price is None:
        return []
    terms = make_terms(price, units.get(price.meter or ""))
    return [describe_terms(terms), *describe_details(terms)]


def _measure_step(old: PriceEntry | None, new: PriceEntry | None) -> str:
    """Return by how much a price that is one amount rises or falls: `+10.00 USD, +34.5 %`."""
    if old is None or new is None or old.model != new.model or not old.unit_amount or new.unit_amount is None:
        return ""
    step = new.unit_amount - old.unit_amount
    if not step:
        return ""
    sign = "+" if step > 0 else "\N{MINUS SIGN}"
    with localcontext(EXACT):
        percent = (abs(step) * 100 / old.unit_amount).quantize(Decimal("0.1"))
    return f"{sign}{describe_amount(abs(step), new.currency)}, {sign}{format_quantity(percent)} %"


def _compare_quotas(old: PlanEntry | None, new: PlanEntry | None) -> Iterator[Row]:
    before = {quota.place: quota for quota in old.quotas} if old else {}
    after = {quota.place: quota for quota in new.quotas} if new else {}
    for place in (*after, *(place for place in before if place not in after)):
        was, now = before.get(place), after.get(place)
        quota = now or was
        if was != now and quota is not None:
            yield _make_row(f"Quota · {quota.meter_event_name}", _show_quota(was), _show_quota(now))


def _show_quota(quota: QuotaEntry | None) -> list[str]:
    if quota is None:
        return []
    lines = [f"{format_quantity(quota.limit)} per {quota.window.replace('_', ' ')}, {quota.enforcement}"]
    if quota.overage_price is not None:
        lines.append(f"overage {format_quantity(quota.overage_price)} minor units each")
    if quota.upgrade_plan_id:
        lines.append(f"upgrade to {quota.upgrade_plan_id}")
    return lines


# ---- everything else ------------------------------------------------------------------------------------------------
def _list_keys(kind: KindDifference) -> Iterator[tuple[Change, str]]:
    yield from (("changed", entry.key) for entry in kind.changed)
    yield from (("added", entry.key) for entry in kind.added)
    yield from (("removed", entry.key) for entry in kind.removed)


def _compare_kind(
    kind: KindDifference, before: CatalogContent, after: CatalogContent, url_of: FindUrl
) -> Iterator[ComparedEntry]:
    noun = _SINGULAR[kind.kind]
    names = {**_name_entries(before, kind.kind), **_name_entries(after, kind.kind)}
    groups: tuple[tuple[Change, tuple[EntryChange, ...]], ...] = (
        ("changed", kind.changed),
        ("added", kind.added),
        ("removed", kind.removed),
    )
    for change, entries in groups:
        for entry in entries:
            rows = tuple(_list_rows(entry))
            yield ComparedEntry(
                noun, entry.key, names.get(entry.key, entry.key), change, rows, url=url_of(kind.kind, entry.key)
            )


def _name_entries(content: CatalogContent, kind: str) -> dict[str, str]:
    match kind:
        case "products":
            return {product.id: product.name for product in content.products}
        case "meters":
            return {meter.event_name: meter.display_name for meter in content.meters}
    return {}


def _list_rows(entry: EntryChange) -> Iterator[Row]:
    for change in entry.changes:
        label = change.field.replace("_", " ").capitalize()
        yield _make_row(label, _show_value(change.old), _show_value(change.new))


def _make_row(label: str, old: Iterable[str], new: Iterable[str], *, note: str = "") -> Row:
    before, after = list(old), list(new)
    return Row(
        label,
        tuple(Line(text, text not in after) for text in before),
        tuple(Line(text, text not in before) for text in after),
        note,
    )


def _show_value(value: Any) -> list[str]:
    match value:
        case None | "" | () | []:
            return []
        case bool():
            return ["yes" if value else "no"]
        case str():
            return [_shorten(value)]
        case list() | tuple():
            return [_shorten(item if isinstance(item, str) else format_document(item).strip()) for item in value]
        case Mapping():
            return [f"{key}: {_shorten(str(item))}" for key, item in value.items()]
    return [str(value)]


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"


def _shorten_list(keys: list[str], most: int = 6) -> list[str]:
    return keys if len(keys) <= most else [*keys[:most], f"and {len(keys) - most} more"]
