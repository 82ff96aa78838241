"""What a self-service portal shows first: a few numbers, short lists."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import Subscription, SubscriptionStatus
from accounts.queries.portal import PortalOverview
from billing_site.api.fields import AccountRefField, CurrencyField, MoneyField, SignedMoneyField, TimestampField
from invoicing.models import Invoice, InvoiceStatus


class PortalQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)


class PortalOverviewQuery(PortalQuery):
    currency = CurrencyField(default="usd", help_text="Of the balance.")


class PortalOverviewSerializer(serializers.Serializer[PortalOverview]):
    account_id = serializers.CharField()
    balance = SignedMoneyField(help_text="Invoice credit, minor units of `currency`.")
    currency = serializers.CharField()
    active_subscriptions = serializers.IntegerField(help_text="Active ones and those on trial.")
    payment_methods = serializers.IntegerField(help_text="How many are stored.")


class PortalInvoiceSerializer(serializers.Serializer[Invoice]):
    id = serializers.CharField(source="public_id")
    number = serializers.IntegerField(allow_null=True)
    number_str = serializers.CharField(source="number_text", help_text="As printed: INV-0042.")
    status = serializers.ChoiceField(choices=InvoiceStatus.choices)
    amount_due = MoneyField(help_text="Minor units of `currency`.")
    currency = serializers.CharField()
    created_at = TimestampField()


class PortalSubscriptionSerializer(serializers.Serializer[Subscription]):
    id = serializers.CharField(source="public_id")
    plan_id = serializers.CharField(source="plan_version.plan.key")
    status = serializers.ChoiceField(choices=SubscriptionStatus.choices)
    period_start = TimestampField(source="current_period_start")
    period_end = TimestampField(source="current_period_end")
    created_at = TimestampField()
