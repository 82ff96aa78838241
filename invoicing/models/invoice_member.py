"""The subscriptions of an invoice that bills several."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q

from accounts.models import Subscription, SubscriptionDiscount
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger
from invoicing.models.invoice import Invoice


def _refuse(rule: str, message: str) -> str:
    return (
        "RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        f"MESSAGE = '{message}', TABLE = 'invoice_members', CONSTRAINT = 'invoice_members_{rule}';"
    )


# A member may lose its claim when the invoice is void, and the month of its discount while it is a draft.
_FIXED = _refuse("fixed", "what an invoice bills is fixed")
MEMBER_TRIGGERS = [
    IndexScanTrigger(
        name="added_to_drafts",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Statement,
        referencing=pgtrigger.Referencing(new="added"),
        func=f"""
            IF EXISTS (
                SELECT FROM added JOIN invoices ON invoices.id = added.invoice_id AND invoices.status <> 'draft'
            ) THEN
                {_refuse("added_to_drafts", "an issued invoice takes no further subscription")}
            END IF;
            IF EXISTS (
                SELECT FROM added CROSS JOIN LATERAL (
                    SELECT 1 FROM invoices WHERE invoices.subscription_id = added.subscription_id
                        AND invoices.boundary = added.boundary AND invoices.status <> 'void' OFFSET 0
                ) AS other WHERE NOT added.is_reversed
            ) THEN
                {_refuse("period_billed_once", "this boundary of the subscription is billed alone already")}
            END IF;
            RETURN NULL;
        """,  # noqa: S608 - constants only
    ),
    IndexScanTrigger(
        name="fixed",
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        level=pgtrigger.Row,
        declare=[("parent_status", "text")],
        func=f"""
            SELECT status INTO parent_status FROM invoices WHERE id = OLD.invoice_id;
            IF (to_jsonb(OLD) - ARRAY['is_reversed', 'discount_id'])
                IS DISTINCT FROM (to_jsonb(NEW) - ARRAY['is_reversed', 'discount_id'])
                OR (OLD.is_reversed AND NOT NEW.is_reversed)
                OR (NEW.is_reversed AND NOT OLD.is_reversed AND parent_status <> 'void')
                OR (OLD.discount_id IS DISTINCT FROM NEW.discount_id AND parent_status <> 'draft') THEN
                {_FIXED}
            END IF;
            RETURN NEW;
        """,  # noqa: S608 - constants only
    ),
    StrictTrigger(
        name="not_deleted",
        when=pgtrigger.Before,
        operation=pgtrigger.Delete,
        level=pgtrigger.Row,
        func=_refuse("not_deleted", "a subscription stays on its invoice"),
    ),
    StrictTrigger(
        name="no_truncate",
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        level=pgtrigger.Statement,
        func=_refuse("no_truncate", "invoice_members cannot be truncated"),
    ),
]


class InvoiceMember(Identified):
    """
    One of the subscriptions that an invoice bills together, with the boundary that is settled for it.

    An invoice for one subscription names it itself and has no such row. `discount` is the one of which the invoice used
    a month for this subscription. A boundary stands on one invoice; `is_reversed` frees it when that is void.
    Source: ADR 0047.
    """

    id_prefix = "im"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="members", db_index=False)
    position = models.PositiveSmallIntegerField()
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="+")
    boundary = models.IntegerField()
    discount = models.ForeignKey(
        SubscriptionDiscount, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    is_reversed = models.BooleanField(default=False)

    class Meta:
        db_table = "invoice_members"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_members_position_once"),
            models.UniqueConstraint(fields=["invoice", "subscription"], name="invoice_members_subscription_once"),
            models.UniqueConstraint(
                fields=["subscription", "boundary"],
                condition=Q(is_reversed=False),
                name="invoice_members_period_billed_once",
            ),
        ]
        triggers = MEMBER_TRIGGERS

    def __str__(self) -> str:
        return f"{self.subscription_id} at boundary {self.boundary}"
