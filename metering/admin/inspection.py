"""The event inspector: what stands above a usage event's page, as rows ready to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing_site.backoffice.approvals import show_actor
from billing_site.backoffice.display import (
    format_money,
    format_period,
    format_quantity,
    instant,
    link_to,
    link_to_id,
)
from billing_site.backoffice.panels import Tone
from billing_site.kernel.ids import encode_id
from invoicing.queries.usage_inspection import EventBilling, UsageInspection
from metering.admin.quota_gauges import build_gauges
from metering.models import UsageCorrection, UsageEvent
from metering.queries.inspecting import EventBucket, EventFacts


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the page says first: a badge, its tone, and a sentence."""

    badge: str
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """One correction in words, with links to its rows."""

    title: str
    links: Sequence[tuple[str, SafeString | str]]
    reason: str
    who: str
    when: SafeString | str


@dataclass(frozen=True, slots=True)
class _Said:
    """What is said of one state of billing: the badge, its tone, and the sentence with places for names."""

    badge: str
    tone: Tone
    text: str


_LATE: Final = "It counts in usage and quotas; no invoice bills it by itself. “verify_invoice --usage” lists it."
_SAID: Final[dict[str, _Said]] = {
    "charged": _Said("Charged", "good", "Taken from the prepaid balance when it happened. No invoice bills it."),
    "invoiced": _Said("Invoiced", "good", "On {invoice}, line {position}: {line}."),
    "drafted": _Said("On a draft", "info", "On {invoice}, line {position}, which is not issued yet: {line}."),
    "after_invoice": _Said("After the invoice", "warning", "Recorded after {invoice} was made. " + _LATE),
    "late": _Said(
        "Late usage",
        "info",
        "Recorded after {invoice} was made. The next invoice of {subscription}, due {due}, bills it at the prices of "
        "its time.",
    ),
    "next_invoice": _Said("Next invoice", "info", "Will be on the next invoice of {subscription}, due {due}."),
    "later_invoice": _Said("Later invoice", "info", "Will be on an invoice of {subscription} after the next one."),
    "trial": _Said("Not billed", "neutral", "It happened in the trial of {subscription}, which bills no usage."),
    "billed_elsewhere": _Said("Billed elsewhere", "neutral", "{subscription} is not invoiced here."),
    "not_priced": _Said("Not billed", "neutral", "No running subscription has a price for this meter."),
    "no_subscription": _Said("Not billed", "neutral", "The account has no running subscription."),
    "closed": _Said(
        "On no invoice",
        "warning",
        "The time it happened in was billed without this meter: it came later, or nothing priced it then. " + _LATE,
    ),
}
# What was taken back before its invoice counts nothing on it.
_WITHOUT_IT: Final[dict[str, _Said]] = {
    "invoiced": _Said("Counts nothing", "neutral", "Taken back before {invoice} was made, which holds its time."),
    "drafted": _Said("Counts nothing", "neutral", "Taken back before {invoice} was made, which holds its time."),
    "next_invoice": _Said(
        "Counts nothing", "neutral", "The next invoice of {subscription}, due {due}, will be made without it."
    ),
    "later_invoice": _Said("Counts nothing", "neutral", "It will be on no invoice of {subscription}."),
}
_TAKEN_BACK_LATE: Final = (
    "{invoice} was made before it was taken back, stays as it is, and bills it. Nothing is credited by itself: where "
    "money is owed, credit it by hand."
)
_GIVEN_BACK: Final = "It was taken back after its invoice was made; {invoice}, line {position}, settles that: {line}."
_GIVEN_BACK_NEXT: Final = (
    "{invoice} was made before it was taken back and bills it. The next invoice of {subscription}, due {due}, rates "
    "the rest again and settles the difference."
)


def build_inspection(found: UsageInspection) -> dict[str, Any]:
    """Return what the template shows of an inspection."""
    facts, event = found.facts, found.event
    zone = event.account.timezone
    return {
        "verdict": _judge(facts),
        "quantity": format_quantity(event.value),
        "unit": event.meter.unit,
        "happened": instant(event.timestamp, zone),
        "recorded": instant(event.recorded_at, zone),
        "late": event.recorded_at - event.timestamp,
        "billing": _say(found, zone),
        "voiding": _say_voiding(found, zone),
        "buckets": [_show_bucket(bucket, event) for bucket in facts.buckets],
        "quotas": build_gauges(facts.quotas, meters=[event.meter], zone=zone),
        "corrections": [_show_correction(each, event) for each in (facts.made_by, facts.voided_by) if each is not None],
        "refusals": [
            (link_to(each, each.code.replace("_", " ")), each.detail, instant(each.rejected_at, zone), each.caller)
            for each in facts.refusals
        ],
    }


