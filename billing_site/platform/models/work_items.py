"""Work items: what is abnormal and waits for an operator, and what became of it."""

from __future__ import annotations

from typing import ClassVar, Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import StrictTrigger

_TABLE: Final = "work_items"


def _refuse(what: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        f"MESSAGE = format('{what}: %s refused', TG_OP), TABLE = '{_TABLE}', CONSTRAINT = '{_TABLE}_kept';"
    )


class WorkItemStatus(models.TextChoices):
    OPEN = "open"
    DONE = "done"
    DISMISSED = "dismissed"


class WorkItemSeverity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


# What may follow what; an end is final: what happens again is another item.
WORK_ITEM_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    WorkItemStatus.OPEN: frozenset({WorkItemStatus.DONE, WorkItemStatus.DISMISSED}),
    WorkItemStatus.DONE: frozenset(),
    WorkItemStatus.DISMISSED: frozenset(),
}


class WorkItem(Identified):
    """
    One abnormal thing that somebody must look at, told once while it is open.

    `kind` is a registered kind, `subject_type` and `subject_id` (a public id, or that of something outside) what it is
    about. A repeat while it is open is counted in `occurrences` and seen at `last_seen_at`. `data` is plain JSON for
    the kind's actions and for people; no secrets. `closed_by` is an actor as text.
    """

    id_prefix: ClassVar[str] = "wi"

    kind = models.CharField(max_length=60)
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=100)
    account_id = models.UUIDField(null=True, blank=True)
    title = models.CharField(max_length=255)
    detail = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict, blank=True)
    severity = models.CharField(max_length=8, choices=WorkItemSeverity, default=WorkItemSeverity.WARNING)
    status = models.CharField(max_length=9, choices=WorkItemStatus, default=WorkItemStatus.OPEN)
    opened_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    occurrences = models.PositiveIntegerField(default=1)
    closed_by = models.CharField(max_length=266, blank=True, default="")
    closed_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True, default="")

    class Meta:
        db_table = _TABLE
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="open", closed_by="", closed_at__isnull=True)
                | (~Q(status="open") & ~Q(closed_by="") & Q(closed_at__isnull=False)),
                name="work_items_closed_by_status",
            ),
            models.CheckConstraint(condition=~Q(subject_id="") & ~Q(kind=""), name="work_items_have_a_subject"),
            models.CheckConstraint(condition=Q(occurrences__gt=0), name="work_items_occurred"),
            models.CheckConstraint(condition=Q(last_seen_at__gte=F("opened_at")), name="work_items_seen_later"),
            models.UniqueConstraint(
                fields=["kind", "subject_id"], condition=Q(status="open"), name="work_items_one_open"
            ),
        ]
        indexes = [
            models.Index(fields=["-id"], condition=Q(status="open"), name="work_items_waiting"),  # the inbox
            models.Index(fields=["subject_id", "-id"], name="work_items_subject"),  # the items about one object
            models.Index(fields=["account_id", "-id"], name="work_items_account"),  # those of an account
        ]
        triggers = [
            StrictTrigger(
                name="begins_open",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                level=pgtrigger.Row,
                func=f"IF NEW.status <> 'open' THEN {_refuse('a work item begins open')} END IF; RETURN NEW;",
            ),
            StrictTrigger(
                name="closed_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                level=pgtrigger.Row,
                func=f"""
                IF OLD.status <> 'open' OR (OLD.kind, OLD.subject_type, OLD.subject_id, OLD.opened_at)
                    IS DISTINCT FROM (NEW.kind, NEW.subject_type, NEW.subject_id, NEW.opened_at)
                THEN {_refuse("a work item is closed once and stays about the same")} END IF;
                RETURN NEW;
                """,
            ),
            StrictTrigger(
                name="keep_rows",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete,
                level=pgtrigger.Row,
                func=_refuse("work items are kept"),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.status == WorkItemStatus.OPEN

    def can_become(self, status: str) -> bool:
        """Tell whether the table above allows the step."""
        return status in WORK_ITEM_TRANSITIONS[self.status]
