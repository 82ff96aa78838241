"""Tax rates by place: list, add, end."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.bodies import DeletedSerializer
from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, NotFound
from catalog.api.organizations import find_org
from catalog.api.serializers.tax_rate import TaxRateInput, TaxRateQuery, TaxRateSerializer
from catalog.models import TaxRate
from catalog.queries.tax_rates import get_tax_rate, list_tax_rates
from catalog.services.tax_rates import create_tax_rate, end_tax_rate

WRITE = internal("billing:catalog:write")


class TaxRateViewSet(BillingViewSet):
    """What places ask for."""

    queryset = TaxRate.objects.none()
    serializer_class = TaxRateSerializer
    scopes = {"list": internal("billing:catalog:read"), "create": WRITE, "destroy": WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"list": [], "create": [], "destroy": [NotFound]}
    operation_ids = {"list": "tax_rate_list", "create": "tax_rate_create", "destroy": "tax_rate_delete"}

    @extend_schema(parameters=[TaxRateQuery], responses=list_of(TaxRateSerializer))
    def list(self, request: Request) -> Response:
        """List the tax rates that were not ended, past and coming ones included."""
        query = query_serializer(TaxRateQuery, request)
        rates = list_tax_rates(
            org_id=find_org(self.principal), country=query.get("country", ""), state=query.get("state", "")
        )
        return self.page(rates, TaxRateSerializer)

    @extend_schema(request=TaxRateInput, responses={201: TaxRateSerializer})
    def create(self, request: Request) -> Response:
        """Add a tax rate for a country or a state."""
        body = TaxRateInput(data=request.data)
        body.is_valid(raise_exception=True)
        rate = create_tax_rate(**body.validated_data, org_id=find_org(self.principal), at=clock.now(), actor=self.actor)
        return Response(TaxRateSerializer(rate).data, status=201)

    @extend_schema(responses={200: DeletedSerializer})
    def destroy(self, request: Request, tax_rate_id: str) -> Response:
        """End a tax rate today. Documents of earlier days, and issued ones, keep it."""
        rate = get_tax_rate(org_id=find_org(self.principal), reference=tax_rate_id)
        end_tax_rate(rate_id=rate.pk, at=clock.now(), actor=self.actor)
        return Response({"id": rate.public_id, "deleted": True})
