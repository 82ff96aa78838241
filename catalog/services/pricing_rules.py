"""
Pricing rules: say what a meter costs, and stop saying it.

Source: contract chapter Pricing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.models import Plan, PricingRule, RuleModel
from catalog.pricing.terms import to_text
from catalog.queries.meters import MeterNotFound, get_meter
from catalog.queries.revisions import find_catalog_org
from catalog.services.checks import FieldChecks

MAX_TIERS: Final = 100
_MAX_FLAT: Final = 2**63 - 1


class RuleExists(DomainError):
    code, title, status = "rule_exists", "This meter, plan and currency already have a rule", 409


@dataclass(frozen=True, slots=True)
class RuleTier:
    """
    A step: `price` per unit up to the inclusive cumulative bound `up_to`, and `flat` once when it is entered.

    Minor units. No bound (None or 0) is for the last tier only.
    """

    up_to: Decimal | None
    price: Decimal = Decimal(0)
    flat: int = 0


@transaction.atomic
def create_pricing_rule(
    *,
    org_id: str,
    meter: str,
    at: datetime,
    actor: Actor,
    plan_key: str = "",
    model: str = RuleModel.PER_UNIT,
    currency: str = "usd",
    unit_price: Decimal | None = None,
    tiers: Sequence[RuleTier] = (),
    reason: str = "",
) -> PricingRule:
    """
    Say from `at` on what a meter (public id or event name) costs for a plan, or for every plan, and return the rule.

    :raises ValidationFailed: with everything that is wrong.
    :raises NotFound: if the organization has no such meter or its catalog no such plan.
    :raises RuleExists: if this meter, plan and currency have an open rule.
    """
    checks = FieldChecks()
    code = checks.read_currency("currency", currency)
    stored = _check_price(model, unit_price, tiers, checks)
    checks.require_none()
    try:
        counted = get_meter(org_id=org_id, reference=meter)
    except MeterNotFound as missing:
        raise NotFound("meter", missing.detail) from missing
    key = plan_key.strip()
    if key and not Plan.objects.filter(org_id=find_catalog_org(org_id=org_id), key=key).exists():
        raise NotFound("plan", f"The catalog has no plan {key[:100]!r}.")
    acquire_lock("pricing_rules", org_id)
    if PricingRule.objects.filter(
        org_id=org_id, meter=counted, plan_key=key, currency=code, closed_at__isnull=True
    ).exists():
        whom = f"plan {key}" if key else "every plan"
        raise RuleExists(f"{counted.event_name} has a rule for {whom} in {code.upper()}; close it first.")
    rule = PricingRule.objects.create(
        org_id=org_id,
        meter=counted,
        plan_key=key,
        model=model,
        currency=code,
        unit_price=unit_price,
        tiers=stored,
        valid_from=at,
    )
    _emit("created", rule, at=at, actor=actor, reason=reason)
    return rule


@transaction.atomic
def close_pricing_rule(*, rule_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> PricingRule:
    """
    Let a rule end at `at` and return it; what was rated with it keeps its price.

    :raises NotFound: if there is no such rule, or it is closed already.
    """
    rule = (
        PricingRule.objects.select_for_update(of=("self",))
        .select_related("meter")
        .filter(pk=rule_id, closed_at__isnull=True)
        .first()
    )
    if rule is None:
        raise NotFound("pricing_rule")
    rule.closed_at = max(at, rule.valid_from)
    rule.save(update_fields=["closed_at", "updated_at"])
    _emit("closed", rule, at=at, actor=actor, reason=reason, previous={"closed_at": None})
    return rule


def _check_price(
    model: str, unit_price: Decimal | None, tiers: Sequence[RuleTier], checks: FieldChecks
) -> list[dict[str, Any]]:
    """Check that the price is what the model needs and nothing else; return the tiers as they are stored."""
    if model not in RuleModel.values:
        checks.add("/model", "invalid_choice", f"One of: {', '.join(RuleModel.values)}.")
        return []
    if model == RuleModel.PER_UNIT:
        if unit_price is None:
            checks.add("/unit_price", "required", "A price per unit is needed.")
        else:
            _check_amount("/unit_price", unit_price, checks)
        if tiers:
            checks.add("/tiers", "not_allowed", "A price per unit has no tiers.")
        return []
    if unit_price is not None:
        checks.add("/unit_price", "not_allowed", f"The model {model} is priced by its tiers.")
    if not tiers:
        checks.add("/tiers", "required", f"The model {model} needs tiers.")
    elif len(tiers) > MAX_TIERS:
        checks.add("/tiers", "too_many", f"At most {MAX_TIERS} tiers.")
    elif not _check_tiers(tiers, checks):
        return []
    return [
        {
            "up_to": to_text(tier.up_to) if tier.up_to else None,
            "price": to_text(tier.price),
            "flat": tier.flat,
        }
        for tier in tiers
    ]


def _check_tiers(tiers: Sequence[RuleTier], checks: FieldChecks) -> bool:
    """Report what is wrong with tiers; tell whether all their numbers can be kept."""
    bound, can_be_kept = Decimal(0), True
    for index, tier in enumerate(tiers):
        pointer = f"/tiers/{index}"
        can_be_kept &= _check_amount(f"{pointer}/price", tier.price, checks)
        if not 0 <= tier.flat <= _MAX_FLAT:
            checks.add(f"{pointer}/flat", "out_of_range", "A flat amount is zero or more whole minor units.")
        is_last = index == len(tiers) - 1
        if tier.up_to is not None and not checks.check_decimal(f"{pointer}/up_to", tier.up_to):
            can_be_kept = False
        elif not tier.up_to:
            if not is_last:
                checks.add(f"{pointer}/up_to", "unbounded_not_last", "Only the last tier has no bound.")
        elif tier.up_to <= bound:
            checks.add(f"{pointer}/up_to", "not_ascending", f"The bound must be above {to_text(bound)}.")
        else:
            bound = tier.up_to
            if is_last:
                checks.add(f"{pointer}/up_to", "bounded_last", "The last tier has no bound: leave up_to out.")
    return can_be_kept


def _check_amount(pointer: str, amount: Decimal, checks: FieldChecks) -> bool:
    can_be_kept = checks.check_decimal(pointer, amount)
    if can_be_kept and amount < 0:
        checks.add(pointer, "negative", "A price cannot be negative.")
    return can_be_kept


def _emit(
    what: str,
    rule: PricingRule,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: dict[str, Any] | None = None,
) -> None:
    data = {
        "org_id": rule.org_id,
        "meter_id": rule.meter.public_id,
        "event_name": rule.meter.event_name,
        "plan_id": rule.plan_key,
        "model": rule.model,
        "currency": rule.currency,
        "unit_price": None if rule.unit_price is None else to_text(rule.unit_price),
        "tiers": rule.tiers,
        "valid_from": rule.valid_from,
        "closed_at": rule.closed_at,
    }
    events.emit(
        f"pricing_rule.{what}",
        subject=rule,
        account_id=None,
        at=at,
        actor=actor,
        data=data,
        previous=previous,
        reason=reason,
    )
