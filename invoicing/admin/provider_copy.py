"""
dj-stripe's copy of what is at Stripe, to look at: no form, no action, no call to the provider, no secret.

The copy is as old as its last `manage.py djstripe_sync_models`, and nothing of ours reads it. The models are asked for
by name: only gateways and webhooks know the library. Its own pages, which edit rows and call Stripe, are not offered.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final
from urllib.parse import quote

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.display import NOTHING, badge, json_block, link_to_id, money, timestamp_display
from invoicing.admin.inbound_event import mask_body
from invoicing.gateways.stripe.money import from_provider

APP: Final = "djstripe"
# Whoever may see our payments may see the provider's copy of them.
_PERMISSION: Final = "invoicing.view_paymentintent"
_OURS: Final = (
    "billing_payment_intent_id",
    "billing_refund_id",
    "billing_payout_id",
    "billing_account_id",
)
_TONES: Final = {
    **dict.fromkeys(("succeeded", "paid", "won", "enabled"), "good"),
    **dict.fromkeys(("failed", "lost", "needs_response", "warning_needs_response"), "bad"),
    **dict.fromkeys(("processing", "pending", "in_transit", "requires_action", "requires_capture"), "info"),
}


def is_configured() -> bool:
    """Tell whether this site has a key of the provider whose objects are copied."""
    return bool(settings.STRIPE_LIVE_SECRET_KEY or settings.STRIPE_TEST_SECRET_KEY)


def link_copy(model: str, ref: Any) -> SafeString | str:
    """Return the provider's name of an object as a link to its copy in a list; plain where there is none. No query."""
    if not isinstance(ref, str) or not ref:
        return NOTHING
    url = reverse(f"admin:{APP}_{model}_changelist")
    return format_html('<a class="ch-link" href="{}?q={}">{}</a>', url, quote(ref), ref)


class ProviderCopyAdmin(BackOfficeAdmin):
    """One table of the copy. Everything shown comes from the row: the object as the provider told it."""

    financial = True
    nav_icon = "cloud"
    empty_title = "Nothing copied yet"
    empty_text = "manage.py djstripe_sync_models copies what is at Stripe. Countinghouse itself does not need the copy."
    actions = None
    list_filter = ("livemode",)
    ordering = ("-created", "-pk")
    search_fields: tuple[str, ...] = ("=id",)
    search_help_text = "Stripe's id"
    details: ClassVar[tuple[str, ...]] = ()

    created_there = timestamp_display("created", description="Made")
    copied = timestamp_display("djstripe_updated", description="Copied")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_configured() and bool(request.user.has_perm(_PERMISSION))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("id", *self.details, "ours", "livemode", "created_there", "copied", "told")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    @admin.display(description="State")
    def state(self, row: Any) -> SafeString | str:
        status = read(row, "status")
        return badge(str(status), _TONES.get(str(status), "neutral")) if status else NOTHING

    @admin.display(description="Amount")
    def shown_amount(self, row: Any) -> SafeString | str:
        amount, currency = read(row, "amount"), read(row, "currency")
        if type(amount) is not int or not isinstance(currency, str):
            return NOTHING
        try:
            found = from_provider(amount, currency)
        except ValueError:
            return NOTHING
        return money(found.amount, found.currency)

    @admin.display(description="Ours")
    def ours(self, row: Any) -> SafeString | str:
        metadata = read(row, "metadata")
        names = metadata if isinstance(metadata, dict) else {}
        found = next((names[name] for name in _OURS if isinstance(names.get(name), str) and names[name]), "")
        return link_to_id(found, found) if found else NOTHING

    @admin.display(description="Customer")
    def customer_ref(self, row: Any) -> SafeString | str:
        return link_copy("customer", read_ref(row, "customer"))

    @admin.display(description="Payment")
    def intent_ref(self, row: Any) -> SafeString | str:
        return link_copy("paymentintent", read_ref(row, "payment_intent"))

    @admin.display(description="Charge")
    def charge_ref(self, row: Any) -> SafeString | str:
        return link_copy("charge", read_ref(row, "charge"))

    @admin.display(description="Reason")
    def reason(self, row: Any) -> str:
        found = next(filter(None, (read(row, name) for name in ("failure_code", "failure_reason", "reason"))), "")
        return str(found).replace("_", " ") or NOTHING

    @admin.display(description="As Stripe tells it")
    def told(self, row: Any) -> SafeString | str:
        return json_block(mask_body(row.stripe_data))


