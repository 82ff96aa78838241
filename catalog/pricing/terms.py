"""What a price says. Decimals travel as text in documents, rows and traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from billing_site.kernel.money import EXACT
from catalog.pricing.breakdown import PricedQuantity, PricedTier, to_text
from catalog.pricing.usage import EventGroup

__all__ = ["Part", "PriceOptions", "PriceTerms", "PricedQuantity", "PricedTier", "Tier", "Variant", "to_text"]

ZERO: Final = Decimal(0)
_DECIMALS: Final = (
    "package_size",
    "percent",
    "fixed_amount",
    "free_amount",
    "event_minimum",
    "event_maximum",
    "free_quantity",
    "minimum_amount",
    "maximum_amount",
)
Plain = dict[str, Any]


class Tier(NamedTuple):
    """
    A step of a tiered price. `up_to` is the inclusive cumulative bound, None for the last tier.

    `unit_amount` and `flat_amount` are minor units; `percent` is per hundred of the money that is counted.
    """

    up_to: Decimal | None
    unit_amount: Decimal = ZERO
    flat_amount: Decimal = ZERO
    percent: Decimal = ZERO

    def as_dict(self) -> Plain:
        """Return the tier as documents write it; what is zero is left out."""
        shown: Plain = {"up_to": None if self.up_to is None else to_text(self.up_to)}
        for name in ("unit_amount", "flat_amount", "percent"):
            value: Decimal = getattr(self, name)
            if value:
                shown[name] = to_text(value)
        return shown

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Tier:
        """Return the tier that a document or `as_dict` wrote."""
        up_to = stored.get("up_to")
        amounts = (Decimal(str(stored.get(name) or 0)) for name in ("unit_amount", "flat_amount", "percent"))
        return cls(None if up_to is None else Decimal(str(up_to)), *amounts)


@dataclass(frozen=True, slots=True)
class PriceOptions:
    """
    Everything a price says beside its amount, each with the meaning it has in a catalog document.

    Amounts are minor units; `percent` is per hundred; `free_quantity` is counted after the quantity was divided by
    `divide_by` and rounded by `divide_round` (none, up or down, to whole units). `free_events` and `free_amount` end
    together, with whichever is used up first. `minimum_amount` and `maximum_amount` hold for a whole interval.
    Source: policies, rules 14 to 18.
    """

    tiers: tuple[Tier, ...] = ()
    package_size: Decimal | None = None
    percent: Decimal | None = None
    fixed_amount: Decimal | None = None
    free_events: int | None = None
    free_amount: Decimal | None = None
    event_minimum: Decimal | None = None
    event_maximum: Decimal | None = None
    free_quantity: Decimal | None = None
    divide_by: Decimal | None = None
    divide_round: str = "none"
    bill_zero_usage: bool = True
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    variants: tuple[Variant, ...] = ()

    @property
    def is_per_event(self) -> bool:
        """Whether a percentage needs the events one by one: something is fixed, free or bounded per event."""
        return any(
            value is not None
            for value in (
                self.fixed_amount,
                self.free_events,
                self.free_amount,
                self.event_minimum,
                self.event_maximum,
            )
        )

    @property
    def is_free(self) -> bool:
        """Whether nothing in the options costs anything."""
        amounts = (self.percent, self.fixed_amount, self.event_minimum, self.minimum_amount)
        return not (
            any(amounts)
            or any(tier.unit_amount or tier.flat_amount or tier.percent for tier in self.tiers)
            or any(variant.unit_amount or not variant.options.is_free for variant in self.variants)
        )

    def as_dict(self) -> Plain:
        """Return the options as documents write them; defaults are left out."""
        shown: Plain = {}
        if self.tiers:
            shown["tiers"] = [tier.as_dict() for tier in self.tiers]
        for name in _DECIMALS:
            value: Decimal | None = getattr(self, name)
            if value is not None:
                shown[name] = to_text(value)
        if self.free_events is not None:
            shown["free_events"] = self.free_events
        if self.divide_by is not None:
            shown["transform_quantity"] = {"divide_by": to_text(self.divide_by), "round": self.divide_round}
        if not self.bill_zero_usage:
            shown["bill_zero_usage"] = False
        if self.variants:
            shown["variants"] = [variant.as_dict() for variant in self.variants]
        return shown

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PriceOptions:
        """Return the options that a valid document or `as_dict` wrote; other members are passed over."""
        decimals = {name: Decimal(str(stored[name])) for name in _DECIMALS if stored.get(name) is not None}
        transform = stored.get("transform_quantity") or {}
        free_events = stored.get("free_events")
        bill_zero = stored.get("bill_zero_usage")
        return cls(
            tiers=tuple(map(Tier.from_dict, stored.get("tiers") or ())),
            free_events=None if free_events is None else int(free_events),
            divide_by=Decimal(str(transform["divide_by"])) if transform else None,
            divide_round=str(transform.get("round") or "none"),
            bill_zero_usage=bill_zero is not False,
            variants=tuple(map(Variant.from_dict, stored.get("variants") or ())),
            **decimals,
        )


@dataclass(frozen=True, slots=True)
class Variant:
    """The price of usage whose dimensions have all the values of `when`. The model is that of the price."""

    when: tuple[tuple[str, str], ...]
    unit_amount: Decimal | None = None
    options: PriceOptions = field(default_factory=PriceOptions)

    def __hash__(self) -> int:
        """Usage is grouped by variant, event by event: what it is for tells variants apart, its terms take longer."""
        return hash(self.when)

    @property
    def label(self) -> str:
        """The dimensions as text: `model=large, region=eu`."""
        return ", ".join(f"{key}={value}" for key, value in self.when)

    def as_dict(self) -> Plain:
        """Return the variant as documents write it."""
        amount = {} if self.unit_amount is None else {"unit_amount": to_text(self.unit_amount)}
        return {"when": dict(self.when), **amount, **self.options.as_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Variant:
        """Return the variant that a valid document or `as_dict` wrote."""
        amount = stored.get("unit_amount")
        return cls(
            when=tuple(sorted((str(key), str(value)) for key, value in stored["when"].items())),
            unit_amount=None if amount is None else Decimal(str(amount)),
            options=PriceOptions.from_dict(stored),
        )


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """
    One price as calculators see it.

    A fee has no `meter`: it is owed for the whole interval, for the subscribed quantity. A usage price has one and
    prices what the meter counted, in its `unit`. Amounts are exact minor units of `currency`; `price_id` is the public
    id. `unit_amount` is zero where the model has none. `origin` names what replaced the plan's own price, if anything
    did: the public id of a negotiated price, a pricing rule or a quota rule.
    """

    price_id: str
    model: str
    currency: str
    unit_amount: Decimal
    meter: str | None
    unit: str | None
    interval: str
    interval_count: int
    billing_timing: str
    lookup_key: str
    options: PriceOptions = field(default_factory=PriceOptions)
    origin: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.unit_amount, Decimal):
            raise TypeError(f"unit_amount is a Decimal, not {type(self.unit_amount).__name__}")

    def __hash__(self) -> int:
        """Prices are looked up for every line: what tells them apart, their terms take longer."""
        return hash((self.price_id, self.origin))

    @property
    def is_metered(self) -> bool:
        return self.meter is not None

    @property
    def is_free(self) -> bool:
        """Whether it can never cost anything."""
        return not self.unit_amount and self.model != "dynamic" and self.options.is_free

    @property
    def needs_events(self) -> bool:
        """Whether a quantity is not enough to price usage: the events themselves are priced, one by one."""
        if self.model == "dynamic":
            return True
        options = (self.options, *(variant.options for variant in self.options.variants))
        return self.model == "percentage" and any(each.is_per_event for each in options)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The event dimensions that choose the price, sorted; none for a price that is the same for all usage."""
        return tuple(sorted({key for variant in self.options.variants for key, _ in variant.when}))

    def as_dict(self) -> Plain:
        """Return the terms as text, as traces store them."""
        shown: Plain = {
            "price_id": self.price_id,
            "model": self.model,
            "currency": self.currency,
            "unit_amount": to_text(self.unit_amount),
            "meter": self.meter,
            "unit": self.unit,
            "interval": self.interval,
            "interval_count": str(self.interval_count),
            "billing_timing": self.billing_timing,
            "lookup_key": self.lookup_key,
        }
        if options := self.options.as_dict():
            shown["options"] = options
        if self.origin:
            shown["origin"] = self.origin
        return shown

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PriceTerms:
        """Return the terms that `as_dict` wrote. :raises KeyError: if one is missing."""
        return cls(
            price_id=str(stored["price_id"]),
            model=str(stored["model"]),
            currency=str(stored["currency"]),
            unit_amount=Decimal(str(stored["unit_amount"])),
            meter=stored["meter"],
            unit=stored["unit"],
            interval=str(stored["interval"]),
            interval_count=int(str(stored["interval_count"])),
            billing_timing=str(stored["billing_timing"]),
            lookup_key=str(stored["lookup_key"]),
            options=PriceOptions.from_dict(stored.get("options") or {}),
            origin=str(stored.get("origin") or ""),
        )


class Part(NamedTuple):
    """
    What a price model is asked for: a quantity, converted and without its free units, and the terms that price it.

    `events`, in order of time, are there for models that count event by event.
    """

    quantity: Decimal
    unit_amount: Decimal
    options: PriceOptions
    events: Sequence[EventGroup] = ()


def divide_quantity(quantity: Decimal, options: PriceOptions) -> Decimal:
    """
    Return the cumulative quantity in the unit of the price, rounded to whole units where the price says so.

    Exact to 96 digits. Source: policies, rule 18.
    """
    if options.divide_by is None:
        return quantity
    divided = quantity / options.divide_by
    if options.divide_round == "none":
        return divided
    return divided.to_integral_value(
        rounding="ROUND_CEILING" if options.divide_round == "up" else "ROUND_FLOOR", context=EXACT
    )
