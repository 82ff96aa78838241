"""What this installation offers."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.permissions import BOTH_READ
from billing_site.api.views import BillingAPIView
from billing_site.kernel.errors import DomainError
from catalog.api.capabilities import describe_capabilities
from catalog.api.organizations import find_org
from catalog.api.serializers.capabilities import CapabilitiesSerializer


class CapabilitiesView(BillingAPIView):
    """Payment methods, currencies, features and price models."""

    scopes = {"get": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"get": []}
    operation_ids = {"get": "capabilities_get"}

    @extend_schema(responses=CapabilitiesSerializer)
    def get(self, request: Request) -> Response:
        """Say which payment methods, currencies, features and price models this installation offers."""
        return Response(CapabilitiesSerializer(describe_capabilities(org_id=find_org(self.principal))).data)
