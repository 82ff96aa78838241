"""Published catalog documents, to read and compare."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import badge, timestamp_display
from billing_site.backoffice.history import timeline_display
from catalog.admin.comparisons import compare_contents, document_display, render_comparison
from catalog.documents.normalising import read_valid_document
from catalog.models import CatalogRevision


@admin.register(CatalogRevision)
class CatalogRevisionAdmin(BackOfficeAdmin):
    """Every document that was published. To change the catalog, publish a draft."""

    financial = True
    nav_order = 20
    nav_title = "Published catalogs"
    empty_title = "Nothing published yet"
    empty_text = "Write a catalog draft and publish it, or send a document through the API."
    list_display = ("title", "state", "published", "published_by", "reason")
    list_filter = ("org_id", "is_active")
    search_fields = ("=revision", "published_by", "reason")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("title", "state"),
                    ("published", "published_by"),
                    "reason",
                    "public_id",
                    "document_hash",
                )
            },
        ),
        ("Changes to the revision before", {"fields": ("changes",)}),
        ("Document", {"fields": ("shown_document",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("title", "state", "published", "public_id", "changes", "shown_document", "timeline")
    published = timestamp_display("published_at", zone="timezone", description="Published")
    shown_document = document_display()
    timeline = timeline_display()

    class Media:
        css = {"all": ("backoffice/catalog.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogRevision]:
        rows: QuerySet[CatalogRevision] = super().get_queryset(request)
        match = request.resolver_match
        return rows.defer("document") if match and (match.url_name or "").endswith("_changelist") else rows

    @admin.display(description="Revision", ordering="revision")
    def title(self, revision: CatalogRevision) -> str:
        return str(revision)

    @admin.display(description="State", ordering="is_active")
    def state(self, revision: CatalogRevision) -> SafeString:
        return badge("active", "good") if revision.is_active else badge("replaced")

    @admin.display(description="Changes")
    def changes(self, revision: CatalogRevision) -> SafeString:
        before = CatalogRevision.objects.filter(org_id=revision.org_id, revision=revision.revision - 1).first()
        comparison = compare_contents(
            None if before is None else read_valid_document(before.document), read_valid_document(revision.document)
        )
        return render_comparison(
            comparison,
            before=f"Revision {before.revision}" if before else "Before",
            after=f"Revision {revision.revision}",
            nothing="The same, written in another order.",
        )
