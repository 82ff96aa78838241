"""What a catalog document would do to whom, before it is published."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from catalog.services.documents import CatalogContainsSecret, CatalogInvalid
from invoicing.api.organizations import choose_org
from invoicing.api.previews import render_impact
from invoicing.api.serializers.plan_moves import CatalogImpactSerializer, ImpactQuery
from invoicing.queries.impact import preview_document_impact


class CatalogImpactView(BillingAPIView):
    """Nothing is written, so a repeat is computed anew instead of being answered as before."""

    idempotency = "own"
    scopes = {"post": internal("billing:catalog:read")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [CatalogInvalid, CatalogContainsSecret]}
    operation_ids = {"post": "catalog_impact"}

    @extend_schema(
        parameters=[ImpactQuery],
        request={"application/json": {"$ref": "#/components/schemas/CatalogDocumentRequest"}},
        responses=CatalogImpactSerializer,
    )
    def post(self, request: Request) -> Response:
        """
        Say what a catalog document would change, and for whom. An addition to the contract.

        Publishing moves nobody. The amounts say what moving the running subscriptions to the new versions with their
        next period would change, computed by the code that bills: so that a price change is decided on numbers.
        """
        query = query_serializer(ImpactQuery, request)
        org_id = choose_org(self.principal, query.get("org_id"), pointer="org_id")
        impact = preview_document_impact(
            org_id=org_id, document=request.data, at=clock.now(), accounts_of=self.principal.org
        )
        return Response(CatalogImpactSerializer(render_impact(impact, limit=query["limit"])).data)
