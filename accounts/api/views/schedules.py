"""Subscription schedules: plan phases, look, edit, cancel, release."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.schedules import (
    ScheduleCancelInput,
    ScheduleChangeInput,
    ScheduleInput,
    ScheduleQuery,
    ScheduleSerializer,
    read_phases,
)
from accounts.models import Account, Subscription, SubscriptionSchedule
from accounts.queries.access import choose_accounts, resolve_account
from accounts.queries.schedules import find_schedule, list_schedules, with_phases
from accounts.queries.subscriptions import find_subscription
from accounts.services.subscriptions import PlanNotSubscribable, SubscriptionExists
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
    ValidationFailed,
)
from catalog.queries.plans import PlanNotFound
from invoicing.services.schedules import (
    ScheduleExists,
    cancel_schedule,
    create_schedule,
    release_schedule,
    update_schedule,
)

_WRITE = both("billing:subscription:write")
_PHASE_PROBLEMS: list[type[DomainError] | str] = [
    PlanNotFound,
    PlanNotSubscribable,
    SubscriptionExists,
    AccountForbidden,
    CurrencyUnsupported,
    InvalidState,
    NotFound,
]


class ScheduleViewSet(BillingViewSet):
    """The phases a subscription goes through."""

    queryset = SubscriptionSchedule.objects.none()
    serializer_class = ScheduleSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "list": BOTH_READ,
        "retrieve": BOTH_READ,
        "create": _WRITE,
        "partial_update": _WRITE,
        "cancel": _WRITE,
        "release": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
        "create": [*_PHASE_PROBLEMS, AccountRequired, ScheduleExists],
        "partial_update": _PHASE_PROBLEMS,
        "cancel": [AccountForbidden, NotFound, InvalidState],
        "release": [AccountForbidden, NotFound, InvalidState],
    }
    operation_ids = {
        "list": "schedule_list",
        "retrieve": "schedule_get",
        "create": "schedule_create",
        "partial_update": "schedule_update",
        "cancel": "schedule_cancel",
        "release": "schedule_release",
    }

    @extend_schema(parameters=[ScheduleQuery], responses=list_of(ScheduleSerializer))
    def list(self, request: Request) -> Response:
        """List schedules, newest first, ended ones included."""
        query = query_serializer(ScheduleQuery, request)
        accounts = choose_accounts(self.principal, account_reference(request))
        return self.page(list_schedules(accounts, status=query.get("status")), ScheduleSerializer)

    @extend_schema(responses=ScheduleSerializer)
    def retrieve(self, request: Request, schedule_id: str) -> Response:
        """Show a schedule."""
        return Response(ScheduleSerializer(find_schedule(self.principal, schedule_id)).data)

    @extend_schema(request=ScheduleInput, responses={201: ScheduleSerializer})
    def create(self, request: Request) -> Response:
        """
        Plan a series of phases for a subscription: a running one, or one that the first phase starts.

        A start in the past is caught up in order, as if every phase had been entered in time.
        """
        body = ScheduleInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(body.validated_data)
        account, subscription = self._find_owner(request, values)
        schedule = create_schedule(
            account=account,
            subscription=subscription,
            phases=read_phases(values["phases"]) or [],
            start_date=values.get("start_date"),
            end_behavior=values["end_behavior"],
            metadata=values.get("metadata"),
            at=clock.now(account),
            actor=self.actor,
            self_service=not self.principal.is_internal,
        )
        return _answer(schedule.pk, status=201)

    @extend_schema(request=ScheduleChangeInput, responses=ScheduleSerializer)
    def partial_update(self, request: Request, schedule_id: str) -> Response:
        """
        Change phases, end behaviour or metadata.

        The phases that are sent are all of them: past ones stay as they are, the running one may get another end.
        """
        body = ScheduleChangeInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(body.validated_data)
        found = find_schedule(self.principal, schedule_id, write=True)
        update_schedule(
            schedule_id=found.pk,
            phases=read_phases(values.get("phases")),
            end_behavior=values.get("end_behavior"),
            metadata=values.get("metadata"),
            at=clock.now(found.account),
            actor=self.actor,
            self_service=not self.principal.is_internal,
        )
        return _answer(found.pk)

    @extend_schema(request=ScheduleCancelInput, responses=ScheduleSerializer)
    def cancel(self, request: Request, schedule_id: str) -> Response:
        """Cancel a schedule together with its subscription, which ends at once, unless told otherwise."""
        body = ScheduleCancelInput(data=request.data)
        body.is_valid(raise_exception=True)
        found = find_schedule(self.principal, schedule_id, write=True)
        cancel_schedule(
            schedule_id=found.pk,
            cancel_subscription=body.validated_data["cancel_subscription"],
            at=clock.now(found.account),
            actor=self.actor,
        )
        return _answer(found.pk)

    @extend_schema(request=None, responses=ScheduleSerializer)
    def release(self, request: Request, schedule_id: str) -> Response:
        """Let the subscription go on as it is, without the schedule."""
        found = find_schedule(self.principal, schedule_id, write=True)
        release_schedule(schedule_id=found.pk, at=clock.now(found.account), actor=self.actor)
        return _answer(found.pk)

    def _find_owner(self, request: Request, values: dict[str, Any]) -> tuple[Account, Subscription | None]:
        """Return whose schedule it is to be, and the subscription it takes over."""
        reference = account_reference(request)
        if not values.get("subscription_id"):
            return resolve_account(self.principal, reference, write=True), None
        subscription = find_subscription(self.principal, values["subscription_id"], write=True)
        if reference and resolve_account(self.principal, reference).pk != subscription.account_id:
            raise ValidationFailed.of("/subscription_id", "other_account", "The subscription is of another account.")
        return subscription.account, subscription


def _answer(key: UUID, status: int = 200) -> Response:
    """Render a schedule as it is stored now."""
    row = with_phases(SubscriptionSchedule.objects.filter(pk=key)).get()
    return Response(ScheduleSerializer(row).data, status=status)
