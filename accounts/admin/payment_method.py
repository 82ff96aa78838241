"""Payment methods: to look at, make the default, and detach. Display data only; attaching is the customer's own."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldBooleanSwitchWidget

from accounts.models import PaymentMethod, PaymentMethodStatus
from accounts.queries.payment_methods import has_paid_subscription
from accounts.services.bank_account_checks import can_be_confirmed, request_confirmation
from accounts.services.payment_methods import set_default_payment_method
from accounts.terms.card_expiry import judge_expiry
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    json_display,
    link_display,
    link_to,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.kernel.periods import local_date
from invoicing.gateways.declines import describe_decline
from invoicing.services.payment_methods import detach_payment_method

_TONES = {"attached": "good", "refused": "bad"}
_CHANGE = "accounts.change_paymentmethod"


def show_expiry(method: PaymentMethod) -> str:
    """Return the month a card ends with, as it stands on it: `12/2034`."""
    month, year = method.card.get("exp_month"), method.card.get("exp_year")
    return f"{month:02d}/{year}" if isinstance(month, int) and isinstance(year, int) else NOTHING


def expiry_badge(method: PaymentMethod) -> SafeString | str:
    """Return the month a card ends with, and a badge where that is soon or over, by the account's clock and zone."""
    text = show_expiry(method)
    today = local_date(clock.now(method.account), method.account.zone)
    standing = judge_expiry(
        method.expires_on if method.is_attached else None,
        today=today,
        notice_days=settings.BILLING_CARD_EXPIRY_NOTICE_DAYS,
    )
    if not standing:
        return text
    mark = badge("expired", "bad") if standing == "expired" else badge("expires soon", "warning")
    return format_html("{} {}", text, mark)


def default_badge(method: PaymentMethod) -> SafeString | str:
    """Return a badge for the account's default."""
    return badge("default", "info") if method.is_default else NOTHING


class DetachForm(ReasonForm):
    force = forms.BooleanField(
        required=False,
        label="Also when it is the only one",
        help_text="Of an account that pays: nothing can be collected from it until another one is attached.",
        widget=UnfoldBooleanSwitchWidget(),
    )


class PaymentMethodInline(ReadOnlyInline):
    """What an account pays with, and what it paid with before."""

    model = PaymentMethod
    verbose_name_plural = "Payment methods"
    fields = ("method", "type", "standing", "state", "expiry", "verified", "since")
    readonly_fields = fields
    ordering = ("-is_default", "-id")
    per_page = 20
    state = status_badge(tones=_TONES)
    verified = timestamp_display("verified_at", zone="account.timezone", description="Verified")
    since = timestamp_display("attached_at", zone="account.timezone", description="Attached")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentMethod]:
        rows: QuerySet[PaymentMethod] = super().get_queryset(request)
        return rows.select_related("account__test_clock")

    @admin.display(description="Method")
    def method(self, method: PaymentMethod) -> SafeString | str:
        return link_to(method)

    @admin.display(description="Default")
    def standing(self, method: PaymentMethod) -> SafeString | str:
        return default_badge(method)

    @admin.display(description="Expires", ordering="expires_on")
    def expiry(self, method: PaymentMethod) -> SafeString | str:
        return expiry_badge(method)


