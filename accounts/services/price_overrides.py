"""
Negotiated prices: agreed with one account for one price, for a time, with a reason.

Source: ADR 0016.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.models import Account, PriceOverride
from accounts.services.account_locks import lock_account, lock_open_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.documents.findings import Collector
from catalog.documents.price_models import USAGE_TERMS
from catalog.documents.reading import ObjectReader
from catalog.documents.screening import screen_document
from catalog.documents.single import read_single_price
from catalog.models import FEE_MODELS, Price
from catalog.pricing.breakdown import to_text
from catalog.pricing.terms import PriceTerms
from catalog.queries.revisions import find_catalog_org
from catalog.services.documents import list_currencies

# What a negotiated price leaves as the plan has it.
_FIXED: Final = ("currency", "interval", "interval_count", "billing_timing", "meter", "lookup_key")


class PriceOverrideOverlaps(DomainError):
    code, title, status = "price_override_overlaps", "Another price is agreed for part of this time", 409


@transaction.atomic
def set_price_override(
    *,
    account: Account,
    lookup_key: str,
    price: Mapping[str, Any],
    effective_from: datetime,
    at: datetime,
    actor: Actor,
    reason: str,
    effective_until: datetime | None = None,
) -> PriceOverride:
    """
    Agree on another price for `lookup_key` with an account and return it.

    `price` is written as in a catalog document, without what the plan's price is for (currency, interval, meter). It
    holds for billing periods that start in `[effective_from, effective_until)`; what is billed already stays.
    :raises ValidationFailed: with every finding. :raises InvalidState: for a closed account.
    :raises PriceOverrideOverlaps: when another one holds in part of that time.
    """
    lock_open_account(account.pk)
    base = _get_base_price(account, lookup_key)
    terms = _read_terms(price, base, reason=reason)
    if effective_until is not None and effective_until <= effective_from:
        raise ValidationFailed.of("/effective_until", "before_start", "A price ends after it begins.")
    _require_free(account, lookup_key, effective_from, effective_until)
    row = PriceOverride.objects.create(
        account=account,
        lookup_key=lookup_key,
        model=terms.model,
        unit_amount=None if price.get("unit_amount") is None else terms.unit_amount,
        options=terms.options.as_dict(),
        effective_from=effective_from,
        effective_until=effective_until,
        reason=reason.strip(),
        created_by=str(actor),
    )
    events.emit(
        "price_override.created",
        subject=row,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=describe_override(row),
        reason=row.reason,
    )
    return row


@transaction.atomic
def end_price_override(
    *, override_id: UUID, effective_until: datetime, at: datetime, actor: Actor, reason: str
) -> PriceOverride:
    """
    Let a negotiated price hold only for periods that start before `effective_until`, and return it.

    A time before its beginning withdraws it altogether. Periods billed already keep what they were billed.
    :raises NotFound: if there is none. :raises InvalidState: if it ends earlier anyway.
    :raises ValidationFailed: without a reason.
    """
    if not reason.strip():
        raise ValidationFailed.of("/reason", "blank", "Say why the price ends.")
    found = PriceOverride.objects.filter(pk=override_id).values_list("account_id", flat=True).first()
    if found is None:
        raise NotFound("price_override")
    lock_account(found)
    row = PriceOverride.objects.select_for_update().get(pk=override_id)
    before = describe_override(row)
    until = max(effective_until, row.effective_from)
    if row.effective_until is not None and row.effective_until <= until:
        raise InvalidState(f"This price ends on {row.effective_until:%Y-%m-%d} already.", current_status="ended")
    row.effective_until, row.ended_by, row.end_reason = until, str(actor), reason.strip()
    row.save(update_fields=["effective_until", "ended_by", "end_reason", "updated_at"])
    events.emit(
        "price_override.ended",
        subject=row,
        account_id=row.account_id,
        at=at,
        actor=actor,
        data=describe_override(row),
        previous={"effective_until": before["effective_until"]},
        reason=row.end_reason,
    )
    return row


def describe_override(row: PriceOverride) -> dict[str, Any]:
    """Return what was agreed, as events and answers say it."""
    amount = {} if row.unit_amount is None else {"unit_amount": to_text(row.unit_amount)}
    return {
        "id": row.public_id,
        "lookup_key": row.lookup_key,
        "price": {"model": row.model, **amount, **row.options},
        "effective_from": row.effective_from,
        "effective_until": row.effective_until,
        "reason": row.reason,
    }


def _get_base_price(account: Account, lookup_key: str) -> Price:
    """Return the newest price of this key in the catalog the account buys from."""
    owner = find_catalog_org(org_id=account.org_id)
    prices = Price.objects.filter(lookup_key=lookup_key, plan_version__plan__org_id=owner).select_related("meter")
    price = prices.order_by("-plan_version__version", "-id").first()
    if price is None:
        raise ValidationFailed.of("/lookup_key", "not_found", f"No plan has a price {lookup_key[:100]!r}.")
    return price


def _read_terms(price: Mapping[str, Any], base: Price, *, reason: str) -> PriceTerms:
    findings = Collector()
    if not reason.strip():
        findings.add("/reason", "blank", "Say why this account pays another price.")
    given = dict(price)
    for finding in screen_document(given):
        findings.add(f"/price{finding.pointer}", finding.code, finding.detail)
    for key in _FIXED:
        if key in given:
            findings.add(f"/price/{key}", "fixed", "This is what the price is for; it stays as the plan has it.")
    whole = {**given, "interval": base.interval, "interval_count": base.interval_count}
    if base.meter is not None:
        whole["meter"] = base.meter.event_name
    else:
        # What says nothing of its model is read by its amount, and a fee written as text would pass for usage.
        whole.setdefault("model", "flat")
        for key in [key for key in USAGE_TERMS if key in given]:
            findings.add(f"/price/{key}", "key_not_in_model", "This belongs to prices of usage; the plan's is a fee.")
        if str(given.get("model", "flat")) not in FEE_MODELS:
            findings.add("/price/model", "model_unsupported", f"A fee is one of: {', '.join(FEE_MODELS)}.")
    terms = None
    if not len(findings):
        reader = ObjectReader(whole, "/price", findings)
        terms = read_single_price(reader, currency=base.currency, currencies=list_currencies())
    if terms is None or len(findings):
        raise ValidationFailed(
            "The price cannot be agreed as it is.",
            errors=[FieldError(each.pointer, each.code, each.detail) for each in findings.collect()],
        )
    return terms


def _require_free(
    account: Account, lookup_key: str, effective_from: datetime, effective_until: datetime | None
) -> None:
    rows = PriceOverride.objects.filter(account=account, lookup_key=lookup_key).filter(
        Q(effective_until__isnull=True) | Q(effective_until__gt=effective_from)
    )
    if effective_until is not None:
        rows = rows.filter(effective_from__lt=effective_until)
    if other := rows.first():
        until = f" until {other.effective_until:%Y-%m-%d}" if other.effective_until else ""
        raise PriceOverrideOverlaps(
            f"{other.public_id} holds from {other.effective_from:%Y-%m-%d}{until}; end it first.",
            price_override_id=other.public_id,
        )
