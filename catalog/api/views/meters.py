"""Meters: those of the catalog document and those made here."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import CurrencyUnsupported, DomainError
from catalog.api.organizations import find_org
from catalog.api.serializers.meter import MeterInput, MeterQuery, MeterSerializer
from catalog.models import Meter
from catalog.queries.meters import MeterNotFound, get_meter, list_meters
from catalog.services.meters import MeterExists, create_meter


class MeterViewSet(BillingViewSet):
    """What is counted."""

    queryset = Meter.objects.none()
    serializer_class = MeterSerializer
    scopes = {
        "list": internal("billing:catalog:read"),
        "create": internal("billing:catalog:write"),
        "retrieve": internal("billing:catalog:read"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [],
        "create": [MeterExists, CurrencyUnsupported],
        "retrieve": [MeterNotFound],
    }
    operation_ids = {"list": "meter_list", "create": "meter_create", "retrieve": "meter_get"}

    @extend_schema(parameters=[MeterQuery], responses=list_of(MeterSerializer))
    def list(self, request: Request) -> Response:
        """List meters."""
        query = query_serializer(MeterQuery, request)
        meters = list_meters(org_id=find_org(self.principal), event_name=query.get("event_name", ""))
        return self.page(meters, MeterSerializer)

    @extend_schema(request=MeterInput, responses={201: MeterSerializer})
    def create(self, request: Request) -> Response:
        """Define a meter. Publishing a catalog document does not retire it."""
        body = MeterInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        aggregation = values.pop("aggregation_type")
        meter = create_meter(
            **values,
            aggregation=aggregation,
            org_id=find_org(self.principal),
            at=clock.now(),
            actor=self.actor,
        )
        return Response(MeterSerializer(meter).data, status=201)

    @extend_schema(responses=MeterSerializer)
    def retrieve(self, request: Request, meter_id: str) -> Response:
        """Show one meter, by id or event name."""
        meter = get_meter(org_id=find_org(self.principal), reference=meter_id)
        return Response(MeterSerializer(meter).data)
