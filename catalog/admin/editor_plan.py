"""A plan as a form: what it is called and grants, its prices and quotas; and the plan the form makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from catalog.admin.editor_document import Document, Entry, find_key, list_entries
from catalog.admin.editor_fields import EditorField, FindingPlaces, Option, include_option
from catalog.admin.editor_price import list_rules, read_price
from catalog.admin.editor_price_card import PriceCard, PriceRow, build_blank_rows, build_price_card, find_origin
from catalog.admin.editor_values import (
    DECIMAL,
    FLAG,
    INTEGER,
    LINES,
    PAIRS,
    TEXT,
    FormReader,
    Kind,
    keep_others,
    put,
    read_value,
)
from catalog.documents.findings import join_pointer
from catalog.documents.vocabulary import ENFORCEMENTS, WINDOWS
from catalog.models import ProrationBasis, ProrationUnit

_OPEN_PRICES: Final = 3
_HEAD: Final[tuple[tuple[str, Kind], ...]] = (
    ("id", TEXT),
    ("product_id", TEXT),
    ("name", TEXT),
    ("description", TEXT),
    ("category", TEXT),
    ("trial_period_days", INTEGER),
    ("proration", TEXT),
    ("proration_basis", TEXT),
    ("features", LINES),
    ("feature_texts", LINES),
    ("limits", PAIRS),
    ("price_per_seat", FLAG),
    ("contact_sales", FLAG),
    ("popular", FLAG),
)
_QUOTA: Final[tuple[tuple[str, Kind], ...]] = (
    ("feature", TEXT),
    ("meter_event_name", TEXT),
    ("window", TEXT),
    ("limit", INTEGER),
    ("enforcement", TEXT),
    ("overage_price", DECIMAL),
    ("upgrade_plan_id", TEXT),
)
_PRORATIONS: Final = (("", "as the seller"), *ProrationUnit.choices)
_BASES: Final = (("", "as the seller"), *ProrationBasis.choices)
_SHOWN: Final = frozenset({"prices", "quotas", *(name for name, _ in _HEAD)})


@dataclass(frozen=True, slots=True)
class Choices:
    """What the rest of the document offers a plan: its products, meters (event name, unit), plans and features."""

    products: Sequence[Option]
    meters: Sequence[tuple[str, str]]
    plans: Sequence[Option]
    features: Sequence[str]

    @classmethod
    def of(cls, document: Document) -> Choices:
        named = {section: _name_entries(document, section) for section in ("products", "plans")}
        meters = [
            (find_key("meters", meter), TEXT.show(meter.get("unit"))) for _, meter in list_entries(document, "meters")
        ]
        features: dict[str, None] = {}
        for _, plan in list_entries(document, "plans"):
            features |= dict.fromkeys(LINES.show(plan.get("features")).split("\n"))
        return cls(named["products"], meters, named["plans"], sorted(filter(None, features)))


@dataclass(frozen=True, slots=True)
class PlanForm:
    """The form of one plan, ready to draw."""

    head: Sequence[EditorField]
    prices: Sequence[PriceCard]
    quotas: Sequence[PriceRow]
    blank_price: PriceCard
    blank_tier: PriceRow
    blank_variant: PriceRow
    blank_quota: PriceRow
    features: Sequence[str]
    rules: Mapping[str, Any]
    errors: Sequence[str] = ()


def read_plan(form: FormReader, base: Entry) -> Entry:
    """Return the plan that the posted fields make of `base`, the plan they were made from."""
    plan = keep_others(base, _SHOWN)
    for name, kind in _HEAD:
        put(plan, name, _read_head(form, name, base, kind))
    for key, read in (("prices", read_price), ("quotas", read_quota)):
        old = base.get(key)
        rows = [row.mark(read(row, row.origin(old))) for row in form.rows(key)]
        if rows or isinstance(old, list):
            plan[key] = rows
        elif old is not None:
            plan[key] = old
    if not plan.get("quotas") and "quotas" not in base:
        plan.pop("quotas", None)
    return plan


def _read_head(form: FormReader, name: str, base: Entry, kind: Kind) -> Any:
    value = read_value(form, name, base, kind)
    # Not ticked is not written, except where the document says `false` itself.
    return False if kind is FLAG and base.get(name) is False and value is not True else value


def read_quota(form: FormReader, base: Entry) -> Entry:
    """Return the quota that the posted fields of a row make."""
    quota = keep_others(base, frozenset(name for name, _ in _QUOTA))
    for name, kind in _QUOTA:
        put(quota, name, read_value(form, name, base, kind))
    return quota


def make_blank_price(plan: Entry) -> Entry:
    """Return a new price in the currency and interval of the plan's first one."""
    prices = plan.get("prices")
    first = next((price for price in prices if isinstance(price, dict)), {}) if isinstance(prices, list) else {}
    return {"currency": first.get("currency") or "usd", "interval": first.get("interval") or "month"}


