"""Alerts about costs: ask for them, list them, put them to rest."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    AmountNotPositive,
    CurrencyUnsupported,
    DomainError,
    InvalidState,
    NotFound,
)
from metering.api.serializers.cost_alerts import (
    CostAlertInput,
    CostAlertQuery,
    CostAlertSerializer,
    SpendAlertChange,
    SpendAlertInput,
    SpendAlertQuery,
    SpendAlertSerializer,
)
from metering.models import CostAlert
from metering.queries.cost_alerts import get_cost_alert, list_cost_alerts, list_spend_alerts
from metering.services.cost_alerts import (
    BudgetMissing,
    create_cost_alert,
    create_spend_alert,
    delete_spend_alert,
    dismiss_cost_alert,
    update_spend_alert,
)

_WRITE = both("billing:alert:write")


class CostAlertViewSet(BillingViewSet):
    """Cost alerts of an account."""

    queryset = CostAlert.objects.none()
    serializer_class = CostAlertSerializer
    scopes: ClassVar[dict[str, Scopes]] = {"create": _WRITE, "list": BOTH_READ, "dismiss": _WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [AccountForbidden, AmountNotPositive, BudgetMissing, CurrencyUnsupported, InvalidState, NotFound],
        "list": [AccountForbidden, NotFound],
        "dismiss": [AccountForbidden, NotFound],
    }
    operation_ids = {"create": "cost_alert_create", "list": "cost_alert_list", "dismiss": "cost_alert_dismiss"}

    @extend_schema(request=CostAlertInput, responses={201: CostAlertSerializer})
    def create(self, request: Request, account_id: str) -> Response:
        """
        Ask to be told when a cost passes a threshold.

        absolute: the cost of the billing period; percentage_of_budget: the same, of what the active cost centers at
        the top may spend; daily_rate: the usage of the UTC day; anomaly: the same, of the mean of the seven days
        before.
        """
        account = resolve_account(self.principal, account_id, write=True)
        body = CostAlertInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = {**body.validated_data, "notify_email": body.validated_data.get("notify_email") or ""}
        at = clock.now(account)
        alert = create_cost_alert(account=account, **values, at=at, actor=self.actor)
        return Response(CostAlertSerializer(alert, context={"at": at}).data, status=201)

    @extend_schema(parameters=[CostAlertQuery], responses=list_of(CostAlertSerializer))
    def list(self, request: Request, account_id: str) -> Response:
        """List the cost alerts of an account, newest first. Spend alerts have a list of their own."""
        account = resolve_account(self.principal, account_id)
        query = query_serializer(CostAlertQuery, request)
        at = clock.now(account)
        return self.page(
            list_cost_alerts(account=account, at=at, status=query.get("status")), CostAlertSerializer, at=at
        )

    @extend_schema(request=None, responses=CostAlertSerializer)
    def dismiss(self, request: Request, alert_id: str) -> Response:
        """Put an alert to rest until the next period. Repeating it changes nothing."""
        alert = get_cost_alert(self.principal, alert_id, write=True)
        at = clock.now(alert.account)
        dismissed = dismiss_cost_alert(alert_id=alert.pk, at=at, actor=self.actor)
        return Response(CostAlertSerializer(dismissed, context={"at": at}).data)


class SpendAlertViewSet(BillingViewSet):
    """Alerts about the spend of a calendar month."""

    queryset = CostAlert.objects.none()
    serializer_class = SpendAlertSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "list": BOTH_READ,
        "create": _WRITE,
        "partial_update": _WRITE,
        "destroy": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [AccountForbidden, AccountRequired, NotFound],
        "create": [AccountForbidden, AccountRequired, AmountNotPositive, CurrencyUnsupported, InvalidState, NotFound],
        "partial_update": [AccountForbidden, AmountNotPositive, NotFound],
        "destroy": [AccountForbidden, NotFound],
    }
    operation_ids = {
        "list": "spend_alert_list",
        "create": "spend_alert_create",
        "partial_update": "spend_alert_update",
        "destroy": "spend_alert_delete",
    }

    @extend_schema(parameters=[SpendAlertQuery], responses=list_of(SpendAlertSerializer))
    def list(self, request: Request) -> Response:
        """List the spend alerts of an account, newest first."""
        query_serializer(SpendAlertQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        return self.page(list_spend_alerts(account=account), SpendAlertSerializer, at=clock.now(account))

    @extend_schema(request=SpendAlertInput, responses={201: SpendAlertSerializer})
    def create(self, request: Request) -> Response:
        """
        Ask to be told when the spend of a UTC calendar month reaches an amount.

        Spend is charged usage, rated usage and fees. Told once a month, as the event `spend_alert.triggered`.
        """
        body = SpendAlertInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request), write=True)
        values = {name: value for name, value in body.validated_data.items() if name != "account"}
        at = clock.now(account)
        alert = create_spend_alert(account=account, **values, at=at, actor=self.actor)
        return Response(SpendAlertSerializer(alert, context={"at": at}).data, status=201)

    @extend_schema(request=SpendAlertChange, responses=SpendAlertSerializer)
    def partial_update(self, request: Request, alert_id: str) -> Response:
        """Change title or threshold; another threshold arms the alert again."""
        alert = get_cost_alert(self.principal, alert_id, write=True, spend_only=True)
        body = SpendAlertChange(data=request.data)
        body.is_valid(raise_exception=True)
        at = clock.now(alert.account)
        changed = update_spend_alert(alert_id=alert.pk, changes=body.validated_data, at=at, actor=self.actor)
        return Response(SpendAlertSerializer(changed, context={"at": at}).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, alert_id: str) -> Response:
        """Delete a spend alert."""
        alert = get_cost_alert(self.principal, alert_id, write=True, spend_only=True)
        delete_spend_alert(alert_id=alert.pk, at=clock.now(alert.account), actor=self.actor)
        return Response(status=204)
