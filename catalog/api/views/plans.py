"""Plans on offer."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import Exists, OuterRef
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel.errors import DomainError
from catalog.api.conditional import find_unchanged, tag_response
from catalog.api.organizations import find_org
from catalog.api.serializers.plan import PlanQuery, PlanSerializer
from catalog.models import Plan, Price
from catalog.queries.plans import PlanNotFound, get_plan, list_plans
from catalog.queries.revisions import find_applicable_revision

_AN_HOUR: Final = "public, max-age=3600"


class PlanViewSet(BillingViewSet):
    """The plans of the active catalog."""

    queryset = Plan.objects.none()
    serializer_class = PlanSerializer
    scopes = {"list": BOTH_READ, "retrieve": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"list": [], "retrieve": [PlanNotFound]}
    operation_ids = {"list": "plan_list", "retrieve": "plan_get"}

    @extend_schema(parameters=[PlanQuery], responses=list_of(PlanSerializer))
    def list(self, request: Request) -> HttpResponseBase:
        """
        List the plans on offer.

        The answer may be kept for an hour; its ETag changes with the catalog's revision.
        """
        query = query_serializer(PlanQuery, request)
        org_id = find_org(self.principal)
        revision = find_applicable_revision(org_id=org_id)
        owner, number = (revision.org_id, revision.revision) if revision else (org_id, 0)
        etag = f'"{owner}-{number}-{self.principal.audience}"'
        response = find_unchanged(request, etag) or self._list(owner, query)
        tag_response(response, etag=etag, cache_control=_AN_HOUR)
        return response

    def _list(self, owner: str, query: dict[str, Any]) -> Response:
        everything = query["include_inactive"] and self.principal.is_internal
        plans = list_plans(catalog_org=owner, include_inactive=everything)
        if "category" in query:
            plans = plans.filter(current_version__category=query["category"])
        if "product" in query:
            plans = plans.filter(product__key=query["product"])
        if "currency" in query:
            priced = Price.objects.filter(plan_version=OuterRef("current_version"), currency=query["currency"])
            plans = plans.filter(Exists(priced))
        return self.page(
            plans, PlanSerializer, currency=query.get("currency"), show_all_prices=self.principal.is_internal
        )

    @extend_schema(responses=PlanSerializer)
    def retrieve(self, request: Request, plan_id: str) -> Response:
        """Show one plan by id. Ids are case-sensitive."""
        plan = get_plan(org_id=find_org(self.principal), key=plan_id)
        return Response(PlanSerializer(plan, context={"show_all_prices": self.principal.is_internal}).data)
