"""Credit notes as the API takes and shows them."""

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
from billing_site.kernel.ids import encode_id
from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteStatus,
    CreditNoteTax,
    CreditReason,
    Disposition,
    InvoiceLine,
)


class CreditLineInput(StrictSerializer):
    """An amount before tax to credit: of one line of the invoice, or of all lines by what is left of them."""

    invoice_line_id = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="Left out: shared by all lines."
    )
    description = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")
    amount = SignedMoneyField(
        required=False,
        allow_null=True,
        help_text="Minor units before tax. Left out: quantity times unit_price, or what is left of the line.",
    )
    quantity = DecimalStringField(required=False, allow_null=True, minimum=0)
    unit_price = DecimalStringField(required=False, allow_null=True, help_text="Minor units per unit.")


class CreditNoteInput(StrictSerializer):
    """What a credit note takes back, and what becomes of money that was paid."""

    also_known = ACCOUNT_SYNONYMS

    invoice_id = serializers.CharField(max_length=100, help_text="Id or printed number.")
    account = AccountRefField(required=False, help_text="That of the invoice, if it is named at all.")
    amount = MoneyField(
        required=False,
        allow_null=True,
        help_text="With tax, shared by all lines. Beside line_items: what they and out_of_band_amount come to.",
    )
    reason = serializers.ChoiceField(choices=CreditReason.choices, required=False, allow_null=True)
    line_items = CreditLineInput(many=True, required=False)
    out_of_band_amount = MoneyField(
        required=False, allow_null=True, help_text="Of what was paid, given back outside; with tax."
    )
    memo = serializers.CharField(required=False, allow_blank=True, max_length=1000, default="")
    disposition = serializers.ChoiceField(
        choices=Disposition.choices, required=False, default=Disposition.CUSTOMER_BALANCE
    )


class CreditNoteQuery(serializers.Serializer[dict[str, Any]]):
    """Filters of the list of credit notes."""

    invoice_id = serializers.CharField(required=False, max_length=100)


class CreditedLineSerializer(serializers.Serializer[CreditNoteLine]):
    """What a credit note takes of one line of its invoice, before tax."""

    id = serializers.CharField(source="public_id")
    invoice_line_id = serializers.SerializerMethodField()
    description = serializers.CharField()
    amount = SignedMoneyField()
    quantity = DecimalStringField(allow_null=True)
    unit_price = DecimalStringField(source="unit_amount", allow_null=True, help_text="Minor units per unit.")
    explanation = serializers.SerializerMethodField(help_text="How the amount came about, step by step.")

    def get_invoice_line_id(self, line: CreditNoteLine) -> str:
        return encode_id(InvoiceLine.id_prefix, line.invoice_line_id)

    def get_explanation(self, line: CreditNoteLine) -> list[dict[str, str]]:
        steps: list[dict[str, str]] = line.trace.get("steps", [])
        return steps


class CreditedTaxSerializer(serializers.Serializer[CreditNoteTax]):
    """The tax of one rate that a credit note takes back."""

    name = serializers.CharField()
    rate = DecimalStringField(help_text="A fraction of the base.")
    base = SignedMoneyField()
    amount = SignedMoneyField()


class CreditNoteSerializer(serializers.Serializer[CreditNote]):
    """A credit note with its lines. Amounts are minor units of `currency`."""

    id = serializers.CharField(source="public_id")
    number = serializers.CharField(source="number_text")
    invoice_id = serializers.CharField(source="invoice.public_id")
    account_id = serializers.CharField(source="account.public_id")
    amount = MoneyField(source="total", help_text="With tax.")
    subtotal = SignedMoneyField(help_text="Before tax.")
    tax = SignedMoneyField()
    tax_lines = CreditedTaxSerializer(source="taxes", many=True)
    currency = CurrencyField()
    status = serializers.ChoiceField(choices=CreditNoteStatus.choices)
    reason = serializers.SerializerMethodField()
    line_items = CreditedLineSerializer(source="lines", many=True)
    disposition = serializers.ChoiceField(choices=Disposition.choices)
    amount_applied = MoneyField(help_text="What it lowered of what remained to be paid of the invoice.")
    out_of_band_amount = MoneyField()
    credit_balance_transaction = serializers.SerializerMethodField(help_text="What it added to the invoice credit.")
    amount_refunded = MoneyField(help_text="What goes, or was to go, back through the provider that was paid.")
    refund_id = serializers.SerializerMethodField(help_text="The first of its refunds; the list of refunds has all.")
    memo = serializers.CharField()
    issue_date = serializers.DateField()
    voided_at = TimestampField(allow_null=True)
    void_reason = serializers.CharField()
    metadata = MetadataField()
    created_at = TimestampField()

    def get_reason(self, note: CreditNote) -> str | None:
        return note.reason or None

    def get_credit_balance_transaction(self, note: CreditNote) -> str | None:
        return note.entry.public_id if note.amount_credited else None

    def get_refund_id(self, note: CreditNote) -> str | None:
        # The refund through a provider, if there is one, else that into invoice credit.
        rows = sorted(
            note.refunds.all(), key=lambda row: (row.destination != "provider", row.retry_of_id is None, row.pk)
        )
        return rows[0].public_id if rows else None
