"""Payments as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MetadataField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from invoicing.models import CaptureMethod, IntentStatus, PaymentIntent

_ACCOUNT_HELP = "Id or external id; default: the caller's own."

_USAGES = ("off_session", "on_session")


class PaymentIntentInput(StrictSerializer):
    """A payment to begin."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=_ACCOUNT_HELP)
    amount = MoneyField(positive=True, help_text="Minor units, above zero.")
    currency = CurrencyField(required=False, default="usd")
    payment_method_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    capture_method = serializers.ChoiceField(
        choices=CaptureMethod.choices, required=False, default=CaptureMethod.AUTOMATIC
    )
    confirmation_method = serializers.ChoiceField(
        choices=CaptureMethod.choices, required=False, default=CaptureMethod.AUTOMATIC
    )
    setup_future_usage = serializers.ChoiceField(choices=_USAGES, required=False, allow_null=True)
    description = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")
    receipt_email = serializers.EmailField(required=False, allow_null=True)
    invoice_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    invoice_ids = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        max_length=100,
        help_text="Several invoices that one payment pays, the oldest first.",
    )
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse one invoice and several."""
        if attrs.get("invoice_id") and attrs.get("invoice_ids"):
            raise serializers.ValidationError({"invoice_ids": ["Name one invoice, or several."]}, "ambiguous")
        return attrs


class PaymentIntentQuery(serializers.Serializer[dict[str, Any]]):
    """Filters of the list of payments."""

    status = serializers.ChoiceField(choices=IntentStatus.choices, required=False)
    invoice_id = serializers.CharField(required=False, max_length=100)


class ConfirmInput(StrictSerializer):
    """What to charge."""

    payment_method_id = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="Default: the one that is stored."
    )


class CaptureInput(StrictSerializer):
    """How much to take."""

    amount_to_capture = MoneyField(required=False, allow_null=True, help_text="Default: all that is capturable.")


class CancelPaymentInput(StrictSerializer):
    """Why it is given up."""

    cancellation_reason = serializers.CharField(required=False, allow_blank=True, max_length=255, default="")


class PaymentIntentSerializer(serializers.Serializer[PaymentIntent]):
    """A payment."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    amount = MoneyField()
    currency = serializers.CharField()
    status = serializers.ChoiceField(choices=IntentStatus.choices)
    capture_method = serializers.ChoiceField(choices=CaptureMethod.choices)
    confirmation_method = serializers.ChoiceField(choices=CaptureMethod.choices)
    amount_capturable = MoneyField()
    amount_received = MoneyField()
    amount_refunded = MoneyField()
    payment_method_id = serializers.SerializerMethodField()
    invoice_id = serializers.SerializerMethodField(help_text="Null when it pays none, or several.")
    invoice_ids = serializers.SerializerMethodField()
    setup_future_usage = serializers.CharField(allow_blank=True)
    description = serializers.CharField()
    receipt_email = serializers.CharField(allow_blank=True)
    client_secret = serializers.CharField(
        allow_blank=True, help_text="To finish it in the browser; for the owner of the account and internal callers."
    )
    provider_ref = serializers.CharField(required=False, help_text="Internal callers only.")
    last_error = serializers.CharField(allow_blank=True)
    cancellation_reason = serializers.CharField(allow_blank=True)
    canceled_at = TimestampField(allow_null=True)
    metadata = MetadataField()
    created_at = TimestampField()

    def get_payment_method_id(self, intent: PaymentIntent) -> str | None:
        return None if intent.payment_method is None else intent.payment_method.public_id

    def get_invoice_id(self, intent: PaymentIntent) -> str | None:
        invoices = self.get_invoice_ids(intent)
        return invoices[0] if len(invoices) == 1 else None

    def get_invoice_ids(self, intent: PaymentIntent) -> list[str]:
        return [each.invoice.public_id for each in intent.allocations.all()]

    def to_representation(self, instance: PaymentIntent) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if not self.context.get("is_internal"):
            del shown["provider_ref"]
        return shown


class _TopUpBase(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=_ACCOUNT_HELP)
    amount_cents = MoneyField(positive=True, help_text="Minor units, above zero.")
    currency = CurrencyField(required=False, default="usd")


class TopUpInput(_TopUpBase):
    """A top-up from a stored method."""

    payment_method_id = serializers.CharField(max_length=100)


class TopUpTokenInput(_TopUpBase):
    """A top-up from a token that is used once and not stored."""

    source_id = serializers.CharField(max_length=255, help_text="One-time token of the provider, never card data.")


class TopUpSerializer(serializers.Serializer[dict[str, Any]]):
    """What came of a top-up."""

    transaction_id = serializers.CharField(allow_null=True, help_text="Null while pending.")
    balance_cents = MoneyField(help_text="The prepaid balance now, minor units.")
    status = serializers.ChoiceField(choices=("ok", "pending", "requires_action"))
    client_secret = serializers.CharField(allow_null=True, help_text="Only for requires_action.")
