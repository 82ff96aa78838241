"""What a catalog document asks the provider to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

CUSTOMER_PAYLOAD_KEY: Final = "stripe_customer_id"
VALUE_PAYLOAD_KEY: Final = "value"

Form = dict[str, Any]
"""Parameters of a request; objects and lists inside are sent with brackets."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something of the document that is not sent, and why."""

    kind: str
    lookup_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class WantedProduct:
    """`description` None leaves alone what the provider has; `metadata` holds the lookup key too."""

    lookup_key: str
    name: str
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def as_form(self) -> Form:
        described = {"description": self.description} if self.description else {}
        return {"name": self.name, **described, "metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True)
class WantedMeter:
    """Everything but the display name is final once a meter exists."""

    lookup_key: str
    event_name: str
    display_name: str
    formula: str = "sum"
    customer_mapping_type: str = "by_id"
    customer_payload_key: str = CUSTOMER_PAYLOAD_KEY
    value_payload_key: str = VALUE_PAYLOAD_KEY

    def as_form(self) -> Form:
        return {
            "display_name": self.display_name,
            "event_name": self.event_name,
            "default_aggregation": {"formula": self.formula},
            "customer_mapping": {
                "type": self.customer_mapping_type,
                "event_payload_key": self.customer_payload_key,
            },
            "value_settings": {"event_payload_key": self.value_payload_key},
        }


@dataclass(frozen=True, slots=True)
class Tier:
    """`up_to` is the inclusive cumulative bound, None for the last. Amounts are the provider's minor units."""

    up_to: int | None
    unit_amount: Decimal = Decimal(0)
    flat_amount: Decimal = Decimal(0)

    def as_form(self) -> Form:
        form: Form = {"up_to": "inf" if self.up_to is None else self.up_to}
        if self.flat_amount:
            form |= _amount_form("flat_amount", self.flat_amount)
        if self.unit_amount or not self.flat_amount:
            form |= _amount_form("unit_amount", self.unit_amount)
        return form


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a price costs in the provider's words: `unit_amount`, of the quantity divided and rounded if `divide_by` is
    given; or tiers. Exact minor units of the provider; two equal terms cost the same.
    """

    unit_amount: Decimal | None = None
    divide_by: int | None = None
    round: str | None = None
    tiers: tuple[Tier, ...] = ()
    tiers_mode: str | None = None

    @property
    def is_free(self) -> bool:
        return not self.unit_amount and not any(tier.unit_amount or tier.flat_amount for tier in self.tiers)

    def as_form(self) -> Form:
        if self.tiers:
            tiers = [tier.as_form() for tier in self.tiers]
            return {"billing_scheme": "tiered", "tiers_mode": self.tiers_mode, "tiers": tiers}
        form = _amount_form("unit_amount", self.unit_amount or Decimal(0))
        if self.divide_by is not None:
            form["transform_quantity"] = {"divide_by": self.divide_by, "round": self.round}
        return form

    @classmethod
    def of_provider(cls, price: Mapping[str, Any]) -> Terms:
        """Return the terms of a price as the provider has it, its tiers included."""
        if price.get("billing_scheme") == "tiered":
            tiers = tuple(
                Tier(tier.get("up_to"), _read_amount(tier, "unit_amount"), _read_amount(tier, "flat_amount"))
                for tier in price.get("tiers") or ()
            )
            return cls(tiers=tiers, tiers_mode=price.get("tiers_mode"))
        transform = price.get("transform_quantity") or {}
        is_open = price.get("custom_unit_amount") is not None
        amount = None if is_open else _read_amount(price, "unit_amount")
        return cls(amount, transform.get("divide_by"), transform.get("round"))


@dataclass(frozen=True, slots=True)
class WantedPrice:
    """
    A price by its lookup key. `product` is the lookup key of its product, `meter` the event name of its meter.

    No `interval` is a price paid once. `nickname` and `metadata` are only for people.
    """

    lookup_key: str
    product: str
    currency: str
    terms: Terms
    interval: str | None = None
    interval_count: int = 1
    meter: str | None = None
    nickname: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def as_form(self, *, product_id: str, meter_id: str | None) -> Form:
        form: Form = {
            "product": product_id,
            "currency": self.currency,
            "lookup_key": self.lookup_key,
            **self.terms.as_form(),
            "metadata": dict(self.metadata),
        }
        if self.nickname:
            form["nickname"] = self.nickname
        if self.interval is not None:
            form["recurring"] = self.describe_recurring(meter_id)
        return {key: value for key, value in form.items() if value != {}}

    def describe_recurring(self, meter_id: str | None) -> Form:
        """Return when and by what the price is due."""
        recurring: Form = {"interval": self.interval, "interval_count": self.interval_count}
        if self.meter is None:
            return {**recurring, "usage_type": "licensed"}
        return {**recurring, "usage_type": "metered", "meter": meter_id}


@dataclass(frozen=True, slots=True)
class WantedCatalog:
    """Everything of a document, in its order."""

    products: tuple[WantedProduct, ...] = ()
    meters: tuple[WantedMeter | Skipped, ...] = ()
    prices: tuple[WantedPrice | Skipped, ...] = ()


def _amount_form(name: str, amount: Decimal) -> Form:
    if amount == amount.to_integral_value():
        return {name: int(amount)}
    return {f"{name}_decimal": f"{amount.normalize():f}"}


def _read_amount(shown: Mapping[str, Any], name: str) -> Decimal:
    exact = shown.get(f"{name}_decimal")
    value = exact if exact is not None else shown.get(name)
    return Decimal(0) if value is None else Decimal(str(value))
