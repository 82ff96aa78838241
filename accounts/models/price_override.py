"""Negotiated prices: what one account pays instead of a plan's price."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import StrictTrigger
from catalog.models import AMOUNT_MODELS, PriceModel

# What was agreed stays; only the end may be set or brought forward.
_FIXED = """
IF TG_OP = 'DELETE' OR (to_jsonb(OLD) - ARRAY['effective_until', 'ended_by', 'end_reason', 'updated_at'])
    IS DISTINCT FROM (to_jsonb(NEW) - ARRAY['effective_until', 'ended_by', 'end_reason', 'updated_at']) THEN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a negotiated price is ended, never changed',
        TABLE = 'price_overrides', CONSTRAINT = 'price_overrides_fixed';
END IF;
RETURN NEW;
"""


class PriceOverride(Identified, Timestamped):
    """
    What an account pays for one price of a plan, named by its lookup key, whatever version of the plan it is on.

    In force for billing periods that start in `[effective_from, effective_until)`. `unit_amount` and `options` are what
    a price has: exact minor units of the price's currency.
    """

    id_prefix = "pov"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="price_overrides")
    lookup_key = models.CharField(max_length=250)
    model = models.CharField(max_length=20, choices=PriceModel)
    unit_amount = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    options = models.JSONField(default=dict, blank=True)
    effective_from = models.DateTimeField()
    effective_until = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500)
    created_by = models.CharField(max_length=255)
    ended_by = models.CharField(max_length=255, blank=True)
    end_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "price_overrides"
        ordering = ["-effective_from", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "lookup_key"],
                condition=Q(effective_until__isnull=True),
                name="price_overrides_one_open_end",
            ),
            # An override ended before it began was never in force.
            models.CheckConstraint(
                condition=Q(effective_until__isnull=True) | Q(effective_until__gte=F("effective_from")),
                name="price_overrides_dates_in_order",
            ),
            models.CheckConstraint(
                condition=~Q(model__in=AMOUNT_MODELS) | Q(unit_amount__isnull=False),
                name="price_overrides_amount_given",
            ),
            models.CheckConstraint(
                condition=Q(unit_amount__isnull=True) | Q(unit_amount__gte=0),
                name="price_overrides_amount_not_negative",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="price_overrides_reason_given"),
        ]
        triggers = [
            StrictTrigger(
                name="fixed",
                when=pgtrigger.Before,
                operation=pgtrigger.Update | pgtrigger.Delete,
                level=pgtrigger.Row,
                func=_FIXED,
            )
        ]

    def __str__(self) -> str:
        return self.lookup_key
