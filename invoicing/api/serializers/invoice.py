"""Invoices and lines as the API shows them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing_site.api.fields import (
    CurrencyField,
    DecimalStringField,
    MetadataField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from billing_site.kernel import clock
from catalog.models import Meter
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus, LineType
from invoicing.queries.invoices import is_overdue


class LineItemSerializer(serializers.Serializer[InvoiceLine]):
    """One line of an invoice."""

    id = serializers.CharField(source="public_id")
    type = serializers.ChoiceField(choices=LineType.choices)
    description = serializers.CharField()
    quantity = DecimalStringField()
    unit_price = DecimalStringField(source="unit_amount", help_text="Minor units per unit.")
    amount = SignedMoneyField()
    currency = CurrencyField()
    meter_id = serializers.SerializerMethodField()
    plan_id = serializers.SerializerMethodField()
    plan_name = serializers.SerializerMethodField()
    cost_center_id = serializers.SerializerMethodField()
    period_start = TimestampField()
    period_end = TimestampField()
    tiers = serializers.SerializerMethodField(help_text="The parts of the amount, where the price has several.")
    explanation = serializers.SerializerMethodField(help_text="How the amount came about, step by step.")

    def get_meter_id(self, line: InvoiceLine) -> str | None:
        meter: Meter | None = line.meter
        return meter.public_id if meter is not None else None

    def get_plan_id(self, line: InvoiceLine) -> str | None:
        return line.plan_version.plan.key if line.plan_version is not None else None

    def get_plan_name(self, line: InvoiceLine) -> str | None:
        return line.plan_version.name if line.plan_version is not None else None

    def get_cost_center_id(self, line: InvoiceLine) -> str | None:
        return None

    def get_tiers(self, line: InvoiceLine) -> list[dict[str, str | None]]:
        tiers: list[dict[str, str | None]] = line.trace.get("tiers", [])
        return tiers

    def get_explanation(self, line: InvoiceLine) -> list[dict[str, str]]:
        steps: list[dict[str, str]] = line.trace.get("steps", [])
        return steps


class InvoiceSerializer(serializers.Serializer[Invoice]):
    """An invoice with its lines. Amounts are minor units of `currency`."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    customer_email = serializers.SerializerMethodField()
    subscription_id = serializers.SerializerMethodField()
    period_start = TimestampField()
    period_end = TimestampField()
    subtotal = SignedMoneyField()
    discount = MoneyField()
    discount_name = serializers.SerializerMethodField()
    tax = SignedMoneyField()
    tax_percent = serializers.SerializerMethodField()
    tax_lines = serializers.SerializerMethodField()
    credit_applied = MoneyField()
    amount_due = MoneyField()
    amount_paid = MoneyField()
    amount_remaining = MoneyField()
    currency = CurrencyField()
    status = serializers.ChoiceField(choices=InvoiceStatus.choices)
    is_overdue = serializers.SerializerMethodField()
    is_partially_paid = serializers.SerializerMethodField()
    payment_method = serializers.SerializerMethodField()
    payment_ref = serializers.SerializerMethodField()
    number = serializers.IntegerField(allow_null=True)
    number_str = serializers.SerializerMethodField()
    attempt_count = serializers.SerializerMethodField()
    last_attempt_at = serializers.SerializerMethodField()
    next_attempt_at = serializers.SerializerMethodField()
    line_items = LineItemSerializer(source="lines", many=True)
    issue_date = serializers.DateField(allow_null=True)
    due_date = serializers.DateField(allow_null=True)
    paid_at = TimestampField(allow_null=True)
    voided_at = TimestampField(allow_null=True)
    void_reason = serializers.CharField()
    metadata = MetadataField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_customer_email(self, invoice: Invoice) -> str | None:
        return invoice.account_snapshot.get("email") or None

    def get_subscription_id(self, invoice: Invoice) -> str | None:
        return invoice.subscription.public_id if invoice.subscription is not None else None

    def get_discount_name(self, invoice: Invoice) -> str | None:
        return None

    def get_tax_percent(self, invoice: Invoice) -> str:
        base = invoice.subtotal - invoice.discount
        return "0" if not base else f"{(Decimal(invoice.tax) * 100 / base).quantize(Decimal('0.01')).normalize():f}"

    def get_tax_lines(self, invoice: Invoice) -> list[dict[str, Any]]:
        return []

    def get_is_overdue(self, invoice: Invoice) -> bool:
        return is_overdue(invoice, at=clock.now(invoice.account))

    def get_is_partially_paid(self, invoice: Invoice) -> bool:
        return invoice.status == InvoiceStatus.OPEN and invoice.amount_paid > 0

    def get_payment_method(self, invoice: Invoice) -> str | None:
        return invoice.payment_method or None

    def get_payment_ref(self, invoice: Invoice) -> str | None:
        return None

    def get_number_str(self, invoice: Invoice) -> str | None:
        return invoice.number_text or None

    def get_attempt_count(self, invoice: Invoice) -> int:
        return 0

    def get_last_attempt_at(self, invoice: Invoice) -> str | None:
        return None

    def get_next_attempt_at(self, invoice: Invoice) -> str | None:
        return None


class InvoiceQuery(serializers.Serializer[dict[str, Any]]):
    """Filters of the invoice list."""

    status = serializers.ChoiceField(
        choices=[*InvoiceStatus.values, "pending", "overdue", "partially_paid"], required=False
    )
    subscription_id = serializers.CharField(required=False, max_length=100)
    number = serializers.CharField(required=False, max_length=40)
    start = serializers.DateField(required=False)
    end = serializers.DateField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        start: date | None = attrs.get("start")
        end: date | None = attrs.get("end")
        if start is not None and end is not None and end < start:
            raise serializers.ValidationError({"end": ["The end is before the start."]})
        return attrs


class FinalizeInput(serializers.Serializer[dict[str, Any]]):
    """How to finalize."""

    collect = serializers.BooleanField(default=False, help_text="Collect at once; not offered yet, true is refused.")
    due_days = serializers.IntegerField(required=False, min_value=0, max_value=365)

    def validate_collect(self, value: bool) -> bool:
        if value:
            raise serializers.ValidationError("Collection is not available yet; finalize without it.")
        return value


class VoidInput(serializers.Serializer[dict[str, Any]]):
    """Why an invoice is voided."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=1000, default="")
