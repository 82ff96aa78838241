"""Cost centers: make, list, show, replace, remove."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.cost_centers import (
    AllocationQuery,
    CostAllocationSerializer,
    CostCenterCreateInput,
    CostCenterQuery,
    CostCenterReplaceInput,
    CostCenterSerializer,
)
from accounts.models import CostCenter
from accounts.queries.access import resolve_account
from accounts.queries.cost_centers import get_cost_center, list_cost_centers
from accounts.services.cost_centers import (
    CostCenterCodeTaken,
    CostCenterInUse,
    create_cost_center,
    delete_cost_center,
    update_cost_center,
)
from billing_site.api.bodies import DeletedSerializer
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    CurrencyUnsupported,
    DomainError,
    InvalidState,
    NotFound,
    PeriodNotValid,
    ValidationFailed,
)
from invoicing.queries.allocation import allocate_costs, choose_allocation_period

_WRITE = both("billing:cost-center:write")


class CostCenterViewSet(BillingViewSet):
    """What an account spends its usage on."""

    queryset = CostCenter.objects.none()
    serializer_class = CostCenterSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": _WRITE,
        "list": BOTH_READ,
        "retrieve": BOTH_READ,
        "update": _WRITE,
        "destroy": _WRITE,
        "allocation": BOTH_READ,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [
            *(AccountForbidden, AccountRequired, NotFound),
            *(CostCenterCodeTaken, CurrencyUnsupported, InvalidState),
        ],
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
        "update": [AccountForbidden, NotFound, CostCenterCodeTaken, CurrencyUnsupported],
        "destroy": [AccountForbidden, NotFound, CostCenterInUse],
        "allocation": [AccountForbidden, NotFound, PeriodNotValid],
    }
    operation_ids = {
        "create": "cost_center_create",
        "list": "cost_center_list",
        "retrieve": "cost_center_get",
        "update": "cost_center_update",
        "destroy": "cost_center_delete",
        "allocation": "cost_center_allocation",
    }

    @extend_schema(request=CostCenterCreateInput, responses={201: CostCenterSerializer})
    def create(self, request: Request) -> Response:
        """Define a cost center of an account."""
        body = CostCenterCreateInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request), write=True)
        values = {name: value for name, value in body.validated_data.items() if name != "account"}
        center = create_cost_center(account=account, **values, at=clock.now(account), actor=self.actor)
        return Response(CostCenterSerializer(center).data, status=201)

    @extend_schema(parameters=[CostCenterQuery], responses=list_of(CostCenterSerializer))
    def list(self, request: Request, account_id: str) -> Response:
        """List the cost centers of an account, newest first."""
        account = resolve_account(self.principal, account_id)
        query = query_serializer(CostCenterQuery, request)
        parent_id = None
        if "parent_id" in query:
            parent_id = CostCenter.parse_id(query["parent_id"])
            if parent_id is None:
                raise ValidationFailed.of("parent_id", "invalid", "This is not the id of a cost center.")
        return self.page(
            list_cost_centers(account=account, active=query["active"], parent_id=parent_id), CostCenterSerializer
        )

    @extend_schema(responses=CostCenterSerializer)
    def retrieve(self, request: Request, cost_center_id: str) -> Response:
        """Show one cost center."""
        return Response(CostCenterSerializer(get_cost_center(self.principal, cost_center_id)).data)

    @extend_schema(request=CostCenterReplaceInput, responses=CostCenterSerializer)
    def update(self, request: Request, cost_center_id: str) -> Response:
        """Replace a cost center; another parent moves it with everything below it."""
        center = get_cost_center(self.principal, cost_center_id, write=True)
        body = CostCenterReplaceInput(data=request.data)
        body.is_valid(raise_exception=True)
        changes = {"description": "", "parent_id": None, "budget": None, **body.validated_data}
        changed = update_cost_center(
            center_id=center.pk, changes=changes, at=clock.now(center.account), actor=self.actor
        )
        return Response(CostCenterSerializer(changed).data)

    @extend_schema(responses={200: DeletedSerializer})
    def destroy(self, request: Request, cost_center_id: str) -> Response:
        """Remove a cost center without children and usage; others can be deactivated."""
        center = get_cost_center(self.principal, cost_center_id, write=True)
        delete_cost_center(center_id=center.pk, at=clock.now(center.account), actor=self.actor)
        return Response({"id": center.public_id, "deleted": True})

    @extend_schema(parameters=[AllocationQuery], responses=CostAllocationSerializer)
    def allocation(self, request: Request, account_id: str) -> Response:
        """
        Cost per cost center over a period.

        Usage counts when it happened, as billing rates it, after discounts and before tax; fees and what names no
        center are unallocated. The period defaults to the running billing period, else the calendar month.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(AllocationQuery, request)
        at = clock.now(account)
        period = choose_allocation_period(account, start=query.get("start"), end=query.get("end"), at=at)
        return Response(CostAllocationSerializer(allocate_costs(account=account, period=period, at=at)).data)
