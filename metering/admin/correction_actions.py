"""Void and amend a usage event in the admin: what changes is shown first, and exactly that is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.html import strip_tags
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import Call, ObjectForm
from billing_site.backoffice.display import format_money, format_quantity
from billing_site.backoffice.previews import Change, Prospect, previewed_action
from invoicing.queries.previews import preview_running
from invoicing.queries.usage_inspection import UsageInspection, inspect_usage
from metering.admin.inspection import build_inspection
from metering.models import UsageEvent
from metering.queries.inspecting import is_corrected
from metering.services.corrections import amend_usage_event, void_usage_event, why_not_correctable

PERMISSION = "metering.correct_usageevent"


class AmendForm(ObjectForm):
    """What counts instead, and under which key."""

    quantity = forms.DecimalField(
        max_digits=38, decimal_places=12, min_value=0, widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"})
    )
    idempotency_key = forms.CharField(
        required=False,
        max_length=255,
        label="Key of the new event",
        help_text="The key under which your application will send it, if it does; one is made without.",
        widget=UnfoldAdminTextInputWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.obj is not None:
            unit = self.obj.meter.unit
            self.fields["quantity"].help_text = f"In {unit}. The event says {format_quantity(self.obj.value)}."


def find_refusal(_user: Any, event: UsageEvent) -> str:
    """Return why an event cannot be corrected, as a sentence; empty when it can."""
    if refusal := why_not_correctable(event):
        return refusal
    return "It was corrected before. What counts in its place can be corrected." if is_corrected(event) else ""


class CorrectionActions:
    """The two actions of the page of an event."""

    @previewed_action(
        description="Void",
        permission=PERMISSION,
        effect="The event stays as it is; a further one takes it back, at the same time, with your reason.",
        refuses=find_refusal,
        confirm_label="Void it",
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def void_event(self, request: HttpRequest, event: UsageEvent, call: Call) -> Prospect:
        """Take the event back."""
        return _look(
            event,
            call,
            lambda: void_usage_event(event=event, at=call.at, actor=call.actor, reason=call.reason),
            message="The event is voided.",
        )

    @previewed_action(
        description="Amend",
        permission=PERMISSION,
        effect="The event is taken back, and another quantity counts in its place: same time, same everything else.",
        refuses=find_refusal,
        form=AmendForm,
        confirm_label="Amend it",
        icon="edit_note",
    )
    def amend_event(self, request: HttpRequest, event: UsageEvent, call: Call) -> Prospect:
        """Count another quantity in its place."""
        quantity = call.data["quantity"]
        return _look(
            event,
            call,
            lambda: amend_usage_event(
                event=event,
                quantity=quantity,
                idempotency_key=call.data.get("idempotency_key", "").strip(),
                at=call.at,
                actor=call.actor,
                reason=call.reason,
            ),
            message=f"{format_quantity(quantity)} {event.meter.unit} count in its place.",
        )


def _look(event: UsageEvent, call: Call, correct: Callable[[], Any], *, message: str) -> Prospect:
    """Do it, and return how things stood before and stand afterwards."""
    before = _read(event, inspect_usage(event, at=call.at), call)
    correct()
    found = inspect_usage(event, at=call.at)
    after = _read(event, found, call)
    shown = build_inspection(found)
    said = shown["voiding"] or shown["billing"]
    return Prospect(
        message=message,
        changes=[Change(name, value, new) for name, value in before.items() if (new := after.get(name, "")) != value],
        notes=[" ".join(strip_tags(said.text).split())],
    )


def _read(event: UsageEvent, found: UsageInspection, call: Call) -> dict[str, str]:
    """Return what a correction may change: the totals the event is in, quotas, and what is not billed yet."""
    unit = event.meter.unit
    read = {"The event": f"counts {format_quantity(event.value)} {unit}"}
    if (correction := found.facts.voided_by) is not None:
        instead = correction.replacement_value
        read["The event"] = (
            "counts nothing" if instead is None else f"{format_quantity(instead)} {unit} count in its place"
        )
    for bucket in found.facts.buckets:
        events = format_quantity(bucket.now.event_count)
        name = f"{bucket.span.capitalize()} of {bucket.period.start:%d %b %Y %H:%M} UTC"
        read[name] = f"{format_quantity(bucket.now.quantity)} {unit}, {events} event{'' if events == '1' else 's'}"
    for use in found.facts.quotas:
        limit = "unlimited" if use.quota.limit is None else f"of {format_quantity(use.quota.limit)}"
        read[f"Quota per {use.quota.window.replace('_', ' ')}"] = f"{format_quantity(use.used)} {limit}"
    costs: dict[str, int] = {}
    for line in preview_running(account=event.account, as_of=call.at):
        if line.meter is not None and line.meter.id == event.meter_id:
            costs[line.currency] = costs.get(line.currency, 0) + line.line.amount
    for currency, amount in costs.items():
        read[f"Not billed yet, {currency.upper()}"] = format_money(amount, currency)
    return read
