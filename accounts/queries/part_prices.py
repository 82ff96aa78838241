"""
Which price a part has that is added to a subscription, beside what comes with its plan.

Source: contract chapter Subscriptions (items).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from accounts.models import BillingMode, Subscription
from billing_site.kernel.errors import NotFound, ValidationFailed
from catalog.models import Meter, Price
from catalog.queries.meters import MeterNotFound, get_meter
from catalog.queries.plans import PlanNotFound, get_sellable_plan
from catalog.queries.revisions import list_owners


@dataclass(frozen=True, slots=True)
class NewPart:
    """
    A part to add: a price by id, or a plan for its fee, or with a meter for its usage price; or a meter alone.

    A meter alone has no price of its own: its usage costs what a pricing rule says, if one does. `billing_mode` left
    out follows from the rest.
    """

    price_id: str | None = None
    plan_key: str | None = None
    meter_id: str | None = None
    quantity: int | None = None
    billing_mode: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartPrice:
    """What a part is billed by: a fee, or the usage of a meter at a price, or at that of a rule."""

    price: Price | None
    meter: Meter | None

    @property
    def name(self) -> str:
        if self.price is not None:
            return self.price.plan_version.name
        return self.meter.display_name if self.meter is not None else ""


def choose_part_price(subscription: Subscription, part: NewPart, *, on_sale_only: bool) -> PartPrice:
    """
    Return what the part is billed by; with `on_sale_only` no price of a version that is not sold any more.

    :raises NotFound: for an unknown price, plan or meter.
    :raises ValidationFailed: if too little or too much is named, or it is not sold in the subscription's currency and
    interval.
    """
    _require_named(part)
    org_id = subscription.account.org_id
    meter = _find_meter(org_id, part.meter_id) if part.meter_id is not None else None
    if part.price_id is not None:
        price: Price | None = _find_price(org_id, part.price_id, on_sale_only=on_sale_only)
    elif part.plan_key is not None:
        price = _find_plan_price(subscription, part.plan_key, meter)
    else:
        price = None
    if price is not None:
        _require_fit(subscription, part, price, meter)
        meter = price.meter
    return PartPrice(price, meter)


def _require_named(part: NewPart) -> None:
    if part.price_id is not None and part.plan_key is not None:
        raise ValidationFailed.of("/plan_id", "ambiguous", "Name a price or a plan, not both.")
    named = part.price_id is not None or part.plan_key is not None
    if part.billing_mode == BillingMode.METERED and part.meter_id is None and part.price_id is None:
        raise ValidationFailed.of("/meter_id", "required", "A metered part needs its meter.")
    if part.billing_mode == BillingMode.LICENSED and part.meter_id is not None:
        raise ValidationFailed.of("/meter_id", "not_metered", "A licensed part has no meter.")
    if part.meter_id is None and not named:
        raise ValidationFailed.of("/price_id", "required", "A licensed part needs a price or a plan.")


def _find_meter(org_id: str, reference: str) -> Meter:
    try:
        return get_meter(org_id=org_id, reference=reference)
    except MeterNotFound as error:
        raise NotFound("meter") from error


def _find_price(org_id: str, reference: str, *, on_sale_only: bool) -> Price:
    key = Price.parse_id(reference.strip())
    prices = Price.objects.filter(plan_version__plan__org_id__in=list_owners(org_id=org_id))
    found = None if key is None else prices.filter(pk=key).select_related("plan_version__plan", "meter").first()
    if found is None:
        raise NotFound("price")
    if on_sale_only:
        version = found.plan_version
        try:
            is_sold = get_sellable_plan(org_id=org_id, key=version.plan.key).pk == version.pk
        except PlanNotFound:
            is_sold = False
        if not is_sold:
            raise NotFound("price")
    return found


def _find_plan_price(subscription: Subscription, key: str, meter: Meter | None) -> Price:
    try:
        version = get_sellable_plan(org_id=subscription.account.org_id, key=key)
    except PlanNotFound as error:
        raise NotFound("plan") from error
    for price in version.prices.all():
        if price.meter_id == (None if meter is None else meter.pk) and _is_sold_to(subscription, price):
            price.plan_version = version
            return price
    what = "fee" if meter is None else f"price for {meter.display_name}"
    every = f"by the {subscription.interval} in {subscription.currency.upper()}"
    raise ValidationFailed.of("/plan_id", "not_priced", f"{version.name} has no {what} {every}.")


def _require_fit(subscription: Subscription, part: NewPart, price: Price, meter: Meter | None) -> None:
    if meter is not None and price.meter_id != meter.pk:
        raise ValidationFailed.of("/meter_id", "contradiction", "The price is for something else than this meter.")
    if part.billing_mode is not None and price.is_metered != (part.billing_mode == BillingMode.METERED):
        mode = BillingMode.METERED if price.is_metered else BillingMode.LICENSED
        raise ValidationFailed.of("/billing_mode", "contradiction", f"The price is {mode}.")
    if price.is_metered and part.quantity is not None and part.quantity > 1:
        raise ValidationFailed.of("/quantity", "metered", "A metered part has no quantity: its usage counts.")
    if not _is_sold_to(subscription, price):
        sold = f"{price.interval_count} {price.interval} in {price.currency.upper()}"
        raise ValidationFailed.of(
            "/price_id", "not_priced", f"The price is for {sold}; the subscription is billed otherwise."
        )


def _is_sold_to(subscription: Subscription, price: Price) -> bool:
    ours = (subscription.currency, subscription.interval, subscription.interval_count)
    return (price.currency, price.interval, price.interval_count) == ours
