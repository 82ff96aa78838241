"""One price of a plan, drawn as a form: every field with its value, its help and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from catalog.admin.editor_fields import EditorField, FindingPlaces, Option, describe_major, include_option
from catalog.admin.editor_price import (
    AMOUNT_LABELS,
    MODEL_LABELS,
    PER_EVENT_MODELS,
    TERM_LABELS,
    VARIANT_TERMS,
    describe_raw_price,
    find_model,
    is_usage,
    list_terms,
)
from catalog.admin.editor_values import ORIGIN, TEXT, WHEN, strip_origins
from catalog.documents.findings import join_pointer
from catalog.documents.price_models import MODEL_RULES, TERMS, TIER_TERMS
from catalog.documents.vocabulary import INTERVALS

Entry = dict[str, Any]

_UNITS: Final = {"amount": "minor units", "percent": "%", "count": "events"}
_TIER_LABELS: Final = {
    "up_to": "Up to",
    "unit_amount": "Unit amount",
    "flat_amount": "Flat amount",
    "percent": "Percent",
}
# Terms that few prices have: shown on demand.
_RARE: Final = frozenset(
    {"", "free_quantity", "minimum_amount", "maximum_amount", "transform_quantity", "bill_zero_usage"}
)
_TIMINGS: Final[tuple[Option, ...]] = (("", "Default"), ("advance", "In advance"), ("arrears", "In arrears"))
_ROUNDINGS: Final[tuple[Option, ...]] = (("none", "Not rounded"), ("up", "Rounded up"), ("down", "Rounded down"))


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A tier or a variant: its fields, the number of the one it was made from, and what is wrong with it as a whole."""

    prefix: str
    origin: str
    fields: Sequence[EditorField]
    errors: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class PriceCard:
    """One price, ready to draw. `tier_labels` are (key, label, hidden)."""

    prefix: str
    number: str
    origin: str
    title: str
    place: str
    fields: Sequence[EditorField]
    terms: Sequence[EditorField]
    more: Sequence[EditorField]
    tiers: Sequence[PriceRow]
    tier_labels: Sequence[tuple[str, str, bool]]
    variants: Sequence[PriceRow]
    has_tiers: bool
    has_variants: bool
    meaning: str
    asks_events: bool = False
    asks_price: bool = False
    is_open: bool = False
    errors: Sequence[str] = ()
    finding_count: int = 0
    quote: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_more(self) -> bool:
        """Whether one of the rarer fields says something, so that they are shown."""
        usual = {"none", "on", ""}
        return any(item.errors or (item.value not in usual and not item.hidden) for item in self.more) or any(
            item.term == "bill_zero_usage" and not item.is_checked and not item.hidden for item in self.more
        )


def build_price_card(
    price: Entry,
    *,
    number: str,
    places: FindingPlaces,
    pointer: str,
    meters: Sequence[tuple[str, str]],
    is_open: bool = False,
    quote: Mapping[str, Any] | None = None,
) -> PriceCard:
    """
    Return the form of a price.

    `meters` are (event name, unit); `number` is its place in the plan, or a placeholder for the script's copies, which
    are made from no stored price.
    """
    origin = find_origin(price, number)
    finding_count = places.count_below(pointer)
    builder = _Builder(price, f"prices-{number}-", places, pointer)
    unit = dict(meters).get(str(price.get("meter") or ""))
    rule = MODEL_RULES.get(builder.model)
    terms = builder.list_term_fields()
    return PriceCard(
        prefix=builder.prefix,
        number=number,
        origin=origin,
        title=describe_raw_price(strip_origins(price), unit) or ("Not complete yet" if origin else "New price"),
        place=_describe_place(price),
        fields=builder.list_place_fields(meters),
        terms=[field for field in terms if field.term not in _RARE],
        more=[field for field in (*terms, *builder.list_other_fields()) if field.term in _RARE],
        tiers=builder.list_tiers(),
        tier_labels=[(key, label, key not in builder.tier_keys) for key, label in _TIER_LABELS.items()],
        variants=builder.list_variants(),
        has_tiers="tiers" in builder.allowed,
        has_variants="variants" in builder.allowed,
        meaning=rule.meaning if rule else "",
        asks_events=builder.model in PER_EVENT_MODELS,
        asks_price=builder.model == "dynamic",
        is_open=is_open or bool(finding_count),
        errors=places.take_below(pointer),
        finding_count=finding_count,
        quote=quote or {},
    )


