"""Coupons: define, look at, deactivate."""

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
from billing_site.kernel.errors import CurrencyUnsupported, DomainError, NotFound
from catalog.api.organizations import find_org
from catalog.api.serializers.coupon import CouponInput, CouponQuery, CouponSerializer
from catalog.models import Coupon
from catalog.queries.coupons import get_coupon, list_coupons
from catalog.queries.plans import PlanNotFound
from catalog.services.coupons import CouponCodeTaken, create_coupon, deactivate_coupon

READ = internal("billing:read")
WRITE = internal("billing:coupon:write")


class CouponViewSet(BillingViewSet):
    """Promotion codes."""

    queryset = Coupon.objects.none()
    serializer_class = CouponSerializer
    scopes = {"list": READ, "create": WRITE, "retrieve": READ, "deactivate": WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [],
        "create": [CouponCodeTaken, PlanNotFound, CurrencyUnsupported],
        "retrieve": [NotFound],
        "deactivate": [NotFound],
    }
    operation_ids = {
        "list": "coupon_list",
        "create": "coupon_create",
        "retrieve": "coupon_get",
        "deactivate": "coupon_deactivate",
    }

    @extend_schema(parameters=[CouponQuery], responses=list_of(CouponSerializer))
    def list(self, request: Request) -> Response:
        """List coupons."""
        query = query_serializer(CouponQuery, request)
        coupons = list_coupons(org_id=find_org(self.principal), active=query.get("active"), code=query.get("code", ""))
        return self.page(coupons, CouponSerializer)

    @extend_schema(request=CouponInput, responses={201: CouponSerializer})
    def create(self, request: Request) -> Response:
        """Define a promotion code. What it promises never changes; it can only be deactivated."""
        body = CouponInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = {**body.validated_data, "currency": body.validated_data.get("currency") or ""}
        coupon = create_coupon(**values, org_id=find_org(self.principal), at=clock.now(), actor=self.actor)
        return Response(CouponSerializer(coupon).data, status=201)

    @extend_schema(responses=CouponSerializer)
    def retrieve(self, request: Request, coupon_id: str) -> Response:
        """Show one coupon, by id or code."""
        return Response(CouponSerializer(get_coupon(org_id=find_org(self.principal), reference=coupon_id)).data)

    @extend_schema(request=None, responses=CouponSerializer)
    def deactivate(self, request: Request, coupon_id: str) -> Response:
        """Stop a coupon from being redeemed again. What was redeemed runs on; repeating it changes nothing."""
        org_id = find_org(self.principal)
        coupon = get_coupon(org_id=org_id, reference=coupon_id)
        if coupon.org_id != org_id:
            raise NotFound("coupon", "This coupon is shared with your organization; only its owner deactivates it.")
        stopped = deactivate_coupon(coupon_id=coupon.pk, at=clock.now(), actor=self.actor)
        return Response(CouponSerializer(stopped).data)
