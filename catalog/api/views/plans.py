"""Plans on offer."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Final

from django.core.cache import cache
from django.db.models import Exists, OuterRef
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.pagination import build_page
from billing_site.api.params import query_serializer, query_values
from billing_site.api.permissions import BOTH_READ
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel.errors import CurrencyUnsupported, DomainError
from catalog.api.conditional import find_unchanged, tag_response
from catalog.api.organizations import OfferedCatalog, find_offered_catalog, find_org
from catalog.api.serializers.plan import PlanQuery, PlanSerializer
from catalog.models import Plan, Price
from catalog.queries.plans import PlanNotFound, get_plan, list_plans, read_listed_plan

_AN_HOUR: Final = 3600
_CACHE_CONTROL: Final = f"public, max-age={_AN_HOUR}"
DNS: Final = "dns"


class PlanViewSet(BillingViewSet):
    """The plans of the active catalog."""

    queryset = Plan.objects.none()
    serializer_class = PlanSerializer
    scopes = {"list": BOTH_READ, "list_dns": BOTH_READ, "retrieve": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [CurrencyUnsupported],
        "list_dns": [],
        "retrieve": [PlanNotFound],
    }
    operation_ids = {"list": "plan_list", "list_dns": "dns_plan_list", "retrieve": "plan_get"}

    @extend_schema(parameters=[PlanQuery], responses=list_of(PlanSerializer))
    def list(self, request: Request) -> HttpResponseBase:
        """
        List the plans on offer.

        The answer may be kept for an hour; its ETag changes with the catalog.
        """
        return self._answer(request, query_serializer(PlanQuery, request))

    @extend_schema(responses=list_of(PlanSerializer))
    def list_dns(self, request: Request) -> HttpResponseBase:
        """
        List the plans of the DNS product.

        The answer may be kept for an hour; its ETag changes with the catalog.
        """
        return self._answer(request, {"category": DNS, "include_inactive": False})

    def _answer(self, request: Request, query: dict[str, Any]) -> HttpResponseBase:
        catalog = find_offered_catalog(self.principal)
        style = "camel" if "camel" in (request.accepted_media_type or "") else "snake"
        state = catalog.state if catalog else "0"
        etag = f'"{state}-{self.principal.audience}-{style}"'
        response = find_unchanged(request, etag) or self._list(request, catalog, query)
        tag_response(response, etag=etag, cache_control=_CACHE_CONTROL)
        return response

    def _list(self, request: Request, catalog: OfferedCatalog | None, query: dict[str, Any]) -> Response:
        """Answer a page, kept in the cache: what it shows changes only with what its key names."""
        if catalog is None:
            return build_page(Plan.objects.none(), request, lambda plan: plan)
        page = {name: query_values(request).get(name) for name in ("cursor", "limit")}
        asked = json.dumps([catalog.state, self.principal.audience, query, page], sort_keys=True)
        key = f"catalog.plans:{hashlib.sha256(asked.encode()).hexdigest()}"
        body = cache.get(key)
        if body is None:
            body = self._read_page(request, catalog, query)
            cache.set(key, body, _AN_HOUR)
        return Response(body)

    def _read_page(self, request: Request, catalog: OfferedCatalog, query: dict[str, Any]) -> Any:
        everything = query["include_inactive"] and self.principal.is_internal
        plans = list_plans(catalog_org=catalog.owner, include_inactive=everything)
        if "category" in query:
            plans = plans.filter(current_version__category=query["category"])
        if "product" in query:
            plans = plans.filter(product__key=query["product"])
        if "currency" in query:
            priced = Price.objects.filter(plan_version=OuterRef("current_version"), currency=query["currency"])
            plans = plans.filter(Exists(priced))
        shown = PlanSerializer(
            context={"currency": query.get("currency"), "show_all_prices": self.principal.is_internal}
        )

        def render(plan: Any) -> dict[str, Any]:
            return shown.to_representation(read_listed_plan(plan))

        return build_page(plans, request, render).data

    @extend_schema(responses=PlanSerializer)
    def retrieve(self, request: Request, plan_id: str) -> Response:
        """Show one plan by id. Ids are case-sensitive."""
        plan = get_plan(org_id=find_org(self.principal), key=plan_id)
        return Response(PlanSerializer(plan, context={"show_all_prices": self.principal.is_internal}).data)
