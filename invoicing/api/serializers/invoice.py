"""Invoices and lines as the API shows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import CostCenter, Subscription
from billing_site.api.fields import (
    CurrencyField,
    DecimalStringField,
    MetadataField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from billing_site.kernel import clock
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import allocate
from catalog.models import Meter, TaxRate
from invoicing.calculation.texts import format_exact
from invoicing.models import CreditSource, Invoice, InvoiceCredit, InvoiceLine, InvoiceStatus, InvoiceTax, LineType
from invoicing.queries.invoices import is_overdue


class LineItemListSerializer(serializers.ListSerializer[InvoiceLine]):
    """Lines of an invoice; one that is split by cost center as its parts, which sum to it."""

    def to_representation(self, data: Any) -> list[Any]:
        rows = data.all() if hasattr(data, "all") else data
        return [shown for line in rows for shown in self._show(line)]

    def _show(self, line: InvoiceLine) -> Iterator[Any]:
        shown = LineItemSerializer(line).data
        parts = list(line.splits.all())
        taxes = allocate(line.tax, [abs(part.amount) for part in parts]) if parts else []
        for part, tax in zip(parts, taxes, strict=True):
            center_id = part.cost_center_id
            yield shown | {
                "id": part.public_id,
                "description": f"{line.description} · {part}",
                "quantity": DecimalStringField().to_representation(part.quantity),
                "amount": part.amount,
                "tax": tax,
                "cost_center_id": None if center_id is None else encode_id(CostCenter.id_prefix, center_id),
            }
        if not parts:
            yield shown


class LineItemSerializer(serializers.Serializer[InvoiceLine]):
    """One line of an invoice, or the part of one cost center in it."""

    class Meta:
        list_serializer_class = LineItemListSerializer

    id = serializers.CharField(source="public_id")
    type = serializers.ChoiceField(choices=LineType.choices)
    description = serializers.CharField()
    quantity = DecimalStringField()
    unit_price = DecimalStringField(source="unit_amount", help_text="Minor units per unit.")
    amount = SignedMoneyField(help_text="Before the invoice's discount, without tax.")
    tax = SignedMoneyField(help_text="The line's part of the invoice's tax, on what discounts leave of the amount.")
    currency = CurrencyField()
    meter_id = serializers.SerializerMethodField()
    plan_id = serializers.SerializerMethodField()
    plan_name = serializers.SerializerMethodField()
    cost_center_id = serializers.SerializerMethodField()
    subscription_id = serializers.SerializerMethodField(help_text="Whose line it is; null: the account's.")
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

    def get_subscription_id(self, line: InvoiceLine) -> str | None:
        key = line.subscription_id or line.invoice.subscription_id
        return None if key is None else encode_id(Subscription.id_prefix, key)

    def get_tiers(self, line: InvoiceLine) -> list[dict[str, str | None]]:
        tiers: list[dict[str, str | None]] = line.trace.get("tiers", [])
        return tiers

    def get_explanation(self, line: InvoiceLine) -> list[dict[str, str]]:
        steps: list[dict[str, str]] = line.trace.get("steps", [])
        return steps


class AppliedCreditSerializer(serializers.Serializer[InvoiceCredit]):
    """What one source of stored money paid of an invoice when it was issued."""

    source = serializers.ChoiceField(choices=CreditSource.choices)  # type: ignore[assignment]
    description = serializers.CharField()
    amount = MoneyField(help_text="Minor units of the invoice's currency.")
    credit_grant_id = serializers.SerializerMethodField()
    transaction_id = serializers.CharField(source="entry.public_id", help_text="The ledger entry.")

    def get_credit_grant_id(self, credit: InvoiceCredit) -> str | None:
        return credit.grant.public_id if credit.grant is not None else None


class TaxLineSerializer(serializers.Serializer[InvoiceTax]):
    """What one tax rate comes to on an invoice."""

    tax_rate_id = serializers.SerializerMethodField(help_text="Null for a rate of zero that has a reason instead.")
    description = serializers.CharField(source="name")
    rate = serializers.SerializerMethodField(help_text="A fraction: 0.19 is 19 %.")
    inclusive = serializers.BooleanField(help_text="The agreed prices contain it. Amounts of lines never do.")
    jurisdiction = serializers.CharField(help_text="The place, such as US-CA or DE.")
    base = SignedMoneyField(help_text="What it is on, after discounts and without tax.")
    amount = SignedMoneyField()
    note = serializers.CharField(help_text="Why the rate is zero.")

    def get_tax_rate_id(self, tax: InvoiceTax) -> str | None:
        return None if tax.tax_rate_id is None else encode_id(TaxRate.id_prefix, tax.tax_rate_id)

    def get_rate(self, tax: InvoiceTax) -> str:
        return format_exact(tax.rate)


class InvoiceSerializer(serializers.Serializer[Invoice]):
    """An invoice with its lines. Amounts are minor units of `currency`."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    customer_email = serializers.SerializerMethodField()
    subscription_id = serializers.SerializerMethodField(help_text="Null when it bills several, or none.")
    subscription_ids = serializers.SerializerMethodField(help_text="All that it bills, in the order of its lines.")
    period_start = TimestampField()
    period_end = TimestampField()
    subtotal = SignedMoneyField()
    discount = MoneyField()
    discount_name = serializers.SerializerMethodField()
    tax = SignedMoneyField()
    tax_percent = serializers.SerializerMethodField()
    tax_lines = serializers.SerializerMethodField()
    credit_applied = MoneyField(help_text="What invoice credit, credit grants and prepaid money paid at issue.")
    credits = AppliedCreditSerializer(many=True, help_text="The parts of `credit_applied`, in the order they paid.")
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
    attempt_count = serializers.IntegerField()
    last_attempt_at = TimestampField(allow_null=True)
    next_attempt_at = TimestampField(allow_null=True, help_text="When it is collected without anybody asking.")
    line_items = LineItemSerializer(source="lines", many=True)
    issue_date = serializers.DateField(allow_null=True)
    due_date = serializers.DateField(allow_null=True)
    paid_at = TimestampField(allow_null=True)
    voided_at = TimestampField(allow_null=True)
    void_reason = serializers.CharField()
    reissues = serializers.SerializerMethodField(help_text="The voided invoice that this one stands for.")
    reissued_by = serializers.SerializerMethodField(help_text="The invoice that stands for this voided one.")
    metadata = MetadataField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_customer_email(self, invoice: Invoice) -> str | None:
        return invoice.account_snapshot.get("email") or None

    def get_subscription_id(self, invoice: Invoice) -> str | None:
        return invoice.subscription.public_id if invoice.subscription is not None else None

    def get_subscription_ids(self, invoice: Invoice) -> list[str]:
        if invoice.subscription is not None:
            return [invoice.subscription.public_id]
        return [encode_id(Subscription.id_prefix, member.subscription_id) for member in invoice.members.all()]

    def get_discount_name(self, invoice: Invoice) -> str | None:
        return invoice.discount_name or None

    def get_tax_percent(self, invoice: Invoice) -> str:
        base = invoice.subtotal - invoice.discount
        return "0" if not base else f"{(Decimal(invoice.tax) * 100 / base).quantize(Decimal('0.01')).normalize():f}"

    @extend_schema_field(TaxLineSerializer(many=True))
    def get_tax_lines(self, invoice: Invoice) -> list[dict[str, Any]]:
        return [dict(TaxLineSerializer(tax).data) for tax in invoice.taxes.all()]

    def get_is_overdue(self, invoice: Invoice) -> bool:
        return is_overdue(invoice, at=clock.now(invoice.account))

    def get_is_partially_paid(self, invoice: Invoice) -> bool:
        return invoice.status == InvoiceStatus.OPEN and invoice.amount_paid > 0

    def get_payment_method(self, invoice: Invoice) -> str | None:
        return invoice.payment_method or None

    def get_payment_ref(self, invoice: Invoice) -> str | None:
        return None

    def get_reissues(self, invoice: Invoice) -> str | None:
        return None if invoice.reissues_id is None else encode_id(Invoice.id_prefix, invoice.reissues_id)

    def get_reissued_by(self, invoice: Invoice) -> str | None:
        found = [each for each in invoice.reissued_as.all() if each.status != InvoiceStatus.VOID]
        return found[0].public_id if found else None

    def get_number_str(self, invoice: Invoice) -> str | None:
        return invoice.number_text or None


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

    collect = serializers.BooleanField(default=False, help_text="Try to collect at once, as `pay` does.")
    due_days = serializers.IntegerField(required=False, min_value=0, max_value=365)


class VoidInput(serializers.Serializer[dict[str, Any]]):
    """Why an invoice is voided."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=1000, default="")
