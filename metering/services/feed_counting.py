"""From an event of the usage feed to counted usage. Source: contract chapters Usage feed, Cost centers; ADR 0035."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from accounts.models import Account
from accounts.queries.access import find_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import FieldError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.models import Meter
from metering.models import FeedOutcome, UsageFeedEvent
from metering.queries.meters import load_meters
from metering.rating.export_rules import ExportRule, QuantityMissing, derive_key, match_rules, measure_event
from metering.services.ingest import NewUsageEvent, record_usage_events

DERIVED_WARNING: Final = (
    "There is no event_id: the key was derived, and equal quantities of an account and meter count once. Send event_id."
)
COLLISION_WARNING: Final = "An equal quantity of this account and meter was counted before; this one was not."
_MAX_CENTER: Final = 255
_MAX_DIMENSION: Final = 255


@dataclass(frozen=True, slots=True)
class Counted:
    """What billing made of an event: `code` and `detail` say why it could not be counted."""

    outcome: str
    code: str = ""
    detail: str = ""
    warnings: tuple[str, ...] = ()


def count_event(
    row: UsageFeedEvent, *, numbers: Mapping[str, Any], rules: Sequence[ExportRule], at: datetime, actor: Actor
) -> Counted:
    """
    Record the usage that `rules` find in an event, and return what came of it.

    `numbers` is the event's data with exact numbers. Usage that names no known cost center is kept without one.
    :raises ValidationFailed: when ingest refuses what the event says.
    """
    matching = match_rules(rules, row.event_type)
    if not matching:
        return Counted(FeedOutcome.NOT_BILLED)
    if row.account is None:
        if not row.account_reference:
            return _refuse("account_required", "It names no account.")
        return _refuse("account_unknown", "The account is not known here.")
    book = load_meters(org_ids=[row.account.org_id], references=[rule.meter_event_name for rule in matching])
    usage: list[NewUsageEvent] = []
    refusals: list[tuple[str, str]] = []
    warnings: list[str] = []
    for rule in matching:
        found = book.get(org_id=row.account.org_id, reference=rule.meter_event_name)
        if found is None:
            refusals.append(("meter_not_found", f"There is no meter {rule.meter_event_name!r}."))
            continue
        try:
            quantity = measure_event(rule, numbers)
        except QuantityMissing as missing:
            refusals.append(("quantity_not_derivable", str(missing)))
            continue
        if not row.usage_key:
            warnings.append(DERIVED_WARNING)
        usage.append(_make_usage(row, row.account, found.meter, rule, quantity))
    recorded = _record(usage, at=at, actor=actor)
    if not row.usage_key and not all(recorded):
        warnings.append(COLLISION_WARNING)
    if refusals:
        code, detail = refusals[0][0], " ".join(detail for _, detail in refusals)
        counted = _refuse(code, detail)
        return replace(counted, warnings=(*dict.fromkeys(warnings), *counted.warnings))
    outcome = FeedOutcome.COUNTED if any(recorded) else FeedOutcome.REPEATED
    return Counted(outcome, warnings=tuple(dict.fromkeys(warnings)))


@transaction.atomic
def count_again(
    *, feed_id: int, rules: Sequence[ExportRule], at: datetime, actor: Actor, reason: str
) -> UsageFeedEvent:
    """
    Count an event that could not be counted, after what was missing is there, and return it.

    Nothing counts twice: what was counted already is recognised by its key.
    :raises InvalidState: when it was counted, was collected (its data is gone), or still cannot be counted.
    """
    row = (
        UsageFeedEvent.objects.select_for_update(of=("self",))
        .select_related("account__test_clock")
        .filter(pk=feed_id)
        .first()
    )
    if row is None:
        raise NotFound("usage feed event")
    if not row.is_uncounted:
        raise InvalidState("This event was counted, or is not billed.", current_status=row.outcome)
    if row.collected_at is not None:
        raise InvalidState("This event was collected; its data is no longer here.", current_status=row.outcome)
    if row.account is None and row.account_reference:
        accounts = Account.objects.select_related("test_clock")
        row.account = find_account(
            accounts.filter(org_id=row.org_id) if row.org_id else accounts, row.account_reference
        )
    counted = count_event(row, numbers=_read_numbers(row), rules=rules, at=at, actor=actor)
    if counted.outcome == FeedOutcome.UNCOUNTED or row.account is None:
        raise InvalidState(counted.detail or "No rule bills it any more.", current_status=row.outcome)
    row.outcome, row.outcome_code, row.outcome_detail = counted.outcome, "", ""
    row.save(update_fields=["outcome", "outcome_code", "outcome_detail"])
    events.emit(
        "usage_feed.counted",
        subject=row.account,
        account_id=row.account.pk,
        at=at,
        actor=actor,
        data={"feed_event": row.pk, "event_id": row.event_id, "event_type": row.event_type, "outcome": row.outcome},
        reason=reason,
    )
    return row


def _refuse(code: str, detail: str) -> Counted:
    return Counted(FeedOutcome.UNCOUNTED, code, detail, (f"Kept, but not counted: {detail}",))


def _make_usage(row: UsageFeedEvent, account: Account, meter: Meter, rule: ExportRule, quantity: int) -> NewUsageEvent:
    data: Mapping[str, Any] = row.data
    center = data.get("cost_center")
    return NewUsageEvent(
        account=account,
        meter=meter.public_id,
        quantity=Decimal(quantity),
        timestamp=row.occurred_at,
        idempotency_key=row.usage_key
        or derive_key(account=account.public_id, meter=meter.event_name, quantity=quantity),
        dimensions=pick_dimensions(meter, data),
        metadata={"event_type": row.event_type, "feature": rule.feature},
        cost_center=center if isinstance(center, str) and len(center) <= _MAX_CENTER else "",
    )


def pick_dimensions(meter: Meter, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dimensions the meter declares that `data` has a plain value for."""
    chosen: dict[str, Any] = {}
    for name in meter.dimensions:
        value = data.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= _MAX_DIMENSION:
            chosen[name] = value
    return chosen


def _record(usage: Sequence[NewUsageEvent], *, at: datetime, actor: Actor) -> list[bool]:
    """Record usage and tell for each whether it was new. :raises ValidationFailed: named as the feed's fields are."""
    if not usage:
        return []
    try:
        found = record_usage_events(events=usage, at=at, actor=actor, unknown_centers="keep")
    except ValidationFailed as refusal:
        refusal.errors = tuple(
            FieldError("/occurred_at" if "timestamp" in each.pointer else "/data", each.code, each.detail)
            for each in refusal.errors
        )
        raise
    return [entry.created for entry in found]


def _read_numbers(row: UsageFeedEvent) -> Mapping[str, Any]:
    """Return the stored data with exact numbers."""
    text = UsageFeedEvent.objects.annotate(text=Cast("data", TextField())).values_list("text", flat=True).get(pk=row.pk)
    numbers: Mapping[str, Any] = json.loads(text, parse_float=Decimal)
    return numbers
