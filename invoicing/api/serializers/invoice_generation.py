"""Asking for the invoice of a subscription."""

from __future__ import annotations

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import TimestampField


class InvoiceGenerateInput(StrictSerializer):
    """Which subscription and period, and what is to become of the draft."""

    subscription_id = serializers.CharField(
        required=False, max_length=100, help_text="Required here or in the query string."
    )
    period_start = TimestampField(required=False, help_text="Default: the running period.")
    period_end = TimestampField(required=False, end=True)
    auto_finalize = serializers.BooleanField(default=False, help_text="Issue it at once; otherwise it stays a draft.")
    collect = serializers.BooleanField(
        default=False,
        help_text="With `auto_finalize`: try to collect what stored money left due when it was issued, as `pay` does."
        " Only credit and prepaid money are used; no payment method is charged.",
    )
