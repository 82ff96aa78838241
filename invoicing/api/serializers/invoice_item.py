"""Items that wait for the next invoice, as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import DecimalStringField, SignedMoneyField, TimestampField
from invoicing.api.serializers.invoice_editing import NewInvoiceLineInput
from invoicing.models import PendingCharge
from invoicing.queries.invoice_items import ITEM_STATUSES, get_item_status, get_item_terms


class InvoiceItemInput(NewInvoiceLineInput):
    """A line to leave for the next invoice: an amount, or a quantity with a unit price."""

    subscription_id = serializers.CharField(
        required=False,
        allow_null=True,
        max_length=100,
        help_text="Left out: the account's next invoice in the currency.",
    )
    reason = serializers.CharField(required=False, allow_blank=True, max_length=500)


class InvoiceItemQuery(serializers.Serializer[dict[str, Any]]):
    """What items are filtered by."""

    status = serializers.ChoiceField(required=False, choices=list(ITEM_STATUSES))
    subscription_id = serializers.CharField(required=False, max_length=100)


class InvoiceItemSerializer(serializers.Serializer[PendingCharge]):
    """An item that waits for the next invoice, was invoiced, or was dropped."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    subscription_id = serializers.SerializerMethodField(help_text="Empty: whichever is billed first.")
    status = serializers.SerializerMethodField(help_text="waiting, invoiced or dropped.")
    description = serializers.CharField(source="terms.description")
    type = serializers.CharField(source="terms.type", help_text="one_off, usage or subscription.")
    quantity = DecimalStringField(source="terms.quantity")
    unit_price = DecimalStringField(source="terms.unit_amount", allow_null=True, help_text="Minor units per unit.")
    amount = SignedMoneyField(source="terms.amount", help_text="That of its line, before discounts and tax.")
    currency = serializers.CharField(source="terms.currency")
    period_start = TimestampField()
    period_end = TimestampField()
    invoice_id = serializers.SerializerMethodField()
    reason = serializers.CharField()
    created_at = TimestampField()
    dropped_at = TimestampField(allow_null=True)

    def to_representation(self, instance: PendingCharge) -> dict[str, Any]:
        """The context's `seller` is whose rounding the amount has."""
        instance.terms = get_item_terms(instance, self.context["seller"])  # type: ignore[attr-defined]
        return super().to_representation(instance)

    def get_subscription_id(self, item: PendingCharge) -> str | None:
        return None if item.subscription is None else item.subscription.public_id

    def get_status(self, item: PendingCharge) -> str:
        return get_item_status(item)

    def get_invoice_id(self, item: PendingCharge) -> str | None:
        return item.invoice.public_id if item.invoice is not None and get_item_status(item) == "invoiced" else None
