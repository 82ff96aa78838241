"""How subscriptions are canceled, and what that would come to."""

from __future__ import annotations

from typing import Any, get_args

from rest_framework import serializers

from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.serializers.unused_time import UnusedTimeNoteSerializer
from accounts.models import Subscription
from accounts.terms.cancellations import UnusedTime
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, MoneyField, SignedMoneyField
from billing_site.kernel.errors import ValidationFailed
from invoicing.models import Invoice
from invoicing.services.cancellations import CANCELLATION_REASONS, Cancellation


class CancelInput(StrictSerializer):
    """When a subscription ends, and what becomes of time that was paid in advance."""

    at_period_end = serializers.BooleanField(required=False, help_text="Default true.")
    immediately = serializers.BooleanField(required=False, help_text="The opposite of at_period_end.")
    reason = serializers.ChoiceField(choices=CANCELLATION_REASONS, required=False)
    comment = serializers.CharField(required=False, allow_blank=True, max_length=1_000)
    unused = serializers.ChoiceField(
        choices=get_args(UnusedTime), required=False, help_text="Internal callers only. Default: the seller's choice."
    )
    preview = serializers.BooleanField(required=False, default=False, help_text="Only say what it would come to.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two answers to one question."""
        at_period_end, immediately = attrs.get("at_period_end"), attrs.pop("immediately", None)
        if at_period_end is not None and immediately is not None and at_period_end == immediately:
            raise ValidationFailed.of(
                "/immediately", "contradiction", "at_period_end and immediately contradict each other."
            )
        attrs["at_period_end"] = at_period_end if at_period_end is not None else not immediately
        return attrs


class FinalInvoiceSerializer(serializers.Serializer[Invoice]):
    """What the last invoice would come to, minor units."""

    subtotal = SignedMoneyField()
    tax = SignedMoneyField()
    total = SignedMoneyField(help_text="Below zero it becomes invoice credit.")
    amount_due = MoneyField(help_text="What stored money, credit notes among it, leaves to be paid.")
    currency = CurrencyField()


class CancellationPreviewSerializer(serializers.Serializer[Cancellation]):
    """The documents of an end at once; none with the period."""

    invoices = FinalInvoiceSerializer(many=True)
    credit_notes = UnusedTimeNoteSerializer(many=True, source="notes")


class CanceledSubscriptionSerializer(SubscriptionSerializer):
    """The subscription, and with `preview` what its end would come to."""

    preview = CancellationPreviewSerializer(
        required=False, help_text="Of a preview only: the subscription is as it would be."
    )

    def to_representation(self, instance: Subscription) -> dict[str, Any]:
        shown = super().to_representation(instance)
        found: Cancellation | None = self.context.get("cancellation")
        return shown if found is None else {**shown, "preview": CancellationPreviewSerializer(found).data}
