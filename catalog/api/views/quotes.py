"""What a price would charge, before anybody publishes it."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel.errors import DomainError
from catalog.api.serializers.quote import QuoteRequestSerializer, QuoteSerializer
from catalog.services.quotes import quote_request, quote_requests


def _one_or_more(name: str, serializer: type[Any]) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        component_name=name,
        serializers=[serializer, serializer(many=True)],
        resource_type_field_name=None,
        many=False,
    )


class PriceQuoteView(BillingAPIView):
    """The pricing engine, asked directly."""

    scopes = {"post": internal("billing:catalog:read")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": []}
    operation_ids = {"post": "price_quote"}

    @extend_schema(
        request=_one_or_more("PriceQuoteBody", QuoteRequestSerializer),
        responses={200: _one_or_more("PriceQuoteAnswer", QuoteSerializer)},
    )
    def post(self, request: Request) -> Response:
        """
        Price a quantity or events at a price written as in a catalog document. Nothing is stored.

        A list is answered by a list in the same order, all of it or nothing; every finding is answered at once.
        """
        body: Any = request.data
        if isinstance(body, list):
            return Response([quoted.as_dict() for quoted in quote_requests(body)])
        return Response(quote_request(body).as_dict())
