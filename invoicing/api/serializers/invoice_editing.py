"""Bodies of the doors that make, edit and pay invoices."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import (
    AccountRefField,
    CurrencyField,
    DecimalStringField,
    MetadataField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from billing_site.api.params import ACCOUNT_SYNONYMS
from invoicing.api.serializers.invoice import InvoiceSerializer, TaxLineSerializer
from invoicing.models import Invoice
from invoicing.services.collecting import Collection
from invoicing.services.given_lines import NewLine

_TEXTS = {"meter_id": "meter", "plan_id": "plan", "cost_center_id": "cost_center", "unit_price": "unit_amount"}


class LineInput(StrictSerializer):
    """A line to add: an amount, or a quantity with a unit price."""

    description = serializers.CharField(max_length=500)
    amount = SignedMoneyField(required=False, allow_null=True, help_text="This, or quantity and unit_price.")
    quantity = DecimalStringField(required=False, allow_null=True, minimum=0)
    unit_price = DecimalStringField(required=False, allow_null=True, help_text="Minor units per unit.")
    meter_id = serializers.CharField(required=False, allow_null=True, max_length=100, help_text="Makes a usage line.")
    plan_id = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="Makes a subscription line."
    )
    cost_center_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    period_start = TimestampField(required=False, allow_null=True, help_text="Left out: the day it is entered on.")
    period_end = TimestampField(required=False, allow_null=True, end=True)


class NewInvoiceLineInput(LineInput):
    """A line of a new invoice."""

    currency = CurrencyField(required=False, help_text="That of the invoice, if it is named at all.")


class InvoiceInput(StrictSerializer):
    """A one-off invoice."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id of the account.")
    customer_email = serializers.EmailField(required=False, help_text="Instead of the account's own.")
    subscription_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    currency = CurrencyField(required=False, help_text="Left out: that of the account.")
    line_items = NewInvoiceLineInput(many=True, required=False)
    due_days = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=365)
    metadata = MetadataField(required=False)


class InvoiceDiscountInput(StrictSerializer):
    """A discount for a draft: an amount, or a coupon."""

    discount_amount = MoneyField(required=False, allow_null=True, positive=True, help_text="Minor units off.")
    coupon_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    coupon_code = serializers.CharField(required=False, allow_null=True, max_length=64, help_text="In any case.")
    discount_name = serializers.CharField(required=False, allow_blank=True, max_length=255)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse none, and more than one."""
        found = [name for name in ("discount_amount", "coupon_id", "coupon_code") if attrs.get(name)]
        if len(found) != 1:
            code = "required" if not found else "ambiguous"
            raise serializers.ValidationError({"discount_amount": ["Give an amount or a coupon, one of them."]}, code)
        return attrs


class PayInput(StrictSerializer):
    """How to pay."""

    payment_method_id = serializers.CharField(
        required=False,
        allow_null=True,
        max_length=100,
        help_text="Default: that of the subscription, else of the account.",
    )


class PaidCollectionSerializer(serializers.Serializer[Collection]):
    """What an attempt to collect took, by source; minor units of the invoice's currency."""

    success = serializers.BooleanField(help_text="Nothing remains.")
    credit_used = MoneyField(help_text="From credit grants.")
    balance_used = MoneyField(help_text="From invoice credit and the prepaid balance.")
    provider_used = MoneyField()
    provider_ref = serializers.CharField(allow_null=True)
    amount_charged = MoneyField(help_text="The sum of the three.")
    error = serializers.CharField(allow_null=True, help_text="Why something remains.")


class PaidInvoiceSerializer(serializers.Serializer[dict[str, Any]]):
    """An invoice after an attempt to collect it."""

    invoice = InvoiceSerializer()
    collection = PaidCollectionSerializer()


def read_line(values: dict[str, Any]) -> NewLine:
    """Return the line that a checked body asks for."""
    return NewLine(**{_TEXTS.get(name, name): value for name, value in values.items() if value is not None})


class TaxPlaceQuery(serializers.Serializer[dict[str, Any]]):
    """Where a draft is to be taxed."""

    country = serializers.CharField(max_length=2, min_length=2, help_text="ISO 3166-1 alpha-2.")
    state = serializers.CharField(required=False, allow_blank=True, max_length=100)
    postal_code = serializers.CharField(required=False, allow_blank=True, max_length=20)
    city = serializers.CharField(required=False, allow_blank=True, max_length=100)


class TaxResultSerializer(serializers.Serializer[Invoice]):
    """A draft with the tax that was put on it."""

    invoice = InvoiceSerializer(source="*")
    tax_lines = TaxLineSerializer(source="taxes", many=True)
    total_tax = SignedMoneyField(source="tax")
