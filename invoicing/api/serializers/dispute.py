"""Disputes as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, MetadataField, MoneyField, TimestampField
from invoicing.models import Dispute, DisputeStatus
from invoicing.services.dispute_answers import MAX_EVIDENCE


class DisputeEvidenceInput(StrictSerializer):
    """What speaks for us. What is left out stays as it was kept."""

    customer_name = serializers.CharField(required=False, allow_blank=True, max_length=500)
    customer_email_address = serializers.EmailField(required=False, allow_blank=True, max_length=254)
    product_description = serializers.CharField(required=False, allow_blank=True, max_length=MAX_EVIDENCE)
    service_date = serializers.CharField(required=False, allow_blank=True, max_length=100)
    uncategorized_text = serializers.CharField(required=False, allow_blank=True, max_length=MAX_EVIDENCE)
    submit = serializers.BooleanField(
        required=False, default=True, help_text="Hand it in, for good; false: keep it at the provider."
    )


class DisputeQuery(serializers.Serializer[dict[str, Any]]):
    """Filters of the list of disputes."""

    payment_intent_id = serializers.CharField(required=False, max_length=100)
    status = serializers.CharField(required=False, max_length=30)


class DisputeSerializer(serializers.Serializer[Dispute]):
    """A contested payment. Amounts are minor units of `currency`."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    payment_intent_id = serializers.CharField(source="payment_intent.public_id")
    amount = MoneyField()
    currency = CurrencyField()
    status = serializers.ChoiceField(choices=DisputeStatus.choices)
    reason = serializers.SerializerMethodField()
    fee = MoneyField(help_text="What the provider takes besides when it is lost.")
    evidence_due_by = TimestampField(allow_null=True)
    evidence = serializers.DictField(child=serializers.CharField())
    submitted_at = TimestampField(allow_null=True, help_text="When evidence was handed in first.")
    provider_ref = serializers.CharField()
    metadata = MetadataField()
    closed_at = TimestampField(allow_null=True)
    created_at = TimestampField()

    def get_reason(self, dispute: Dispute) -> str | None:
        return dispute.reason or None
