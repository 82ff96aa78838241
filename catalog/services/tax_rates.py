"""
Tax rates: add one for a place, end it, remove one that was never used.

Source: contract chapter Tax.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q

from billing_site.kernel.actors import Actor
from billing_site.kernel.countries import is_country
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.models import TaxRate
from catalog.pricing.terms import to_text
from catalog.queries.references import require_unused
from catalog.queries.tax_rates import normalise_place
from catalog.services.checks import FieldChecks


@transaction.atomic
def create_tax_rate(
    *,
    org_id: str,
    name: str,
    rate: Decimal,
    country: str,
    at: datetime,
    actor: Actor,
    code: str = "",
    state: str = "",
    inclusive: bool = False,
    combinable: bool = True,
    is_default: bool = False,
    valid_from: date | None = None,
    valid_to: date | None = None,
    reason: str = "",
) -> TaxRate:
    """
    Add a rate for a country, or for one state of it, and return it.

    `rate` is a fraction; `valid_from` and `valid_to` are its first and last day.
    :raises ValidationFailed: with every field that is wrong, also when the same rate exists for the same time: both
        would be charged.
    """
    checks = FieldChecks()
    place, region = normalise_place(country, state)
    added = TaxRate(
        org_id=org_id,
        name=checks.read_text("name", name, max_length=255, required=True),
        code=checks.read_text("code", code, max_length=50),
        rate=rate,
        country=place,
        state=checks.read_text("state", region, max_length=100),
        inclusive=inclusive,
        combinable=combinable,
        is_default=is_default,
        valid_from=valid_from,
        valid_to=valid_to,
    )
    if checks.check_decimal("/rate", rate) and not 0 <= rate <= 1:
        checks.add("/rate", "out_of_range", "A rate is a fraction from 0 to 1: 0.19 is 19 %.")
    if not is_country(place):
        checks.add("/country", "invalid", f"{country[:10]!r} is not an ISO 3166-1 alpha-2 country code.")
    if valid_from is not None and valid_to is not None and valid_from > valid_to:
        checks.add("/valid_to", "before_start", "The last day cannot be before the first.")
    checks.require_none()
    acquire_lock("tax_rates", org_id, place)
    if _find_twin(added) is not None:
        checks.add("/name", "exists", f"{added.jurisdiction} has a rate {added.name!r} for the same time already.")
    checks.require_none()
    added.save(force_insert=True)
    _emit("created", added, at=at, actor=actor, reason=reason)
    return added


@transaction.atomic
def end_tax_rate(*, rate_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> TaxRate:
    """
    End a rate from the day of `at` (UTC) on and return it. Documents of earlier days, and issued ones, keep it.

    :raises InvalidState: if it has ended already.
    :raises NotFound: if there is no such rate.
    """
    rate = _lock_rate(rate_id)
    if rate.ended_on is not None:
        raise InvalidState(f"It ended on {rate.ended_on}.", current_status="ended")
    rate.ended_on = at.astimezone(UTC).date()
    rate.save(update_fields=["ended_on", "updated_at"])
    _emit("ended", rate, at=at, actor=actor, reason=reason, previous={"ended_on": None})
    return rate


@transaction.atomic
def delete_tax_rate(*, rate_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a rate that no document ever used.

    :raises ObjectInUse: naming what uses it.
    :raises NotFound: if there is no such rate.
    """
    rate = _lock_rate(rate_id)
    require_unused(rate, instead="End it: later documents no longer have it, and issued ones keep it.")
    _emit("deleted", rate, at=at, actor=actor, reason=reason)
    rate.delete()


def _find_twin(rate: TaxRate) -> TaxRate | None:
    """Return a rate with the same name and place whose days overlap."""
    twins = TaxRate.objects.filter(
        org_id=rate.org_id,
        country=rate.country,
        state=rate.state,
        name__iexact=rate.name,
        code__iexact=rate.code,
        ended_on__isnull=True,
    )
    if rate.valid_from is not None:
        twins = twins.filter(Q(valid_to__isnull=True) | Q(valid_to__gte=rate.valid_from))
    if rate.valid_to is not None:
        twins = twins.filter(Q(valid_from__isnull=True) | Q(valid_from__lte=rate.valid_to))
    return twins.first()


def _lock_rate(rate_id: uuid.UUID) -> TaxRate:
    rate = TaxRate.objects.select_for_update().filter(pk=rate_id).first()
    if rate is None:
        raise NotFound("tax_rate")
    return rate


def _emit(
    what: str,
    rate: TaxRate,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: dict[str, Any] | None = None,
) -> None:
    names = ("org_id", "name", "code", "country", "state", "inclusive", "combinable", "is_default")
    dates = {name: getattr(rate, name) for name in ("valid_from", "valid_to", "ended_on")}
    events.emit(
        f"tax_rate.{what}",
        subject=rate,
        account_id=None,
        at=at,
        actor=actor,
        data={**{name: getattr(rate, name) for name in names}, "rate": to_text(rate.rate), **dates},
        previous=previous,
        reason=reason,
    )
