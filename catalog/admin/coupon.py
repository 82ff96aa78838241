"""Coupons: add, look at, deactivate."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import CouponRedemption
from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.admin import ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_money,
    format_quantity,
    instant,
    link_to,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major
from catalog.admin.once import OnceAdmin, OnceForm, warn_of_references
from catalog.models import Coupon, DiscountType, Plan
from catalog.services.coupons import create_coupon, deactivate_coupon, delete_coupon
from catalog.services.documents import list_currencies


class CouponForm(OnceForm):
    """A coupon in the words of people: percent, or an amount in major units."""

    code = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "LAUNCH2026"}),
        help_text="3 to 64 letters, digits or dashes; kept in upper case.",
    )
    description = forms.CharField(required=False, max_length=5000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    discount_type = forms.ChoiceField(choices=DiscountType.choices, widget=UnfoldAdminSelectWidget())
    discount_value = forms.CharField(
        label="Value",
        max_length=30,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A percentage such as 20, or an amount in major units such as 15.00.",
    )
    currency = forms.ChoiceField(
        required=False, choices=(), widget=UnfoldAdminSelectWidget(), help_text="None for a percentage."
    )
    duration_months = forms.IntegerField(
        required=False, widget=UnfoldAdminIntegerFieldWidget(), help_text="Invoices it is used on; empty: one."
    )
    max_redemptions = forms.IntegerField(
        required=False, widget=UnfoldAdminIntegerFieldWidget(), help_text="Empty: any number."
    )
    applicable_plan_ids = forms.MultipleChoiceField(
        label="Plans",
        required=False,
        choices=(),
        widget=UnfoldAdminSelect2MultipleWidget(),
        help_text="None: every one.",
    )

    class Meta:
        model = Coupon
        fields = ("org_id", "code", "discount_type", "starts_at", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        currencies = [(code, code.upper()) for code in sorted(list_currencies())]
        self.fields["currency"].choices = [("", "–"), *currencies]  # type: ignore[attr-defined]
        keys = Plan.objects.filter(is_active=True).order_by("key").values_list("key", flat=True).distinct()
        self.fields["applicable_plan_ids"].choices = [(key, key) for key in keys]  # type: ignore[attr-defined]


class RedemptionInline(ReadOnlyInline):
    """Who used it, and what became of it."""

    model = CouponRedemption
    verbose_name_plural = "Redemptions"
    fields = ("who", "what_for", "became", "when", "redeemed_by")
    readonly_fields = fields
    ordering = ("-id",)
    per_page = 25
    when = timestamp_display("redeemed_at", zone="", description="When")

    @admin.display(description="Account")
    def who(self, redemption: CouponRedemption) -> SafeString | str:
        return link_to(redemption.account)

    @admin.display(description="Subscription")
    def what_for(self, redemption: CouponRedemption) -> SafeString | str:
        if redemption.subscription is None:
            return f"invoice {redemption.document_id}"
        return link_to(redemption.subscription, str(redemption.subscription.plan_version))

    @admin.display(description="Became")
    def became(self, redemption: CouponRedemption) -> SafeString | str:
        if redemption.credit_grant is not None:
            return link_to(redemption.credit_grant, "credit")
        discount = redemption.discount
        if discount is None or discount.ended_at is not None:
            return "a discount that has ended"
        return f"a discount, {discount.months_left} of {discount.duration_months} invoices left"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CouponRedemption]:
        rows: QuerySet[CouponRedemption] = super().get_queryset(request)
        return rows.select_related("account", "subscription__plan_version", "discount", "credit_grant")


@admin.register(Coupon)
class CouponAdmin(OnceAdmin):
    """What a coupon promises never changes: make a new one and deactivate the old."""

    form = CouponForm
    nav_icon = "local_activity"
    nav_order = 62
    empty_title = "No coupon yet"
    empty_text = "A coupon is a code that takes something off: add one, then give it to customers."
    list_display = ("code", "value", "state", "used", "begins", "ends", "plans", "org_id")
    list_filter = ("discount_type", "is_active", "currency", "org_id")
    search_fields = ("code", "description")
    search_help_text = "Code or description"
    actions = ("deactivate",)
    actions_detail = ("deactivate", "remove")
    inlines = (RedemptionInline,)
    add_fieldsets = (
        (
            None,
            {
                "fields": (
                    ("code", "org_id"),
                    ("discount_type", "currency"),
                    ("discount_value", "duration_months"),
                    ("max_redemptions", "applicable_plan_ids"),
                    "starts_at",
                    "expires_at",
                    "description",
                )
            },
        ),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("code", "state"),
                    "description",
                    ("value", "duration"),
                    ("used", "plans"),
                    ("begins", "ends"),
                    ("org_id", "public_id"),
                    ("since", "stopped"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "state",
        "value",
        "duration",
        "used",
        "plans",
        "begins",
        "ends",
        "public_id",
        "since",
        "stopped",
        "timeline",
    )
    since = timestamp_display("created_at", zone="", description="Created")
    stopped = timestamp_display("deactivated_at", zone="", description="Deactivated")
    begins = timestamp_display("starts_at", zone="", description="Starts")
    timeline = timeline_display(zone="")

    def get_inlines(self, request: HttpRequest, obj: Coupon | None) -> list[Any]:
        """A coupon that is being made has no redemptions."""
        return list(self.inlines) if obj is not None else []

    def save_with_service(self, request: HttpRequest, form: ModelForm[Coupon], change: bool) -> Coupon:
        values = form.cleaned_data
        return create_coupon(
            org_id=values["org_id"],
            code=values["code"],
            description=values["description"],
            discount_type=values["discount_type"],
            discount_value=_read_value(values["discount_type"], values["discount_value"], values["currency"]),
            currency=values["currency"],
            duration_months=values["duration_months"],
            max_redemptions=values["max_redemptions"],
            starts_at=values["starts_at"],
            expires_at=values["expires_at"],
            applicable_plan_ids=values["applicable_plan_ids"],
            at=clock.now(),
            actor=staff_actor(request),
        )

    @admin.display(description="Value")
    def value(self, coupon: Coupon) -> str:
        if coupon.percent_off is not None:
            return f"{format_quantity(coupon.percent_off)} %"
        amount = format_money(coupon.amount_off or 0, coupon.currency)
        return f"{amount} credit" if coupon.discount_type == DiscountType.CREDIT else amount

    @admin.display(description="State", ordering="is_active")
    def state(self, coupon: Coupon) -> SafeString:
        return badge(*describe_state(coupon))

    @admin.display(description="Redeemed", ordering="redemption_count")
    def used(self, coupon: Coupon) -> str:
        count = format_quantity(coupon.redemption_count)
        return count if coupon.max_redemptions is None else f"{count} of {format_quantity(coupon.max_redemptions)}"

    @admin.display(description="Expires", ordering="expires_at")
    def ends(self, coupon: Coupon) -> SafeString | str:
        return instant(coupon.expires_at) if coupon.expires_at else "never"

    @admin.display(description="Plans")
    def plans(self, coupon: Coupon) -> str:
        return ", ".join(coupon.applicable_plan_ids) or "every plan"

    @admin.display(description="Duration")
    def duration(self, coupon: Coupon) -> str:
        if coupon.discount_type == DiscountType.CREDIT:
            return NOTHING
        months = coupon.duration_months
        return "the next invoice" if months is None else f"{months} month{'' if months == 1 else 's'}"

    @service_action(
        description="Deactivate",
        permission="catalog.deactivate_coupon",
        effect="Nobody can redeem it any more. What was redeemed runs on. This cannot be undone.",
        allowed=lambda coupon: coupon.is_active,
        icon="block",
        variant="danger",
    )
    def deactivate(self, request: HttpRequest, coupon: Coupon, call: Call) -> str:
        deactivate_coupon(coupon_id=coupon.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{coupon} is deactivated."

    @service_action(
        description="Remove",
        permission="catalog.delete_coupon",
        effect="It is removed as if it had never been made. Possible only while nobody has used it.",
        warnings=warn_of_references,
        icon="delete",
        variant="danger",
    )
    def remove(self, request: HttpRequest, coupon: Coupon, call: Call) -> HttpResponse:
        delete_coupon(coupon_id=coupon.pk, at=call.at, actor=call.actor, reason=call.reason)
        return self.leave(request, f"{coupon} was removed.")


def describe_state(coupon: Coupon) -> tuple[str, str]:
    """Return whether a coupon can be redeemed now, and the tone to say it in."""
    at = clock.now()
    if not coupon.is_active:
        return "deactivated", "neutral"
    if coupon.expires_at is not None and coupon.expires_at <= at:
        return "expired", "neutral"
    if coupon.max_redemptions is not None and coupon.redemption_count >= coupon.max_redemptions:
        return "used up", "warning"
    if coupon.starts_at is not None and coupon.starts_at > at:
        return "scheduled", "info"
    return "active", "good"


def _read_value(discount_type: str, text: str, currency: str) -> Decimal:
    """Return what the service takes: a percent, or minor units."""
    shown = text.strip().removesuffix("%").strip()
    try:
        if discount_type != DiscountType.PERCENTAGE and currency:
            return Decimal(parse_major(shown, currency))
        value = Decimal(shown)
    except (ValueError, InvalidOperation) as error:
        detail = f"{shown[:30]!r} is not a number this can hold."
        raise ValidationFailed.of("/discount_value", "invalid", detail) from error
    if not value.is_finite():
        raise ValidationFailed.of("/discount_value", "invalid", "This is not a number.")
    return value
