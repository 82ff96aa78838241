"""Discounts of a subscription: what there was, giving one, taking it away."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from accounts.admin.discount_values import describe_value
from accounts.admin.prospects import carry_out_on, name_subscription
from accounts.models import Subscription, SubscriptionDiscount, SubscriptionStatus
from accounts.queries.discounts import find_discount
from accounts.services.coupons import redeem_coupon
from accounts.services.discounts import give_discount, remove_discount
from billing_site.backoffice.actions import Call, ReasonForm
from billing_site.backoffice.admin import ReadOnlyInline
from billing_site.backoffice.display import NOTHING, link_to, timestamp_display
from billing_site.backoffice.previews import Prospect, previewed_action
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major


class DiscountInline(ReadOnlyInline):
    """The discount in force, and those that were."""

    model = SubscriptionDiscount
    verbose_name_plural = "Discounts"
    fields = ("label", "takes_off", "months", "limited_to", "coupon_link", "since", "until", "end_reason")
    readonly_fields = fields
    ordering = ("-id",)
    since = timestamp_display("started_at", zone="subscription.timezone", description="Since")
    until = timestamp_display("ended_at", zone="subscription.timezone", description="Until")

    @admin.display(description="Name")
    def label(self, discount: SubscriptionDiscount) -> str:
        return discount.name or NOTHING

    @admin.display(description="Takes off")
    def takes_off(self, discount: SubscriptionDiscount) -> str:
        return describe_value(discount)

    @admin.display(description="Invoices left")
    def months(self, discount: SubscriptionDiscount) -> str:
        if discount.duration_months is None:
            return "until removed"
        return f"{discount.months_left} of {discount.duration_months}"

    @admin.display(description="Only for")
    def limited_to(self, discount: SubscriptionDiscount) -> str:
        return ", ".join([*discount.meters, *discount.plans]) or "everything"

    @admin.display(description="Coupon")
    def coupon_link(self, discount: SubscriptionDiscount) -> SafeString | str:
        return link_to(discount.coupon)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionDiscount]:
        rows: QuerySet[SubscriptionDiscount] = super().get_queryset(request)
        return rows.select_related("coupon", "subscription")


class DiscountForm(ReasonForm):
    """Percent or amount, for some invoices."""

    value = forms.CharField(
        max_length=30,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A percentage such as 20 %, or an amount in major units such as 15.00.",
    )
    duration_months = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Invoices; empty: until it is removed.",
    )
    name = forms.CharField(
        required=False, max_length=255, widget=UnfoldAdminTextInputWidget(), help_text="Printed on the invoice."
    )


class CouponForm(ReasonForm):
    """A code that somebody has."""

    code = forms.CharField(max_length=64, widget=UnfoldAdminTextInputWidget())


def _is_running(subscription: Subscription) -> bool:
    return subscription.status != SubscriptionStatus.CANCELED


def _has_discount(subscription: Subscription) -> bool:
    return _is_running(subscription) and find_discount(subscription) is not None


class DiscountActions:
    """The actions of a subscription's page that change its discount."""

    @previewed_action(
        description="Give discount",
        permission="accounts.grant_discount",
        effect="The next invoices of the subscription get it taken off. A discount it has now ends.",
        allowed=_is_running,
        form=DiscountForm,
        confirm_label="Give the discount",
        describe=name_subscription,
        icon="sell",
    )
    def give_discount(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        value = _read_value(call.data["value"], subscription.currency)
        return carry_out_on(
            subscription,
            call,
            f"{subscription.account} has the discount.",
            lambda: give_discount(
                subscription_id=subscription.pk,
                **value,
                duration_months=call.data["duration_months"],
                name=call.data["name"],
                at=call.at,
                actor=call.actor,
                reason=call.reason,
            ),
        )

    @previewed_action(
        description="Remove discount",
        permission="accounts.grant_discount",
        effect="The next invoice is without it. Invoices that had it keep it.",
        allowed=_has_discount,
        confirm_label="Remove the discount",
        describe=name_subscription,
        icon="block",
        variant="danger",
    )
    def remove_discount(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            "The discount was removed.",
            lambda: remove_discount(subscription_id=subscription.pk, at=call.at, actor=call.actor, reason=call.reason),
        )

    @previewed_action(
        description="Redeem a coupon",
        permission="accounts.redeem_coupon",
        effect="The code becomes the discount of the subscription, in place of another one, or credit of the account.",
        allowed=_is_running,
        form=CouponForm,
        confirm_label="Redeem the coupon",
        describe=name_subscription,
        icon="confirmation_number",
    )
    def redeem_coupon(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            "The coupon was redeemed.",
            lambda: redeem_coupon(
                subscription_id=subscription.pk,
                code=call.data["code"].strip(),
                at=call.at,
                actor=call.actor,
                reason=call.reason,
            ),
        )


def _read_value(text: str, currency: str) -> dict[str, Any]:
    """Return what the service takes: `20 %` is a percentage, `15.00` an amount of the subscription's currency."""
    shown = text.strip()
    try:
        if shown.endswith("%"):
            return {"percent_off": Decimal(shown.removesuffix("%").strip())}
        return {"amount_off": parse_major(shown, currency)}
    except (ValueError, InvalidOperation) as error:
        raise ValidationFailed.of("/value", "invalid", f"{shown[:30]!r} is neither 20 % nor 15.00.") from error
