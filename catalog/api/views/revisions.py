"""The catalog document: read it, replace it."""

from __future__ import annotations

from typing import ClassVar, Final

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from catalog.api.conditional import find_unchanged, read_if_match, tag_response
from catalog.api.organizations import find_org
from catalog.api.serializers.revision import (
    CatalogDocumentSerializer,
    CatalogQuery,
    PublishQuery,
    render_dry_run,
    render_revision,
)
from catalog.models import CatalogRevision
from catalog.queries.revisions import CatalogEmpty, get_revision
from catalog.services.documents import CatalogContainsSecret, CatalogInvalid
from catalog.services.publishing import RevisionConflict, preview_document, publish_document

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


def _etag_of(revision: CatalogRevision) -> str:
    return f'"{revision.revision}"'
