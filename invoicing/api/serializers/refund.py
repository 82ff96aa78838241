"""Refunds as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, MetadataField, MoneyField, TimestampField
from billing_site.kernel.ids import encode_id
from billing_site.platform.models import Approval
from invoicing.api.serializers.credit_note import CreditLineInput
from invoicing.models import CreditNote, Invoice, PaymentIntent, Refund, RefundDestination, RefundReason, RefundStatus


class PaymentRefundInput(StrictSerializer):
    """What to give back: of a payment or of an invoice, which then gets a credit note."""

    payment_intent_id = serializers.CharField(required=False, max_length=100)
    invoice_id = serializers.CharField(required=False, max_length=100, help_text="Id or printed number.")
    amount = MoneyField(required=False, default=0, help_text="With tax; 0: everything that is not given back yet.")
    reason = serializers.ChoiceField(choices=RefundReason.choices, required=False, allow_null=True)
    line_items = CreditLineInput(many=True, required=False, help_text="What of an invoice, before tax.")
    memo = serializers.CharField(
        required=False, allow_blank=True, max_length=1000, default="", help_text="Printed on the credit note."
    )
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse neither reference, and both."""
        given = [name for name in ("payment_intent_id", "invoice_id") if attrs.get(name)]
        if len(given) != 1:
            code = "ambiguous" if given else "required"
            raise serializers.ValidationError(
                {"payment_intent_id": ["Name a payment or an invoice, one of them."]}, code
            )
        return attrs


class RefundQuery(serializers.Serializer[dict[str, Any]]):
    """Filters of the list of refunds."""

    payment_intent_id = serializers.CharField(required=False, max_length=100)
    invoice_id = serializers.CharField(required=False, max_length=100)


class RefundSerializer(serializers.Serializer[Refund]):
    """One refund. Those of one request have the same `group`. Amounts are minor units of `currency`."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    amount = MoneyField()
    currency = CurrencyField()
    status = serializers.ChoiceField(choices=RefundStatus.choices)
    reason = serializers.SerializerMethodField()
    payment_intent_id = serializers.SerializerMethodField()
    invoice_id = serializers.SerializerMethodField()
    credit_note_id = serializers.SerializerMethodField(help_text="Empty while a second person has to approve it.")
    approval_id = serializers.SerializerMethodField(help_text="The request to a second person, if there was one.")
    awaits_approval = serializers.BooleanField(source="waits")
    group = serializers.SerializerMethodField(help_text="The id of the first refund of the same request.")
    retry_of = serializers.SerializerMethodField(help_text="The refund that failed before this one.")
    destination = serializers.ChoiceField(choices=RefundDestination.choices)
    receipt_number = serializers.SerializerMethodField()
    failure_reason = serializers.SerializerMethodField()
    provider_ref = serializers.SerializerMethodField()
    metadata = MetadataField()
    created_at = TimestampField()

    def get_reason(self, refund: Refund) -> str | None:
        return refund.reason or None

    def get_payment_intent_id(self, refund: Refund) -> str | None:
        key = refund.payment_intent_id
        return None if key is None else encode_id(PaymentIntent.id_prefix, key)

    def get_invoice_id(self, refund: Refund) -> str | None:
        return None if refund.invoice_id is None else encode_id(Invoice.id_prefix, refund.invoice_id)

    def get_credit_note_id(self, refund: Refund) -> str | None:
        return None if refund.credit_note_id is None else encode_id(CreditNote.id_prefix, refund.credit_note_id)

    def get_approval_id(self, refund: Refund) -> str | None:
        return None if refund.approval_id is None else encode_id(Approval.id_prefix, refund.approval_id)

    def get_group(self, refund: Refund) -> str:
        return encode_id(Refund.id_prefix, refund.batch)

    def get_retry_of(self, refund: Refund) -> str | None:
        return None if refund.retry_of_id is None else encode_id(Refund.id_prefix, refund.retry_of_id)

    def get_receipt_number(self, refund: Refund) -> str | None:
        return refund.receipt_number or None

    def get_failure_reason(self, refund: Refund) -> str | None:
        return refund.failure_reason or None

    def get_provider_ref(self, refund: Refund) -> str | None:
        return refund.provider_ref or None


class CreatedRefundSerializer(RefundSerializer):
    """The first refund of a request, with all of them where money goes back more than one way."""

    refunds = RefundSerializer(many=True)
    group_amount = MoneyField(help_text="What the refunds of the request come to.")
