"""Tiers as callers ask for and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import Tier
from accounts.queries.tiers import SpendableMoney
from accounts.terms.tiers import TierConfig
from billing_site.api.fields import AccountRefField, CurrencyField, MoneyField


class TierCheckQuery(serializers.Serializer[dict[str, Any]]):
    """Whose tier, and the model to check."""

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    model = serializers.CharField(required=False, max_length=255, trim_whitespace=False)
    tier = serializers.CharField(required=False, max_length=50, help_text="Internal callers only.")


class TierQuery(serializers.Serializer[dict[str, Any]]):
    """Whose tier, and the currency of the money shown."""

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    tier = serializers.CharField(
        required=False, max_length=50, help_text="Internal callers only: instead of the stored tier."
    )
    currency = CurrencyField(default="usd")


class TierLimitsSerializer(serializers.Serializer[TierConfig]):
    """What a tier allows."""

    name = serializers.ChoiceField(choices=Tier.values)
    display_name = serializers.CharField()
    max_agents = serializers.IntegerField(help_text="0 means unlimited.")
    unlimited_agents = serializers.BooleanField()
    allowed_models = serializers.ListField(child=serializers.CharField(), help_text="Prefixes, or a single *.")


class TierConfigSerializer(TierLimitsSerializer):
    """What a tier allows and gives."""

    daily_credits_cents = MoneyField(help_text="In usd, renewed at 00:00 UTC.")


class SpendableSerializer(serializers.Serializer[SpendableMoney]):
    """Money that can be spent right now."""

    currency = serializers.CharField()
    prepaid_available = MoneyField()
    daily_remaining = MoneyField(help_text="Left of today's daily credit; usd only.")
    effective_available = MoneyField(help_text="Both together.")


class TierViewSerializer(serializers.Serializer[dict[str, Any]]):
    """The tier of an account with its limits and money."""

    account_id = serializers.CharField()
    tier = TierConfigSerializer()
    balance = SpendableSerializer()


class TierCheckSerializer(serializers.Serializer[dict[str, Any]]):
    """Whether a model may be used."""

    account_id = serializers.CharField()
    tier = TierLimitsSerializer()
    model = serializers.CharField(required=False, help_text="As asked.")
    allowed = serializers.BooleanField(required=False, help_text="Only when a model was asked about.")
