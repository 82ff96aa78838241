"""The catalog document: read it, replace it, look at what was published before and bring it back."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Final

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, NotFound
from catalog.api.conditional import find_unchanged, read_if_match, tag_response
from catalog.api.organizations import find_org
from catalog.api.serializers.history import CompareQuery, ComparisonSerializer, RepublishInput, RevisionSerializer
from catalog.api.serializers.revision import (
    CatalogDocumentSerializer,
    CatalogQuery,
    PublishQuery,
    render_dry_run,
    render_revision,
)
from catalog.documents.content import canonical_json
from catalog.documents.schema import build_schema
from catalog.models import CatalogRevision
from catalog.queries.revisions import CatalogEmpty, get_revision, list_revisions
from catalog.services.documents import CatalogContainsSecret, CatalogInvalid
from catalog.services.publishing import RevisionConflict, preview_document, publish_document
from catalog.services.revisions import compare_revisions, republish_revision

_REVALIDATE: Final = "private, no-cache"
_IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The revision this document was made from, as its ETag."
)


class CatalogView(BillingAPIView):
    """The active catalog document of the caller's organization."""

    scopes = {"get": internal("billing:catalog:read"), "put": internal("billing:catalog:write")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "get": [CatalogEmpty, "not_found"],
        "put": [CatalogInvalid, CatalogContainsSecret, RevisionConflict],
    }
    operation_ids = {"get": "catalog_get", "put": "catalog_put"}

    @extend_schema(parameters=[CatalogQuery], responses=CatalogDocumentSerializer)
    def get(self, request: Request) -> HttpResponseBase:
        """Read the active catalog document, or an older revision. Its ETag is the revision."""
        query = query_serializer(CatalogQuery, request)
        revision = get_revision(org_id=find_org(self.principal), number=query.get("revision"))
        etag = _etag_of(revision)
        response = find_unchanged(request, etag) or Response(render_revision(revision))
        tag_response(response, etag=etag, cache_control=_REVALIDATE)
        return response

    @extend_schema(
        parameters=[PublishQuery, _IF_MATCH], request=CatalogDocumentSerializer, responses=CatalogDocumentSerializer
    )
    def put(self, request: Request) -> Response:
        """
        Replace the active catalog document: all of it, or nothing.

        Every finding is answered at once. An identical document keeps the revision. With `dry_run` nothing is written
        and the answer says what would change.
        """
        dry_run = query_serializer(PublishQuery, request)["dry_run"]
        org_id, if_match = find_org(self.principal), read_if_match(request)
        if dry_run:
            preview = preview_document(org_id=org_id, document=request.data, if_match=if_match)
            document = preview.content.as_document()
            return Response(render_dry_run(document, active=preview.active, difference=preview.difference))
        result = publish_document(
            org_id=org_id, document=request.data, at=clock.now(), actor=self.actor, if_match=if_match
        )
        response = Response(render_revision(result.revision))
        tag_response(response, etag=_etag_of(result.revision), cache_control="no-store")
        return response


class RevisionViewSet(BillingViewSet):
    """Everything the caller's organization published."""

    queryset = CatalogRevision.objects.none()
    serializer_class = RevisionSerializer
    scopes = {
        "list": internal("billing:catalog:read"),
        "compare": internal("billing:catalog:read"),
        "republish": internal("billing:catalog:write"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [],
        "compare": [CatalogEmpty, NotFound],
        "republish": [CatalogEmpty, NotFound, CatalogInvalid, CatalogContainsSecret, RevisionConflict],
    }
    operation_ids = {
        "list": "catalog_revision_list",
        "compare": "catalog_revision_compare",
        "republish": "catalog_revision_republish",
    }

    @extend_schema(responses=list_of(RevisionSerializer))
    def list(self, request: Request) -> Response:
        """List what was published, newest first, without the documents."""
        return self.page(list_revisions(org_id=find_org(self.principal)), RevisionSerializer)

    @extend_schema(parameters=[CompareQuery], responses=ComparisonSerializer)
    def compare(self, request: Request) -> Response:
        """Show what one revision changes against another, entry by entry."""
        query = query_serializer(CompareQuery, request)
        compared = compare_revisions(org_id=find_org(self.principal), old=query["from"], new=query.get("to"))
        numbers = {"old": compared.old.revision, "new": compared.new.revision}
        return Response({**numbers, "difference": compared.difference.as_dict()})

    @extend_schema(parameters=[_IF_MATCH], request=RepublishInput, responses={200: CatalogDocumentSerializer})
    def republish(self, request: Request, revision: str) -> Response:
        """
        Publish an older revision's document again, as a new revision.

        Subscriptions keep the plan versions they have. When the document is that of the active revision, it stays.
        """
        body = RepublishInput(data=request.data)
        body.is_valid(raise_exception=True)
        result = republish_revision(
            org_id=find_org(self.principal),
            number=_read_number(revision),
            reason=body.validated_data["reason"],
            at=clock.now(),
            actor=self.actor,
            if_match=read_if_match(request),
        )
        response = Response(render_revision(result.revision))
        tag_response(response, etag=_etag_of(result.revision), cache_control="no-store")
        return response


class CatalogSchemaView(BillingAPIView):
    """The JSON Schema of catalog documents."""

    scopes = {"get": internal("billing:catalog:read")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"get": []}
    operation_ids = {"get": "catalog_schema_get"}
    # Its keys are names that it refers to itself, so it has one spelling.
    renderer_classes = [JSONRenderer]

    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request) -> HttpResponseBase:
        """
        Read the JSON Schema (draft 2020-12) of catalog documents, to check one while it is written.

        It covers the structure; a dry run of publishing checks everything.
        """
        schema = build_schema()
        etag = f'"{hashlib.sha256(canonical_json(schema).encode()).hexdigest()[:32]}"'
        response = find_unchanged(request, etag) or Response(schema)
        tag_response(response, etag=etag, cache_control=_REVALIDATE)
        return response


def _read_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise NotFound("catalog_revision", f"There is no revision {text[:40]!r}.")
    return int(text)


def _etag_of(revision: CatalogRevision) -> str:
    return f'"{revision.revision}"'