def _say(found: UsageInspection, zone: str) -> Verdict:
    """Return how an event is billed, as a badge and a sentence with links."""
    billing = found.billing
    said = _SAID["late" if billing.state == "after_invoice" and billing.due_at is not None else billing.state]
    if found.voiding is not None and (found.voiding.state, found.voiding.line) == (billing.state, billing.line):
        said = _WITHOUT_IT.get(billing.state, said)
    return Verdict(said.badge, said.tone, format_html(said.text, **_name_parts(billing, zone)))


def _say_voiding(found: UsageInspection, zone: str) -> Verdict | None:
    """Return what is special about how the taking back is billed; nothing while both go the same way."""
    voiding = found.voiding
    if voiding is None or (voiding.state, voiding.line) == (found.billing.state, found.billing.line):
        return None
    if voiding.state == "invoiced":
        return Verdict("Given back", "good", format_html(_GIVEN_BACK, **_name_parts(voiding, zone)))
    if voiding.due_at is not None:
        return Verdict("Taken back later", "info", format_html(_GIVEN_BACK_NEXT, **_name_parts(voiding, zone)))
    return Verdict("Taken back later", "warning", format_html(_TAKEN_BACK_LATE, **_name_parts(voiding, zone)))


def _name_parts(billing: EventBilling, zone: str) -> dict[str, Any]:
    line, subscription = billing.line, billing.subscription
    parts: dict[str, Any] = {
        "subscription": link_to(subscription, str(subscription.plan_version)) if subscription is not None else "",
        "due": instant(billing.due_at, zone) if billing.due_at is not None else "when it goes on",
    }
    if line is not None:
        amount = format_money(line.amount, line.currency)
        parts |= {
            "invoice": link_to(line.invoice),
            "position": line.position,
            "line": f"{line.description}, {format_quantity(line.quantity)} for {amount}",
        }
    return parts


def _judge(facts: EventFacts) -> Verdict:
    event = facts.event
    if facts.is_voiding:
        return Verdict("Takes back", "neutral", "This row takes another event back. It is no usage of its own.")
    if facts.voided_by is not None:
        if facts.voided_by.replacement_id is not None:
            return Verdict("Amended", "warning", "It counts nothing any more: another quantity counts in its place.")
        return Verdict("Voided", "warning", "It counts nothing any more.")
    if event.charged:
        return Verdict("Counts", "good", "It counts in usage and quotas, and is never invoiced.")
    text = "It counts once, in every total below."
    if facts.made_by is not None:
        text = "It counts in place of an event that was amended."
    return Verdict("Counts", "good", text)


def _show_bucket(bucket: EventBucket, event: UsageEvent) -> tuple[str, SafeString | str, str, str]:
    start, end = bucket.period.start.astimezone(UTC), bucket.period.end.astimezone(UTC)
    shown = f"{start:%Y-%m-%d %H:%M} – {end:%H:%M} UTC"
    if bucket.span == "day":
        shown = format_html("{} UTC", format_period(start, end, "UTC"))
    quantity = f"{format_quantity(bucket.now.quantity)} {event.meter.unit}"
    return bucket.span.capitalize(), shown, quantity, format_quantity(bucket.now.event_count)


def _show_correction(correction: UsageCorrection, event: UsageEvent) -> CorrectionRow:
    unit = event.meter.unit
    title = f"{format_quantity(correction.value)} {unit} taken back"
    if correction.replacement_value is not None:
        title = f"{format_quantity(correction.value)} {unit} → {format_quantity(correction.replacement_value)} {unit}"
    rows = (
        ("the event", correction.event_id),
        ("what takes it back", correction.void_id),
        ("what counts instead", correction.replacement_id),
    )
    links = [
        (text, link_to_id(encode_id(UsageEvent.id_prefix, key), text))
        for text, key in rows
        if key is not None and key != event.pk
    ]
    return CorrectionRow(
        title=title,
        links=links,
        reason=correction.reason,
        who=show_actor(correction.actor),
        when=instant(correction.corrected_at, event.account.timezone),
    )
