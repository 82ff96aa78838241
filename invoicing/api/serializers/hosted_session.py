"""Hosted pages as callers ask for them and get them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS

_ACCOUNTS = tuple(name for name in ACCOUNT_SYNONYMS if name != "customer_id")
_ACCOUNT_HELP = "Id or external id; default: the caller's own."
_INTERVALS = ("month", "year")
_RETURN_HELP = "Its origin must be allowed; default: a page of this site."


class CheckoutSessionInput(StrictSerializer):
    feature = serializers.CharField(required=False, allow_blank=True, max_length=255, help_text="Such as llm:proxy.")
    plan_id = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="Wins over the feature."
    )
    interval = serializers.ChoiceField(choices=_INTERVALS, default="month")
    return_url = serializers.CharField(required=False, allow_blank=True, max_length=2000, help_text=_RETURN_HELP)


class StripeCheckoutInput(StrictSerializer):
    """`customer_id` is the provider's customer here, no synonym of the account."""

    also_known = _ACCOUNTS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    plan_id = serializers.CharField(required=False, max_length=100, help_text="Needed.")
    customer_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    interval = serializers.ChoiceField(choices=_INTERVALS, default="month")
    return_url = serializers.CharField(required=False, allow_blank=True, max_length=2000, help_text=_RETURN_HELP)


class PortalSessionInput(StrictSerializer):
    return_url = serializers.CharField(required=False, allow_blank=True, max_length=2000, help_text=_RETURN_HELP)


class StripePortalInput(StrictSerializer):
    """`customer_id` is the provider's customer here, no synonym of the account."""

    also_known = _ACCOUNTS

    account = AccountRefField(required=False, help_text=_ACCOUNT_HELP)
    customer_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    return_url = serializers.CharField(required=False, allow_blank=True, max_length=2000, help_text=_RETURN_HELP)


class HostedSessionSerializer(serializers.Serializer[dict[str, Any]]):
    url = serializers.URLField(help_text="Open it in a browser.")
    provider = serializers.CharField()
    session_url = serializers.URLField(required=False, help_text="The same; checkout doors only.")
    portal_url = serializers.URLField(required=False, help_text="The same; portal doors only.")
    expires_at = TimestampField(allow_null=True)