def _describe_place(price: Entry) -> str:
    currency, interval, count = price.get("currency"), price.get("interval"), price.get("interval_count")
    every = f"{count} {interval}s" if count not in (None, 1) else str(interval or ("month" if is_usage(price) else ""))
    return " · ".join(part for part in (str(price.get("meter") or "Fee"), str(currency or "").upper(), every) if part)


class _Builder:
    """What the fields of one price have in common."""

    def __init__(self, price: Entry, prefix: str, places: FindingPlaces, pointer: str) -> None:
        self.price, self.prefix, self.places, self.pointer = price, prefix, places, pointer
        self.model = find_model(price)
        self.allowed = list_terms(self.model, usage=is_usage(price))
        self.currency = str(price.get("currency") or "").strip().lower()
        rule = MODEL_RULES.get(self.model)
        self.tier_keys = ("up_to", *(rule.tier_keys if rule and "tiers" in self.allowed else ()))

    def list_place_fields(self, meters: Sequence[tuple[str, str]]) -> list[EditorField]:
        """Return the fields that say where the price stands: currency, meter, model, interval."""
        named = [(name, f"{name} ({unit})" if unit else name) for name, unit in meters]
        intervals = [("", "–"), *((name, name) for name in INTERVALS)]
        return [
            self._make("currency", "Currency", "list", listing="currencies", required=True, placeholder="usd"),
            self._choose("meter", "Charges for", [("", "Nothing: a fee"), *named]),
            self._choose("model", "Model", list(MODEL_LABELS.items()), value=self.model),
            self._choose("billing_timing", "Billed", list(_TIMINGS)),
            self._make("interval_count", "Every", "number", placeholder="1"),
            self._choose("interval", "Interval", intervals),
        ]

    def list_term_fields(self) -> list[EditorField]:
        """Return the terms that are one number each; those of other models are hidden."""
        found = []
        for key, label in TERM_LABELS.items():
            shown = AMOUNT_LABELS.get(self.model, label) if key == "unit_amount" else label
            found.append(self._make_term(key, shown, self.price, self.prefix, self.pointer))
        return found

    def list_other_fields(self) -> list[EditorField]:
        """Return the lookup key, the conversion of quantities, and what zero usage costs."""
        transform = self.price.get("transform_quantity")
        shown = transform if isinstance(transform, dict) else {}
        place = join_pointer(self.pointer, "transform_quantity")
        hidden = "transform_quantity" not in self.allowed
        rounding = str(shown.get("round") or "none")
        return [
            self._make("lookup_key", "Lookup key", "text", placeholder="derived"),
            EditorField(
                name=f"{self.prefix}divide_by",
                label="Divide quantity by",
                value=TEXT.show(shown.get("divide_by")),
                control="number",
                help=TERMS["transform_quantity"].meaning,
                unit="units",
                term="transform_quantity",
                hidden=hidden,
                errors=[*self.places.take(place), *self.places.take(place, "divide_by")],
            ),
            EditorField(
                name=f"{self.prefix}divide_round",
                label="Rounding",
                value=rounding,
                control="select",
                options=include_option(list(_ROUNDINGS), rounding),
                term="transform_quantity",
                hidden=hidden,
                errors=self.places.take(place, "round"),
            ),
            EditorField(
                name=f"{self.prefix}bill_zero_usage",
                label="The first tier's flat amount is owed without usage",
                value="" if self.price.get("bill_zero_usage") is False else "on",
                control="checkbox",
                term="bill_zero_usage",
                hidden="bill_zero_usage" not in self.allowed,
                errors=self.places.take(self.pointer, "bill_zero_usage"),
            ),
        ]

    def list_tiers(self) -> list[PriceRow]:
        """Return a row per tier, with the columns of the model."""
        return [
            self._make_tier(tier, f"{self.prefix}tiers-{number}-", str(number), self._at("tiers", number))
            for number, tier in enumerate(_list_objects(self.price.get("tiers")))
        ]

    def list_variants(self) -> list[PriceRow]:
        """Return a row per variant; tiers and what else it may hold are named and kept."""
        return [
            self._make_variant(variant, f"{self.prefix}variants-{number}-", str(number), self._at("variants", number))
            for number, variant in enumerate(_list_objects(self.price.get("variants")))
        ]

    def make_blank_rows(self) -> tuple[PriceRow, PriceRow]:
        """Return an empty tier and an empty variant, for the script to copy."""
        tier = self._make_tier({}, f"{self.prefix}tiers-__row__-", "", f"{self.pointer}/-")
        return tier, self._make_variant({}, f"{self.prefix}variants-__row__-", "", f"{self.pointer}/-")

    def _at(self, key: str, number: int) -> str:
        return join_pointer(join_pointer(self.pointer, key), number)

    def _make(self, key: str, label: str, control: str, **more: Any) -> EditorField:
        errors = self.places.take(self.pointer, key)
        return EditorField(
            name=f"{self.prefix}{key}",
            label=label,
            value=TEXT.show(self.price.get(key)),
            control=control,
            errors=errors,
            **more,
        )

    def _choose(self, key: str, label: str, options: list[Option], *, value: str | None = None) -> EditorField:
        shown = TEXT.show(self.price.get(key)) if value is None else value
        errors = self.places.take(self.pointer, key)
        return EditorField(
            name=f"{self.prefix}{key}",
            label=label,
            value=shown,
            control="select",
            options=include_option(options, shown),
            errors=errors,
        )

    def _make_term(self, key: str, label: str, entry: Entry, prefix: str, pointer: str) -> EditorField:
        kind = TERMS[key].kind
        value = TEXT.show(entry.get(key))
        return EditorField(
            name=f"{prefix}{key}",
            label=label,
            value=value,
            control="amount" if kind == "amount" else "number",
            help="" if key == "unit_amount" else TERMS[key].meaning,  # its label says it, by model
            unit=_UNITS.get(kind, "units"),
            term=key,
            hidden=key not in self.allowed,
            errors=self.places.take(pointer, key),
            major=describe_major(value, self.currency) if kind == "amount" else "",
        )

    def _make_tier(self, tier: Entry, prefix: str, number: str, pointer: str) -> PriceRow:
        fields = []
        for key, label in _TIER_LABELS.items():
            value = TEXT.show(tier.get(key))
            is_amount = TIER_TERMS[key].kind == "amount"
            fields.append(
                EditorField(
                    name=f"{prefix}{key}",
                    label=label,
                    value=value,
                    control="amount" if is_amount else "number",
                    term=key,
                    hidden=key not in self.tier_keys,
                    errors=self.places.take(pointer, key),
                    major=describe_major(value, self.currency) if is_amount else "",
                    placeholder="∞" if key == "up_to" else "0",
                )
            )
        return PriceRow(prefix, find_origin(tier, number), fields, self.places.take_below(pointer))

    def _make_variant(self, variant: Entry, prefix: str, number: str, pointer: str) -> PriceRow:
        when = EditorField(
            name=f"{prefix}when",
            label="When",
            value=WHEN.show(variant.get("when")),
            placeholder="model=large, region=eu",
            wide=True,
            errors=self.places.take(pointer, "when") or self.places.take_below(join_pointer(pointer, "when")),
        )
        terms = [self._make_term(key, TERM_LABELS[key], variant, prefix, pointer) for key in VARIANT_TERMS]
        others = sorted(key for key in variant if key not in ("when", ORIGIN, *VARIANT_TERMS))
        note = f"also {', '.join(key.replace('_', ' ') for key in others)}, edited as JSON" if others else ""
        return PriceRow(prefix, find_origin(variant, number), [when, *terms], self.places.take_below(pointer), note)


def build_blank_rows() -> tuple[PriceRow, PriceRow]:
    """Return an empty tier and an empty variant with placeholders for the price and the row."""
    return _Builder({}, "prices-__price__-", FindingPlaces(), "/-").make_blank_rows()


def find_origin(entry: Entry, number: str) -> str:
    """Return the place of the stored entry: the one a form said, or its own; none for the script's copies."""
    return str(entry[ORIGIN]) if ORIGIN in entry else number if number.isdecimal() else ""


def _list_objects(value: object) -> list[Entry]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
