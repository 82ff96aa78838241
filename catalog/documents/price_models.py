"""
The vocabulary of price terms: which keys a price has beside its place, what they hold, and which model takes which.

One table for reading, for the published schema and for the documentation. Source: policies, rules 14 to 18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Kind = Literal["amount", "quantity", "size", "percent", "count", "boolean", "tiers", "transform", "variants"]


class Term(NamedTuple):
    """What a key of a price holds. Amounts are minor units; quantities and sizes are in the unit of the meter."""

    kind: Kind
    meaning: str


TERMS: Final[dict[str, Term]] = {
    "unit_amount": Term("amount", "Minor units per unit; of a package, per package; of a flat price, in all."),
    "tiers": Term("tiers", "Steps with inclusive cumulative bounds in ascending order; the last has none."),
    "package_size": Term("size", "Units in a package; a started package is a whole one."),
    "percent": Term("percent", "Per hundred of the money that is counted."),
    "fixed_amount": Term("amount", "Minor units added by every charged event."),
    "free_events": Term("count", "The first events are free, until free_amount is used up if that is given too."),
    "free_amount": Term("amount", "The first money is free, until free_events is used up if that is given too."),
    "event_minimum": Term("amount", "The least a charged event costs."),
    "event_maximum": Term("amount", "The most a charged event costs."),
    "free_quantity": Term("quantity", "The first units are free and do not reach the tiers."),
    "transform_quantity": Term("transform", "Converts the cumulative quantity before anything else."),
    "bill_zero_usage": Term("boolean", "Whether the first tier's flat amount is owed without usage; true if absent."),
    "minimum_amount": Term("amount", "The least an interval costs; what is missing is a charge of its own."),
    "maximum_amount": Term("amount", "The most an interval costs."),
    "variants": Term("variants", "Other terms for usage with certain dimensions; the price's own are for the rest."),
}
# Of usage prices only, and of the price as a whole: a variant has none of its own.
USAGE_TERMS: Final = ("minimum_amount", "maximum_amount", "variants")
TIER_TERMS: Final[dict[str, Term]] = {
    "up_to": Term("quantity", "The last unit of the tier, counted from the start; null in the last tier."),
    "unit_amount": Term("amount", "Minor units per unit; 0 if absent."),
    "flat_amount": Term("amount", "Minor units once for the tier; 0 if absent."),
    "percent": Term("percent", "Per hundred of the money inside the tier; 0 if absent."),
}
TRANSFORM_KEYS: Final = ("divide_by", "round")
ROUNDINGS: Final = ("none", "up", "down")
VARIANT_KEYS: Final = frozenset({"when", *TERMS}) - frozenset(USAGE_TERMS)


@dataclass(frozen=True, slots=True)
class ModelRule:
    """
    What a price of one model says: what it must, what it may, and what its tiers hold beside their bound.

    `needs_sum` models price money, which only a meter that sums has; `has_variants` models may be dimensional.
    """

    meaning: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    tier_keys: tuple[str, ...] = ()
    is_fee: bool = True
    needs_sum: bool = False
    has_variants: bool = True

    def list_keys(self, *, is_usage: bool) -> frozenset[str]:
        """Return the terms that belong to a price of this model."""
        if not is_usage:
            return frozenset((*self.required, *self.optional))
        usage = [key for key in USAGE_TERMS if key != "variants" or self.has_variants]
        return frozenset((*self.required, *self.optional, *usage))


_UNITS: Final = ("free_quantity", "transform_quantity")
_STEPS: Final = (*_UNITS, "bill_zero_usage")
MODEL_RULES: Final[dict[str, ModelRule]] = {
    "flat": ModelRule(
        "A fee per subscribed unit; on a meter one amount for the interval, however much was used.",
        ("unit_amount",),
        has_variants=False,
    ),
    "per_unit": ModelRule("Every unit costs the same.", ("unit_amount",), _UNITS),
    "graduated": ModelRule(
        "Each tier prices the units inside its bounds; its flat amount is owed once entered.",
        ("tiers",),
        _STEPS,
        ("unit_amount", "flat_amount"),
    ),
    "volume": ModelRule(
        "The tier that holds the whole quantity prices all of it.", ("tiers",), _STEPS, ("unit_amount", "flat_amount")
    ),
    "package": ModelRule("Every started package costs the same.", ("unit_amount", "package_size"), _UNITS),
    "percentage": ModelRule(
        "A share of the money that is counted, and what each event adds.",
        ("percent",),
        ("fixed_amount", "free_events", "free_amount", "event_minimum", "event_maximum"),
        is_fee=False,
        needs_sum=True,
    ),
    "graduated_percentage": ModelRule(
        "Each tier takes its share of the money inside its bounds.",
        ("tiers",),
        _STEPS,
        ("percent", "flat_amount"),
        is_fee=False,
        needs_sum=True,
    ),
    "stairstep": ModelRule(
        "The flat amount of the tier that holds the quantity, whatever part of it is used.",
        ("tiers",),
        _STEPS,
        ("flat_amount",),
    ),
    "dynamic": ModelRule(
        "Every event carries its own price per unit.", (), is_fee=False, needs_sum=True, has_variants=False
    ),
}
FEE_MODELS: Final = tuple(model for model, rule in MODEL_RULES.items() if rule.is_fee)
USAGE_MODELS: Final = tuple(MODEL_RULES)
FEE_MODEL: Final = "flat"
USAGE_MODEL: Final = "per_unit"


def list_models_with(key: str) -> list[str]:
    """Return the models that a term belongs to."""
    return [model for model, rule in MODEL_RULES.items() if key in rule.list_keys(is_usage=True)]
