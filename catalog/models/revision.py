"""Published catalog documents and the drafts that finance staff edit."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q

from billing_site.platform.models.approvals import Approval
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import StrictTrigger

_TABLE = "catalog_revisions"
_REFUSAL = f"""
RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
    MESSAGE = format('%s keeps what was published: %s refused', TG_TABLE_NAME, TG_OP),
    TABLE = '{_TABLE}', CONSTRAINT = '{_TABLE}_immutable';
"""


class CatalogRevision(Identified):
    """One published document of an organization. Immutable; exactly one per organization is active."""

    id_prefix = "cat"

    org_id = models.CharField(max_length=100)
    revision = models.PositiveIntegerField()
    document = models.JSONField()
    document_hash = models.CharField(max_length=64)
    is_active = models.BooleanField(default=True)
    published_at = models.DateTimeField()
    published_by = models.CharField(max_length=255)
    reason = models.TextField(blank=True)

    class Meta:
        db_table = "catalog_revisions"
        ordering = ["-revision"]
        constraints = [
            models.UniqueConstraint(fields=["org_id", "revision"], name="catalog_revisions_number_once"),
            models.UniqueConstraint(
                fields=["org_id"], condition=Q(is_active=True), name="catalog_revisions_one_active"
            ),
        ]
        triggers = [
            StrictTrigger(
                name="only_is_active_changes",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                level=pgtrigger.Row,
                func=f"""
                IF to_jsonb(NEW) - 'is_active' IS DISTINCT FROM to_jsonb(OLD) - 'is_active' THEN {_REFUSAL} END IF;
                RETURN NEW;
                """,
            ),
            StrictTrigger(
                name="keep_rows", when=pgtrigger.Before, operation=pgtrigger.Delete, level=pgtrigger.Row, func=_REFUSAL
            ),
            StrictTrigger(
                name="keep_table",
                when=pgtrigger.Before,
                operation=pgtrigger.Truncate,
                level=pgtrigger.Statement,
                func=_REFUSAL,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} revision {self.revision}"


class DraftStatus(models.TextChoices):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    PUBLISHED = "published"
    DISCARDED = "discarded"


class CatalogDraft(Identified, Timestamped):
    """
    A document being edited. Publishing it makes a new revision and closes the draft.

    A submitted draft waits for a second person and cannot be edited; `approval` is the last request made for it and
    `submitted_hash` the hash of what its document said then. A rejected one is a draft again.
    """

    id_prefix = "cdr"

    org_id = models.CharField(max_length=100, default="default")
    title = models.CharField(max_length=200)
    document = models.JSONField()
    base_revision = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=DraftStatus, default=DraftStatus.DRAFT)
    created_by = models.CharField(max_length=255)
    published_revision = models.ForeignKey(
        CatalogRevision, null=True, blank=True, on_delete=models.PROTECT, related_name="drafts"
    )
    approval = models.ForeignKey(Approval, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    submitted_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        db_table = "catalog_drafts"
        ordering = ["-id"]
        permissions = [
            ("submit_catalogdraft", "Can submit a catalog draft for approval"),
            ("approve_catalog", "Can approve what becomes the catalog"),
            ("publish_catalogdraft", "Can publish a catalog draft"),
            ("discard_catalogdraft", "Can discard a catalog draft"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="published", published_revision__isnull=False)
                | (~Q(status="published") & Q(published_revision__isnull=True)),
                name="catalog_drafts_published_has_revision",
            ),
            models.CheckConstraint(
                condition=~Q(status="submitted") | (Q(approval__isnull=False) & ~Q(submitted_hash="")),
                name="catalog_drafts_submitted_has_request",
            ),
        ]
        triggers = [
            StrictTrigger(
                name="locked_unless_draft",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                level=pgtrigger.Row,
                func="""
                IF OLD.status <> 'draft' AND (NEW.document IS DISTINCT FROM OLD.document OR NEW.org_id <> OLD.org_id
                    OR NEW.base_revision IS DISTINCT FROM OLD.base_revision)
                THEN RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = format('a %s draft keeps its document: %s refused', OLD.status, TG_OP),
                    TABLE = 'catalog_drafts', CONSTRAINT = 'catalog_drafts_locked';
                END IF;
                RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return self.title
