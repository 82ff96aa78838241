"""Webhooks that came in: what was told, what became of it, and handling it again."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    json_block,
    link_display,
    status_badge,
    timestamp_display,
)
from billing_site.platform.logs import redact
from invoicing.models import InboundEvent, ProviderInvoice
from invoicing.queries.inbound_events import compute_health
from invoicing.services.inbound_events import handle_again

_TONES = {"handled": "good", "stored": "neutral", "pending": "info", "parked": "bad"}
# Members of providers' objects that open something; shown to nobody.
_HIDDEN = frozenset(
    {"secret", "client_secret", "ephemeral_key", "number", "cvc", "account_number", "routing_number", "iban"}
)


def mask_body(value: Any) -> Any:
    """Return a body without secrets, card numbers and numbers of bank accounts."""
    if isinstance(value, dict):
        return {name: "[hidden]" if name in _HIDDEN and item else mask_body(item) for name, item in value.items()}
    if isinstance(value, list):
        return [mask_body(item) for item in value]
    return redact(value)


def _can_be_handled_again(event: InboundEvent) -> bool:
    return event.can_become("pending")


@admin.register(InboundEvent)
class InboundEventAdmin(BackOfficeAdmin):
    """The inbox of payment providers' events."""

    financial = True
    nav_title = "Webhooks in"
    nav_icon = "webhook"
    nav_order = 90
    empty_title = "No webhook yet"
    empty_text = "Events of payment providers come in here: give the provider the address from the documentation."
    list_display = ("type", "state", "about", "account_link", "provider", "occurred", "received", "attempts", "outcome")
    list_filter = ("status", "provider", "neutral_type")
    list_select_related = ("account",)
    list_before_template = "invoicing/inbox_health.html"
    search_fields = ("=event_id", "=object_id", "=account__external_id")
    search_help_text = "The provider's id of the event or of its object, or the account's external id"
    actions = ("handle_again",)
    actions_detail = ("handle_again",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("type", "neutral_type"),
                    ("state", "account_link"),
                    "outcome",
                    ("object_kind", "object_id"),
                    ("occurred", "received"),
                    ("handled", "next_attempt"),
                    ("attempts", "replays"),
                    "last_error",
                )
            },
        ),
        ("What came", {"fields": ("shown_body",)}),
        ("Technical", {"fields": (("provider", "event_id"), ("api_version", "livemode"), ("public_id", "purged"))}),
    )
    readonly_fields = (
        *("state", "account_link", "occurred", "received", "handled", "next_attempt", "shown_body", "public_id"),
        "purged",
    )
    state = status_badge(tones=_TONES, description="State")
    account_link = link_display("account", description="Account")
    occurred = timestamp_display("occurred_at", description="Happened")
    received = timestamp_display("received_at", description="Received", ordering="id")
    handled = timestamp_display("handled_at", description="Handled")
    next_attempt = timestamp_display("next_attempt_at", description="Next attempt")
    purged = timestamp_display("purged_at", description="Body forgotten")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundEvent]:
        rows: QuerySet[InboundEvent] = super().get_queryset(request)
        return rows if request.resolver_match and "object_id" in request.resolver_match.kwargs else rows.defer("body")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"health": compute_health(), **(extra_context or {})})

    @admin.display(description="About", ordering="object_id")
    def about(self, event: InboundEvent) -> str:
        return event.object_id or NOTHING

    @admin.display(description="Body")
    def shown_body(self, event: InboundEvent) -> SafeString | str:
        if event.purged_at is not None:
            return NOTHING
        try:
            body = json.loads(bytes(event.body))
        except ValueError:
            return NOTHING
        return json_block(mask_body(body))

    @service_action(
        description="Handle again",
        permission="invoicing.retry_webhook",
        effect="The object is read anew from the provider and followed. What was done already is not done twice.",
        allowed=_can_be_handled_again,
        icon="replay",
    )
    def handle_again(self, request: HttpRequest, event: InboundEvent, call: Call) -> str:
        handle_again(event_id=event.pk, at=call.at, actor=call.actor)
        return f"{event.type} is handled again."


@admin.register(ProviderInvoice)
class ProviderInvoiceAdmin(BackOfficeAdmin):
    """Copies of invoices that a provider issued by itself; to look at."""

    financial = True
    nav_title = "Provider invoices"
    nav_icon = "content_copy"
    nav_order = 95
    empty_title = "None"
    empty_text = "Subscriptions that a payment provider bills have their invoices there; copies are kept here."
    list_display = ("__str__", "account_link", "state", "total", "amount_paid", "currency", "finalized", "paid")
    list_filter = ("state", "provider_type")
    list_select_related = ("account",)
    search_fields = ("=ref", "=number")
    readonly_fields = ("account_link", "finalized", "paid")
    account_link = link_display("account", description="Account")
    finalized = timestamp_display("finalized_at", description="Issued")
    paid = timestamp_display("paid_at", description="Paid")