def read(row: Any, name: str) -> Any:
    """Return a member of the object as the provider told it, or None."""
    return row.stripe_data.get(name) if isinstance(row.stripe_data, dict) else None


def read_ref(row: Any, name: str) -> str:
    """Return the provider's name of another object, which may have been told with all it holds."""
    found = read(row, name)
    found = found.get("id") if isinstance(found, dict) else found
    return found if isinstance(found, str) else ""


class CustomerCopyAdmin(ProviderCopyAdmin):
    """Customers at Stripe."""

    nav_title = "Stripe customers"
    nav_order = 10
    list_display = ("id", "name", "email", "ours", "created_there", "copied")
    search_fields = ("=id", "=email")
    search_help_text = "Stripe's id, or the e-mail address"
    details = ("name", "email")

    @admin.display(description="Name")
    def name(self, row: Any) -> str:
        return str(read(row, "name") or NOTHING)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("subscriber")  # its title asks for whom it is


class PaymentIntentCopyAdmin(ProviderCopyAdmin):
    """Payments at Stripe."""

    nav_title = "Stripe payments"
    nav_order = 20
    details = ("shown_amount", "state", "customer_ref")
    list_display = ("id", *details, "ours", "created_there", "copied")


class ChargeCopyAdmin(ProviderCopyAdmin):
    """Charges at Stripe: the attempts of a payment."""

    nav_title = "Stripe charges"
    nav_order = 30
    details = ("shown_amount", "state", "reason", "customer_ref", "intent_ref")
    list_display = ("id", *details, "created_there", "copied")


class RefundCopyAdmin(ProviderCopyAdmin):
    """Refunds at Stripe."""

    nav_title = "Stripe refunds"
    nav_order = 40
    details = ("shown_amount", "state", "reason", "charge_ref", "intent_ref")
    list_display = ("id", *details, "ours", "created_there", "copied")


class DisputeCopyAdmin(ProviderCopyAdmin):
    """Disputes at Stripe."""

    nav_title = "Stripe disputes"
    nav_order = 50
    details = ("shown_amount", "state", "reason", "charge_ref", "intent_ref")
    list_display = ("id", *details, "created_there", "copied")


class PayoutCopyAdmin(ProviderCopyAdmin):
    """Payouts at Stripe."""

    nav_title = "Stripe payouts"
    nav_order = 60
    details = ("shown_amount", "state", "reason")
    list_display = ("id", *details, "ours", "created_there", "copied")


class WebhookEndpointCopyAdmin(ProviderCopyAdmin):
    """The addresses that Stripe tells; their secrets are not shown."""

    nav_title = "Stripe webhook endpoints"
    nav_icon = "webhook"
    nav_order = 70
    details = ("url", "state", "api_version", "events")
    list_display = ("id", "url", "state", "api_version", "created_there", "copied")

    @admin.display(description="State")
    def state(self, row: Any) -> SafeString | str:
        return badge(row.status, _TONES.get(row.status, "neutral")) if row.status else NOTHING

    @admin.display(description="Events")
    def events(self, row: Any) -> str:
        return ", ".join(map(str, row.enabled_events or ())) or NOTHING


PAGES: Final[dict[str, type[ProviderCopyAdmin]]] = {
    "Customer": CustomerCopyAdmin,
    "PaymentIntent": PaymentIntentCopyAdmin,
    "Charge": ChargeCopyAdmin,
    "Refund": RefundCopyAdmin,
    "Dispute": DisputeCopyAdmin,
    "Payout": PayoutCopyAdmin,
    "WebhookEndpoint": WebhookEndpointCopyAdmin,
}


def register_pages() -> None:
    """Show the copies where the library is installed; called when the admin is loaded."""
    if not apps.is_installed(APP):
        return
    for name, page in PAGES.items():
        model: type[Model] = apps.get_model(APP, name)
        admin.site.register(model, page)