def build_plan_form(
    plan: Entry,
    *,
    document: Document,
    places: FindingPlaces,
    pointer: str,
    opened: frozenset[int] = frozenset(),
    quotes: Mapping[int, Mapping[str, Any]] | None = None,
) -> PlanForm:
    """
    Return the form of a plan.

    `opened` are the prices that are shown in full, `quotes` what is shown beside them.
    """
    choices = Choices.of(document)
    prices = [price for price in plan.get("prices") or [] if isinstance(price, dict)]
    cards = [
        build_price_card(
            price,
            number=str(number),
            places=places,
            pointer=join_pointer(f"{pointer}/prices", number),
            meters=choices.meters,
            is_open=number in opened or len(prices) <= _OPEN_PRICES,
            quote=(quotes or {}).get(number),
        )
        for number, price in enumerate(prices)
    ]
    quotas = plan.get("quotas")
    rows = [quota for quota in quotas if isinstance(quota, dict)] if isinstance(quotas, list) else []
    blank_tier, blank_variant = build_blank_rows()
    return PlanForm(
        head=_list_head(plan, places, pointer, choices),
        prices=cards,
        quotas=[_make_quota(quota, str(at), places, f"{pointer}/quotas", choices) for at, quota in enumerate(rows)],
        blank_price=build_price_card(
            make_blank_price(plan),
            number="__price__",
            places=FindingPlaces(),
            pointer="/-",
            meters=choices.meters,
            is_open=True,
        ),
        blank_tier=blank_tier,
        blank_variant=blank_variant,
        blank_quota=_make_quota({}, "__row__", FindingPlaces(), "/-", choices),
        features=choices.features,
        rules=list_rules(),
        errors=places.take_below(pointer),
    )


def _list_head(plan: Entry, places: FindingPlaces, pointer: str, choices: Choices) -> list[EditorField]:
    def make(name: str, label: str, control: str = "text", kind: Kind = TEXT, **more: Any) -> EditorField:
        errors = places.take(pointer, name) or places.take_below(join_pointer(pointer, name))
        return EditorField(name, label, kind.show(plan.get(name)), control, errors=errors, **more)

    product, unit, basis = (TEXT.show(plan.get(name)) for name in ("product_id", "proration", "proration_basis"))
    return [
        make("name", "Name", required=True),
        make("id", "Id", required=True, help="What applications call it. Another id is another plan."),
        make("product_id", "Product", "select", options=include_option([("", "–"), *choices.products], product)),
        make("category", "Category"),
        make("trial_period_days", "Trial days", "number", INTEGER, placeholder="none"),
        make("proration", "Part of a period", "select", options=include_option([*_PRORATIONS], unit)),
        make("proration_basis", "A whole period counts", "select", options=include_option([*_BASES], basis)),
        make("description", "Description", "textarea", wide=True),
        make(
            "features",
            "Features",
            "textarea",
            LINES,
            help="Scopes the plan grants, one a line.",
            placeholder="llm:proxy",
        ),
        make("feature_texts", "Feature texts", "textarea", LINES, help="What price lists say, one a line."),
        make("limits", "Limits", "textarea", PAIRS, help="One a line: name = number.", placeholder="agents = 10"),
        make("popular", "Marked as popular", "checkbox", FLAG),
        make("price_per_seat", "Priced per seat", "checkbox", FLAG),
        make("contact_sales", "By agreement only", "checkbox", FLAG),
    ]


def _make_quota(quota: Entry, number: str, places: FindingPlaces, pointer: str, choices: Choices) -> PriceRow:
    prefix, place = f"quotas-{number}-", join_pointer(pointer, number)
    windows = [("", "–"), *((name, name.replace("_", " ")) for name in WINDOWS)]
    enforcements = [("", "hard (default)"), *((name, name) for name in ENFORCEMENTS)]
    meters = [("", "–"), *((name, name) for name, _ in choices.meters)]
    plans = [("", "–"), *((key, key) for key, _ in choices.plans)]

    def make(name: str, label: str, control: str = "text", kind: Kind = TEXT, **more: Any) -> EditorField:
        value = kind.show(quota.get(name))
        if control == "select":
            more["options"] = include_option(more["options"], value)
        return EditorField(f"{prefix}{name}", label, value, control, errors=places.take(place, name), **more)

    fields = [
        make("feature", "Feature", "list", listing="features"),
        make("meter_event_name", "Meter", "select", options=meters),
        make("window", "Per", "select", options=windows),
        make("limit", "Limit", "number", INTEGER),
        make("enforcement", "Enforced", "select", options=enforcements),
        make("overage_price", "Overage price", "number", DECIMAL, placeholder="none"),
        make("upgrade_plan_id", "Upgrade to", "select", options=plans),
    ]
    return PriceRow(prefix, find_origin(quota, number), fields, places.take_below(place))


def _name_entries(document: Document, section: str) -> list[Option]:
    found = []
    for _, entry in list_entries(document, section):
        if key := find_key(section, entry):
            name = TEXT.show(entry.get("name"))
            found.append((key, f"{name} ({key})" if name and name != key else key))
    return found
