"""Invoices that do not exist: what the next one would be, and what usage would come to."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import Subscription
from billing_site.api.fields import (
    AccountRefField,
    CurrencyField,
    DecimalStringField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from invoicing.calculation.draft import DraftLine
from invoicing.models import LineType
from invoicing.queries.previews import PreviewedInvoice
from invoicing.queries.usage_previews import UsagePreview


class UpcomingQuery(serializers.Serializer[dict[str, Any]]):
    """Whose next invoice."""

    subscription_id = serializers.CharField(
        required=False, max_length=100, help_text="Default: the current subscription."
    )


class UpcomingLineSerializer(serializers.Serializer[Any]):
    """A line that the next invoice would have."""

    id = serializers.CharField(allow_null=True, help_text="Null: a line has an id when it is on an invoice.")
    type = serializers.ChoiceField(choices=LineType.choices)
    description = serializers.CharField()
    quantity = DecimalStringField()
    unit_price = DecimalStringField(help_text="Minor units per unit.")
    amount = SignedMoneyField(help_text="Before the invoice's discount, without tax.")
    tax = SignedMoneyField(help_text="The line's part of the invoice's tax, on what discounts leave of the amount.")
    currency = CurrencyField()
    meter_id = serializers.CharField(allow_null=True)
    plan_id = serializers.CharField(allow_null=True)
    plan_name = serializers.CharField(allow_null=True)
    cost_center_id = serializers.CharField(allow_null=True)
    subscription_id = serializers.CharField(allow_null=True, help_text="Whose line it is; null: the account's.")
    period_start = TimestampField()
    period_end = TimestampField()
    explanation = serializers.ListField(
        child=serializers.DictField(), help_text="How the amount came about, step by step."
    )


class UpcomingInvoiceSerializer(serializers.Serializer[Any]):
    """The next invoice of a subscription if nothing more happened; amounts are minor units of `currency`."""

    account_id = serializers.CharField()
    subscription_id = serializers.CharField()
    period_start = TimestampField(help_text="The running billing period.")
    period_end = TimestampField(help_text="When the invoice is due to be made.")
    line_items = UpcomingLineSerializer(many=True)
    subtotal = SignedMoneyField()
    discount = MoneyField()
    tax = SignedMoneyField()
    credit_applied = MoneyField(help_text="What stored money would pay.")
    amount_due = MoneyField()
    currency = CurrencyField()


class InvoicePreviewInput(serializers.Serializer[dict[str, Any]]):
    """Whose usage, and when."""

    account = AccountRefField(required=False, help_text="Id or external id; public callers may leave it out.")
    period_start = TimestampField(required=False, help_text="Default: the first of the month.")
    period_end = TimestampField(required=False, end=True, help_text="Default: the end of the month.")


class PreviewedUsageSerializer(serializers.Serializer[Any]):
    """What a meter costs; a minimum that was not reached is a line of its own."""

    meter_id = serializers.CharField()
    meter_name = serializers.CharField()
    quantity = DecimalStringField()
    unit_cost = DecimalStringField(help_text="Minor units per unit; on average where the price has several.")
    total_cost = SignedMoneyField()
    model = serializers.CharField()


class InvoicePreviewSerializer(serializers.Serializer[Any]):
    """Usage times prices, minus credits; amounts are minor units of `currency`."""

    account_id = serializers.CharField()
    period_start = TimestampField()
    period_end = TimestampField()
    line_items = PreviewedUsageSerializer(many=True)
    subtotal = SignedMoneyField()
    credit_applied = MoneyField()
    amount_due = MoneyField()
    currency = CurrencyField()


def render_upcoming(subscription: Subscription, found: PreviewedInvoice) -> dict[str, Any]:
    """Return the next invoice as `UpcomingInvoiceSerializer` describes it."""
    draft = found.draft
    return {
        "account_id": subscription.account.public_id,
        "subscription_id": subscription.public_id,
        "period_start": subscription.current_period_start,
        "period_end": subscription.current_period_end,
        "line_items": [
            _render_line(line, found.meters.get(line.charge.item_id), found.get_subscription_id(line))
            for line in draft.lines
        ],
        "subtotal": draft.subtotal,
        "discount": draft.discount,
        "tax": draft.tax,
        "credit_applied": found.credit_applied,
        "amount_due": found.amount_due,
        "currency": draft.facts.currency,
    }


def _render_line(line: DraftLine, meter_id: str | None, subscription_id: str | None) -> dict[str, Any]:
    return {
        "id": None,
        "type": line.type,
        "description": line.description,
        "quantity": line.quantity,
        "unit_price": line.unit_amount,
        "amount": line.amount,
        "tax": line.tax,
        "currency": line.charge.price.currency,
        "meter_id": meter_id,
        "plan_id": line.charge.plan_id or None,
        "plan_name": line.charge.plan_name or None,
        "cost_center_id": None,
        "subscription_id": subscription_id,
        "period_start": line.period.start,
        "period_end": line.period.end,
        "explanation": list(line.steps),
    }


def render_preview(found: UsagePreview) -> dict[str, Any]:
    """Return priced usage as `InvoicePreviewSerializer` describes it."""
    return {
        "account_id": found.account.public_id,
        "period_start": found.period.start,
        "period_end": found.period.end,
        "line_items": [
            {
                "meter_id": found.get_meter(line).public_id,
                "meter_name": found.get_meter(line).display_name,
                "quantity": line.quantity,
                "unit_cost": line.unit_amount,
                "total_cost": line.amount,
                "model": line.charge.price.model,
            }
            for line in found.draft.lines
        ],
        "subtotal": found.draft.subtotal,
        "credit_applied": found.credit_applied,
        "amount_due": found.amount_due,
        "currency": found.draft.facts.currency,
    }
