"""Editing drafts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.services.coupons import CouponNotApplicable
from billing_site.api.permissions import internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import NotFound
from invoicing.api.serializers.invoice import InvoiceSerializer
from invoicing.api.serializers.invoice_editing import (
    InvoiceDiscountInput,
    LineInput,
    TaxPlaceQuery,
    TaxResultSerializer,
    read_line,
)
from invoicing.models import Invoice, InvoiceLine, InvoiceLineSplit
from invoicing.queries.invoices import get_visible_invoice
from invoicing.services.draft_editing import (
    InvoiceNotDraft,
    add_lines,
    apply_coupon,
    apply_discount,
    remove_line,
)
from invoicing.services.taxing import calculate_tax

_WRITE = internal("billing:invoice:write")


class InvoiceEditingViewSet(BillingViewSet):
    """Lines, discounts and tax of drafts."""

    queryset = Invoice.objects.none()
    serializer_class = InvoiceSerializer
    scopes = {
        "add_line": _WRITE,
        "remove_line": _WRITE,
        "discount": _WRITE,
        "calculate_tax": _WRITE,
    }
    problems = {
        "add_line": [InvoiceNotDraft, NotFound],
        "remove_line": [InvoiceNotDraft, NotFound],
        "discount": [InvoiceNotDraft, CouponNotApplicable, NotFound],
        "calculate_tax": [InvoiceNotDraft, NotFound],
    }
    operation_ids = {
        "add_line": "invoice_line_add",
        "remove_line": "invoice_line_remove",
        "discount": "invoice_discount_apply",
        "calculate_tax": "invoice_tax_calculate",
    }

    @extend_schema(request=LineInput, responses=InvoiceSerializer)
    def add_line(self, request: Request, invoice_id: str) -> Response:
        """Add a line to a draft; everything after it is computed again."""
        body = LineInput(data=request.data)
        body.is_valid(raise_exception=True)
        invoice = get_visible_invoice(self.principal, invoice_id)
        add_lines(invoice_id=invoice.pk, lines=[read_line(body.validated_data)], **self._now(invoice))
        return self._answer(invoice)

    @extend_schema(responses={200: InvoiceSerializer})
    def remove_line(self, request: Request, invoice_id: str, item_id: str) -> Response:
        """Remove a line from a draft; everything after it is computed again."""
        invoice = get_visible_invoice(self.principal, invoice_id)
        # A line that is split by cost center is shown as its parts; any of them names it.
        key, part = InvoiceLine.parse_id(item_id), InvoiceLineSplit.parse_id(item_id)
        if part is not None:
            key = InvoiceLineSplit.objects.filter(pk=part).values_list("line_id", flat=True).first()
        if key is None:
            raise NotFound("line_item")
        remove_line(invoice_id=invoice.pk, line_id=key, **self._now(invoice))
        return self._answer(invoice)

    @extend_schema(request=InvoiceDiscountInput, responses=InvoiceSerializer)
    def discount(self, request: Request, invoice_id: str) -> Response:
        """Put a discount on a draft in place of an earlier one; it never takes more than the subtotal."""
        body = InvoiceDiscountInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        invoice = get_visible_invoice(self.principal, invoice_id)
        if amount := data.get("discount_amount"):
            apply_discount(
                invoice_id=invoice.pk, amount_off=amount, name=data.get("discount_name", ""), **self._now(invoice)
            )
        else:
            code = data.get("coupon_id") or data["coupon_code"]
            apply_coupon(invoice_id=invoice.pk, code=code, name=data.get("discount_name", ""), **self._now(invoice))
        return self._answer(invoice)

    @extend_schema(parameters=[TaxPlaceQuery], request=None, responses=TaxResultSerializer)
    def calculate_tax(self, request: Request, invoice_id: str) -> Response:
        """
        Work out the tax of a draft at an address and put it on the draft; no matching rate is no tax.

        Rates are by country and state: postal code and city are taken, but no rate asks for them.
        """
        query = TaxPlaceQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        place = query.validated_data
        invoice = get_visible_invoice(self.principal, invoice_id)
        calculate_tax(
            invoice_id=invoice.pk, country=place["country"], state=place.get("state", ""), **self._now(invoice)
        )
        return Response(TaxResultSerializer(get_visible_invoice(self.principal, invoice.public_id)).data)

    def _now(self, invoice: Invoice) -> dict[str, Any]:
        return {"at": clock.now(invoice.account), "actor": self.actor}

    def _answer(self, invoice: Invoice) -> Response:
        return Response(InvoiceSerializer(get_visible_invoice(self.principal, invoice.public_id)).data)
