"""Published catalog documents and the drafts that finance staff edit."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q

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
    PUBLISHED = "published"
    DISCARDED = "discarded"


class CatalogDraft(Identified, Timestamped):
    """A document being edited. Publishing it makes a new revision and closes the draft."""

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

    class Meta:
        db_table = "catalog_drafts"
        ordering = ["-id"]
        permissions = [
            ("publish_catalogdraft", "Can publish a catalog draft"),
            ("discard_catalogdraft", "Can discard a catalog draft"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="published", published_revision__isnull=False)
                | (~Q(status="published") & Q(published_revision__isnull=True)),
                name="catalog_drafts_published_has_revision",
            ),
        ]

    def __str__(self) -> str:
        return self.title
