"""How the amount of a line is split by cost center: written with the line, fixed with the document."""

from __future__ import annotations

import pgtrigger
from django.db import models

from accounts.models import CostCenter
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger
from invoicing.models.invoice import InvoiceLine


def _refuse(rule: str, what: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = '{what}', "
        f"TABLE = 'invoice_line_splits', CONSTRAINT = 'invoice_line_splits_{rule}';"
    )


_ISSUED = _refuse("issued_immutable", "the split of an issued line cannot change")


def _require_draft(row: str) -> str:
    return f"""
        IF EXISTS (
            SELECT FROM invoice_lines line JOIN invoices invoice ON invoice.id = line.invoice_id
            WHERE line.id = {row}.line_id AND invoice.status <> 'draft'
        ) THEN
            {_ISSUED}
        END IF;
        RETURN {row};
    """


SPLIT_TRIGGERS = [
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
        func=_refuse("immutable", "a split is written once; remove it and write another"),
    ),
    StrictTrigger(
        name="no_truncate",
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        level=pgtrigger.Statement,
        func=_refuse("no_truncate", "invoice_line_splits cannot be truncated"),
    ),
    # All parts of a line are written by one statement.
    IndexScanTrigger(
        name="adds_up",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Statement,
        referencing=pgtrigger.Referencing(new="written"),
        func=f"""
            IF EXISTS (
                SELECT FROM (SELECT DISTINCT line_id FROM written) AS touched
                JOIN invoice_lines line ON line.id = touched.line_id
                WHERE line.amount <> (SELECT sum(amount) FROM invoice_line_splits WHERE line_id = line.id)
            ) THEN
                {_refuse("adds_up", "the parts of a line must sum to its amount")}
            END IF;
            RETURN NULL;
        """,  # noqa: S608 - constants only
    ),
]


class InvoiceLineSplit(Identified):
    """
    The part of one cost center in a line, or of usage without one; the parts of a line sum to its amount.

    `amount` is minor units of the line's currency, before discounts like the line's; `code` and `name` are the center's
    when the invoice was made. The line alone claims its period. Source: contract chapter Cost centers; ADR 0024.
    """

    id_prefix = "ils"

    line = models.ForeignKey(InvoiceLine, on_delete=models.CASCADE, related_name="splits", db_index=False)
    position = models.PositiveIntegerField()
    cost_center = models.ForeignKey(
        CostCenter, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    code = models.CharField(max_length=100, blank=True)
    name = models.CharField(max_length=255, blank=True)
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    amount = models.BigIntegerField()

    class Meta:
        db_table = "invoice_line_splits"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["line", "position"], name="invoice_line_splits_position_once"),
            models.UniqueConstraint(
                fields=["line", "cost_center"], nulls_distinct=False, name="invoice_line_splits_center_once"
            ),
        ]
        indexes = [
            # Whether a center that is to be removed was ever invoiced.
            models.Index(fields=["cost_center"], name="invoice_line_splits_center"),
        ]
        triggers = SPLIT_TRIGGERS

    def __str__(self) -> str:
        return self.name or "Without a cost center"