@admin.register(PaymentMethod)
class PaymentMethodAdmin(BackOfficeAdmin):
    """What accounts pay with."""

    financial = True
    nav_icon = "credit_card"
    nav_order = 32
    empty_title = "No payment method yet"
    empty_text = "A customer attaches a card through your application, which sends the provider's token to the API."
    list_display = ("name", "account_link", "type", "state", "standing", "expiry", "provider_type", "since")
    list_filter = ("status", "type", "is_default", "provider_type")
    list_select_related = ("account__test_clock",)
    search_fields = ("account__name", "account__external_id__iexact", "account__email__iexact", "=provider_ref")
    search_help_text = "The account's name, external id or e-mail, the provider's reference, or an id such as pm_…"
    actions_detail = ("make_default", "confirm", "detach")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("account_link", "standing"),
                    ("type", "expiry"),
                    ("since", "verified"),
                    ("ended", "decline"),
                    ("provider_type", "provider_ref"),
                    ("public_id", "released"),
                )
            },
        ),
        ("Display data", {"fields": (("shown_card", "shown_bank_account"), "shown_address", "shown_metadata")}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("name", "state", "account_link", "standing", "type", "expiry", "since", "verified", "ended", "decline"),
        *("provider_type", "provider_ref", "public_id", "released"),
        *("shown_card", "shown_bank_account", "shown_address", "shown_metadata", "timeline"),
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    state = status_badge(tones=_TONES)
    since = timestamp_display("attached_at", zone="account.timezone", description="Attached")
    verified = timestamp_display("verified_at", zone="account.timezone", description="Verified")
    ended = timestamp_display("detached_at", zone="account.timezone", description="Detached")
    released = timestamp_display("released_at", zone="account.timezone", description="Forgotten by the provider")
    shown_card = json_display("card", description="Card")
    shown_bank_account = json_display("bank_account", description="Bank account")
    shown_address = json_display("billing_address", description="Billing address")
    shown_metadata = json_display("metadata", description="Metadata")
    timeline = timeline_display()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentMethod], search_term: str
    ) -> tuple[QuerySet[PaymentMethod], bool]:
        key = PaymentMethod.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @admin.display(description="Default", ordering="is_default")
    def standing(self, method: PaymentMethod) -> SafeString | str:
        return default_badge(method)

    @admin.display(description="Expires", ordering="expires_on")
    def expiry(self, method: PaymentMethod) -> SafeString | str:
        return expiry_badge(method)

    @admin.display(description="Refused because")
    def decline(self, method: PaymentMethod) -> str:
        return describe_decline(method.decline_reason) if method.decline_reason else NOTHING

    @service_action(
        description="Confirm the bank account",
        permission="accounts.confirm_bank_account",
        effect="Money can be paid out to it once another person has approved this. Say in the reason what you looked "
        "at: a letter of the bank, a test payment.",
        allowed=can_be_confirmed,
        icon="verified",
    )
    def confirm(self, request: HttpRequest, method: PaymentMethod, call: Call) -> str:
        request_confirmation(method=method, at=call.at, actor=call.actor, reason=call.reason)
        return f"{method} waits: another person must approve that it is confirmed."

    @service_action(
        description="Make default",
        permission=_CHANGE,
        effect="Renewals are paid with it from now on; what is being collected keeps its method.",
        allowed=lambda method: method.is_attached and not method.is_default,
        icon="star",
    )
    def make_default(self, request: HttpRequest, method: PaymentMethod, call: Call) -> str:
        set_default_payment_method(method_id=method.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{method} is the default of {method.account} now."

    @service_action(
        description="Detach",
        permission=_CHANGE,
        effect="It is never charged again, here and at the payment provider. If it is the default, the newest that is "
        "left becomes it.",
        warnings=lambda methods: [
            f"{method.account} pays for a subscription and has no other method."
            for method in methods
            if _is_last(method)
        ],
        allowed=lambda method: method.is_attached,
        form=DetachForm,
        icon="link_off",
        variant=ActionVariant.DANGER,
    )
    def detach(self, request: HttpRequest, method: PaymentMethod, call: Call) -> str:
        detach_payment_method(
            method_id=method.pk, at=call.at, actor=call.actor, force=call.data["force"], reason=call.reason
        )
        return f"{method} of {method.account} is detached."


def _is_last(method: Any) -> bool:
    others = PaymentMethod.objects.filter(account_id=method.account_id, status=PaymentMethodStatus.ATTACHED)
    return not others.exclude(pk=method.pk).exists() and has_paid_subscription(method.account_id)
