"""
What is to be done: the catalog compared with the provider. Pure: no request is made here.

A price is found unchanged, or has another amount, currency, interval, meter or product: then a new one takes its
place, because a price's terms never change. Nothing is ever deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from billing_client.provider_sync.errors import ProviderDiffers
from billing_client.provider_sync.state import ProviderState, Shown
from billing_client.provider_sync.wanted import (
    Form,
    Skipped,
    Terms,
    WantedCatalog,
    WantedMeter,
    WantedPrice,
    WantedProduct,
)

Action = Literal["create", "update", "replace", "keep", "skip", "leave"]

# In the metadata of a price that took another's place: which, and whether that is still to be archived.
REPLACES: Final = "replaces"
REPLACEMENT: Final = "replacement"
OPEN: Final = "open"


@dataclass(frozen=True, slots=True)
class Step:
    """One object and what happens to it; `current` is what the provider has, `changes` what is sent to change it."""

    kind: str
    lookup_key: str
    action: Action
    wanted: WantedProduct | WantedMeter | WantedPrice | None = None
    current: Shown | None = None
    changes: Form = field(default_factory=dict)
    detail: str = ""


def make_plan(wanted: WantedCatalog, state: ProviderState) -> list[Step]:
    """
    Return the steps in the order in which they are taken: products, meters, prices.

    :raises ProviderDiffers: if a meter exists that counts differently; a meter cannot be changed.
    """
    differences = [line for meter in wanted.meters for line in _list_differences(meter, state)]
    if differences:
        raise ProviderDiffers(differences)
    steps = [_plan_product(product, state.products.get(product.lookup_key)) for product in wanted.products]
    steps += [_plan_meter(meter, state) for meter in wanted.meters]
    steps += [_plan_price(price, state) for price in wanted.prices]
    known = {product.lookup_key for product in wanted.products}
    for key, product in state.products.items():
        if key not in known:
            steps.append(Step("product", key, "leave", current=product, detail="not in the document"))
    return steps


def _plan_product(wanted: WantedProduct, current: Shown | None) -> Step:
    if current is None:
        return Step("product", wanted.lookup_key, "create", wanted)
    changes: Form = {}
    if current["name"] != wanted.name:
        changes["name"] = wanted.name
    if wanted.description is not None and (current.get("description") or "") != wanted.description:
        changes["description"] = wanted.description
    if not current["active"]:
        changes["active"] = True
    if metadata := _find_new(wanted.metadata, current.get("metadata")):
        changes["metadata"] = metadata
    return _make_step("product", wanted.lookup_key, wanted, current, changes)


def _plan_meter(wanted: WantedMeter | Skipped, state: ProviderState) -> Step:
    if isinstance(wanted, Skipped):
        return Step("meter", wanted.lookup_key, "skip", detail=wanted.reason)
    current = state.meters.get(wanted.event_name)
    if current is None:
        return Step("meter", wanted.lookup_key, "create", wanted)
    changes: Form = {}
    if current["display_name"] != wanted.display_name:
        changes["display_name"] = wanted.display_name
    return _make_step("meter", wanted.lookup_key, wanted, current, changes)


def _plan_price(wanted: WantedPrice | Skipped, state: ProviderState) -> Step:
    if isinstance(wanted, Skipped):
        return Step("price", wanted.lookup_key, "skip", detail=wanted.reason)
    current = state.prices.get(wanted.lookup_key)
    if current is None:
        return Step("price", wanted.lookup_key, "create", wanted)
    product, meter = state.products.get(wanted.product), state.meters.get(wanted.meter or "")
    reason = describe_difference(
        wanted,
        current,
        product_id=None if product is None else product["id"],
        meter_id=None if meter is None else meter["id"],
    )
    if reason:
        return Step("price", wanted.lookup_key, "replace", wanted, current, detail=reason)
    changes: Form = {}
    if wanted.nickname and current.get("nickname") != wanted.nickname:
        changes["nickname"] = wanted.nickname
    if metadata := _find_new(wanted.metadata, current.get("metadata")):
        changes["metadata"] = metadata
    return _make_step("price", wanted.lookup_key, wanted, current, changes)


def describe_difference(
    wanted: WantedPrice, current: Mapping[str, Any], *, product_id: str | None, meter_id: str | None
) -> str:
    """Return what makes a price of the provider another one than is wanted, empty where it is the same."""
    recurring = current.get("recurring")
    if not current["active"]:
        return "it was archived"
    if product_id is None or current["product"] != product_id:
        return "product"
    if current["currency"] != wanted.currency:
        return "currency"
    if Terms.of_provider(current) != wanted.terms:
        return "amount"
    if (recurring is None) != (wanted.interval is None):
        return "interval"
    if recurring is None:
        return ""
    form = wanted.describe_recurring(meter_id)
    if (recurring["interval"], recurring["interval_count"]) != (form["interval"], form["interval_count"]):
        return "interval"
    if (recurring["usage_type"], recurring.get("meter")) != (form["usage_type"], form.get("meter")):
        return "meter"
    return ""


def is_unfinished(price: Mapping[str, Any]) -> bool:
    """Tell whether a price took another's place that may not be archived yet."""
    metadata = price.get("metadata") or {}
    return bool(metadata.get(REPLACES)) and metadata.get(REPLACEMENT) == OPEN


def _make_step(
    kind: str,
    key: str,
    wanted: WantedProduct | WantedMeter | WantedPrice,
    current: Shown,
    changes: Form,
) -> Step:
    action: Action = "update" if changes else "keep"
    return Step(kind, key, action, wanted, current, changes, ", ".join(changes))


def _find_new(wanted: Mapping[str, str], current: Mapping[str, str] | None) -> dict[str, str]:
    """Return the metadata that is missing or different; what others put there stays."""
    return {key: value for key, value in wanted.items() if (current or {}).get(key) != value}


def _list_differences(wanted: WantedMeter | Skipped, state: ProviderState) -> Iterator[str]:
    if isinstance(wanted, Skipped) or (current := state.meters.get(wanted.event_name)) is None:
        return
    mapping, values = current.get("customer_mapping") or {}, current.get("value_settings") or {}
    for words, theirs, ours in (
        ("aggregation_formula", (current.get("default_aggregation") or {}).get("formula"), wanted.formula),
        ("customer_mapping_event_payload_key", mapping.get("event_payload_key"), wanted.customer_payload_key),
        ("value_settings_event_payload_key", values.get("event_payload_key"), wanted.value_payload_key),
    ):
        if theirs != ours:
            yield f"meter {wanted.lookup_key}: {words} is {theirs} in {current['id']}, {ours} in the document"
