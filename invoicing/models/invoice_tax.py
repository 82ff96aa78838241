"""Tax on an invoice, a row for each rate: written with the document, fixed with it."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q

from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger
from catalog.models import TaxRate
from invoicing.models.invoice import Invoice


def _refuse(rule: str, what: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = '{what}', "
        f"TABLE = 'invoice_taxes', CONSTRAINT = 'invoice_taxes_{rule}';"
    )


def _require_draft(row: str) -> str:
    return f"""
        IF EXISTS (SELECT FROM invoices WHERE id = {row}.invoice_id AND status <> 'draft') THEN
            {_refuse("issued_immutable", "the tax of an issued invoice cannot change")}
        END IF;
        RETURN {row};
    """


TAX_TRIGGERS = [
    IndexScanTrigger(
        name="draft_only",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        level=pgtrigger.Row,
        func=_require_draft("NEW"),
    ),
    IndexScanTrigger(
        name="issued_not_deleted",
        when=pgtrigger.Before,
        operation=pgtrigger.Delete,
        level=pgtrigger.Row,
        func=_require_draft("OLD"),
    ),
    StrictTrigger(
        name="immutable",
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        level=pgtrigger.Row,
        func=_refuse("immutable", "a tax line is written once; remove it and write another"),
    ),
    StrictTrigger(
        name="no_truncate",
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        level=pgtrigger.Statement,
        func=_refuse("no_truncate", "invoice_taxes cannot be truncated"),
    ),
]


class InvoiceTax(Identified):
    """
    What one rate comes to on an invoice: `amount` on `base`, minor units of the invoice's currency.

    `base` is without any tax, after discounts. `rate` is a fraction; name, place and note are as they were when the
    invoice was made. `tax_rate` is null for a rate of zero that has a reason instead, told in `note`. Number `position`
    is the one by which `InvoiceLine.tax_shares` counts. Source: contract chapter Tax; ADR 0038.
    """

    id_prefix = "itx"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="taxes", db_index=False)
    position = models.PositiveSmallIntegerField()
    tax_rate = models.ForeignKey(
        TaxRate, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    name = models.CharField(max_length=255)
    rate = models.DecimalField(max_digits=13, decimal_places=12)
    inclusive = models.BooleanField(default=False)
    jurisdiction = models.CharField(max_length=103, blank=True)
    base = models.BigIntegerField()
    amount = models.BigIntegerField()
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        db_table = "invoice_taxes"
        verbose_name_plural = "invoice taxes"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_taxes_position_once"),
            models.CheckConstraint(condition=Q(rate__gte=0, rate__lte=1), name="invoice_taxes_rate_is_fraction"),
            models.CheckConstraint(condition=~Q(rate=0) | Q(amount=0), name="invoice_taxes_zero_rate_is_zero"),
        ]
        indexes = [
            # Whether a rate that is to be removed was ever invoiced.
            models.Index(fields=["tax_rate"], name="invoice_taxes_rate", condition=Q(tax_rate__isnull=False)),
        ]
        triggers = TAX_TRIGGERS

    def __str__(self) -> str:
        return self.name
