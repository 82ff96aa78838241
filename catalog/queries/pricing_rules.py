"""
Pricing rules: which one prices a meter.

Source: contract chapter Pricing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from django.db.models import QuerySet

from billing_site.kernel.errors import NotFound
from catalog.models import Meter, PricingRule, RuleModel
from catalog.pricing.terms import ZERO, PriceOptions, PriceTerms, Tier
from catalog.queries.revisions import list_owners

_MODELS: Final = {RuleModel.PER_UNIT: "per_unit", RuleModel.TIERED: "graduated", RuleModel.VOLUME: "volume"}


def list_pricing_rules(
    *, org_id: str, meter: str = "", plan_key: str = "", currency: str = ""
) -> QuerySet[PricingRule]:
    """Return the open rules that count for the organization. `meter` is a public id or event name."""
    rules = PricingRule.objects.filter(org_id__in=list_owners(org_id=org_id), closed_at__isnull=True)
    if meter:
        key = Meter.parse_id(meter)
        rules = rules.filter(meter__event_name=meter.strip()) if key is None else rules.filter(meter_id=key)
    if plan_key:
        rules = rules.filter(plan_key=plan_key)
    if currency:
        rules = rules.filter(currency=currency)
    return rules.select_related("meter")


def get_pricing_rule(*, org_id: str, reference: str) -> PricingRule:
    """
    Return an open rule of the organization, by public id.

    :raises NotFound: if there is none.
    """
    key = PricingRule.parse_id(reference)
    rules = PricingRule.objects.filter(org_id=org_id, closed_at__isnull=True).select_related("meter")
    rule = None if key is None else rules.filter(pk=key).first()
    if rule is None:
        raise NotFound("pricing_rule")
    return rule


def get_rule_terms(rule: PricingRule) -> PriceTerms:
    """Return the pure form of a rule, by the month. `tiered` is what prices call `graduated`."""
    return PriceTerms(
        price_id=rule.public_id,
        model=_MODELS[RuleModel(rule.model)],
        currency=rule.currency,
        unit_amount=ZERO if rule.unit_price is None else rule.unit_price,
        meter=rule.meter.event_name,
        unit=rule.meter.unit,
        interval="month",
        interval_count=1,
        billing_timing="arrears",
        lookup_key=f"rule:{rule.plan_key or '*'}:{rule.currency}:{rule.meter.event_name}",
        options=PriceOptions(tiers=tuple(map(_read_tier, rule.tiers))),
        origin=rule.public_id,
    )


def _read_tier(stored: dict[str, str | int | None]) -> Tier:
    up_to = stored["up_to"]
    return Tier(
        up_to=None if up_to is None else Decimal(str(up_to)),
        unit_amount=Decimal(str(stored["price"])),
        flat_amount=Decimal(str(stored["flat"])),
    )
