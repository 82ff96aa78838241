"""Credit notes that are not issued yet: what a change or an end of a subscription would give back."""

from __future__ import annotations

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, MoneyField, SignedMoneyField, TimestampField
from invoicing.calculation.credit_notes import CreditedLine
from invoicing.services.unused_time import IssuedNote


class UnusedLineSerializer(serializers.Serializer[CreditedLine]):
    """Unused time of one line of an invoice, before tax."""

    invoice_line_id = serializers.CharField(source="line.id")
    description = serializers.CharField()
    period_start = TimestampField(source="unused.period.start")
    period_end = TimestampField(source="unused.period.end")
    share = serializers.CharField(source="unused.share.text", help_text="Of a whole period, such as 10/30 days.")
    amount = SignedMoneyField()


class UnusedTimeNoteSerializer(serializers.Serializer[IssuedNote]):
    """A credit note that would give unused time of a paid invoice back. Amounts are minor units of `currency`."""

    invoice_id = serializers.CharField(source="note.invoice.public_id")
    line_items = UnusedLineSerializer(source="draft.lines", many=True)
    subtotal = SignedMoneyField(source="note.subtotal", help_text="Before tax.")
    tax = SignedMoneyField(source="note.tax", help_text="At the rates of the invoice.")
    amount = MoneyField(source="note.total", help_text="With tax; it becomes invoice credit.")
    currency = CurrencyField(source="note.currency")
