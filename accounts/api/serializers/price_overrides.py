"""Negotiated prices as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import PriceOverride
from accounts.services.price_overrides import describe_override
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import TimestampField


class PriceOverrideInput(StrictSerializer):
    """A price to agree on with an account."""

    lookup_key = serializers.CharField(max_length=250, help_text="The price of a plan that it stands for.")
    price = serializers.DictField(
        help_text="As in a catalog document, without currency, interval, billing_timing, meter and lookup_key: "
        "model, unit_amount, tiers, package_size, percent, minimum_amount and so on."
    )
    effective_from = TimestampField(
        required=False, help_text="It holds for billing periods that start from here on. Default: now."
    )
    effective_until = TimestampField(
        required=False, allow_null=True, help_text="Periods that start from here on have the plan's price again."
    )
    reason = serializers.CharField(max_length=500)


class PriceOverrideEndInput(StrictSerializer):
    """When and why a negotiated price ends."""

    effective_until = TimestampField(
        required=False, help_text="Default: now. Before its beginning: it is withdrawn altogether."
    )
    reason = serializers.CharField(max_length=500)


class PriceOverrideQuery(serializers.Serializer[dict[str, Any]]):
    """What negotiated prices are filtered by."""

    lookup_key = serializers.CharField(required=False, max_length=250)
    active = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Whether periods that start now have it."
    )


class PriceOverrideSerializer(serializers.Serializer[PriceOverride]):
    """What an account pays for one price of a plan, whatever version of the plan it is on."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    lookup_key = serializers.CharField()
    price = serializers.SerializerMethodField(help_text="As a catalog document writes it.")
    effective_from = TimestampField()
    effective_until = TimestampField(allow_null=True)
    reason = serializers.CharField()
    created_by = serializers.CharField()
    ended_by = serializers.CharField(allow_blank=True)
    end_reason = serializers.CharField(allow_blank=True)
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_price(self, row: PriceOverride) -> dict[str, Any]:
        price: dict[str, Any] = describe_override(row)["price"]
        return price
