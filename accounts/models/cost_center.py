"""Cost centers: an account's own tree of what its usage is spent on."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models.account import Account
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import StrictTrigger


def _refuse(message: str, constraint: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {message}, "
        f"TABLE = 'cost_centers', CONSTRAINT = '{constraint}';"
    )


_ACCOUNT_CHANGED = _refuse("format('cost center %s: its account cannot change', NEW.id)", "cost_centers_account_kept")
_FOREIGN_PARENT = _refuse(
    "format('cost center %s: the parent belongs to another account', NEW.id)", "cost_centers_parent_of_account"
)
_CYCLE = _refuse("format('cost center %s would be below itself', NEW.id)", "cost_centers_no_cycle")

COST_CENTER_TRIGGERS = [
    StrictTrigger(
        name="account_kept",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("account_id"),
        level=pgtrigger.Row,
        condition=pgtrigger.Q(old__account__df=pgtrigger.F("new__account")),
        func=_ACCOUNT_CHANGED,
    ),
    StrictTrigger(
        name="tree",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("parent_id"),
        level=pgtrigger.Row,
        condition=pgtrigger.Q(new__parent__isnull=False),
        func=f"""
            IF NOT EXISTS (SELECT FROM cost_centers WHERE id = NEW.parent_id AND account_id = NEW.account_id) THEN
                {_FOREIGN_PARENT}
            END IF;
            IF NEW.id IN (
                WITH RECURSIVE above(id, parent_id) AS (
                    SELECT id, parent_id FROM cost_centers WHERE id = NEW.parent_id
                    UNION SELECT up.id, up.parent_id FROM cost_centers up JOIN above ON up.id = above.parent_id
                ) SELECT id FROM above
            ) THEN
                {_CYCLE}
            END IF;
            RETURN NEW;
        """,  # noqa: S608 — constants only
    ),
]


class CostCenter(Identified, Timestamped):
    """
    One center. `budget` is minor units of `currency` per calendar month, None for no limit.

    The code names it in usage; it counts once per account, in any case.
    """

    id_prefix = "cc"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="cost_centers", db_index=False)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    name = models.CharField(max_length=255)
    code = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    budget = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3)
    is_active = models.BooleanField(default=True)

    class Meta:
        db_table = "cost_centers"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint("account", Lower("code"), name="cost_centers_code_once_per_account"),
            models.CheckConstraint(condition=~Q(code=""), name="cost_centers_code_given"),
            models.CheckConstraint(condition=~Q(name=""), name="cost_centers_name_given"),
            models.CheckConstraint(condition=Q(budget__gte=0), name="cost_centers_budget_not_negative"),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="cost_centers_newest"),  # the list and the tree of an account
        ]
        triggers = COST_CENTER_TRIGGERS

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"
