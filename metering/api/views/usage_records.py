"""Single usage events: find them, see what became of them, correct them."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.cost_centers import load_named_centers
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountRequired, DomainError, NotFound, PeriodNotValid, ValidationFailed
from invoicing.queries.usage_inspection import inspect_usage
from metering.api.pagination import UsagePages
from metering.api.serializers.usage_records import (
    AmendUsageInput,
    CorrectedUsageSerializer,
    FoundUsageSerializer,
    InspectedUsageSerializer,
    UsageRecordQuery,
    VoidUsageInput,
    render_billing,
    render_correction,
    render_event,
    render_inspection,
)
from metering.models import UsageEvent
from metering.queries.inspecting import find_visible_by_key, get_event
from metering.queries.meters import MeterNotFound, get_meter
from metering.services.corrections import (
    CorrectedUsage,
    UsageEventAlreadyCorrected,
    UsageEventNotCorrectable,
    UsageKeyTaken,
    amend_usage_event,
    void_usage_event,
)
from metering.stores import EventSearch, search_events

_CORRECTING: list[type[DomainError] | str] = [
    AccountRequired,
    NotFound,
    UsageEventNotCorrectable,
    UsageEventAlreadyCorrected,
]


class UsageRecordViewSet(BillingViewSet):
    """Usage events one by one, for those who answer for them."""

    scopes: ClassVar[dict[str, Scopes]] = {
        "list": internal("billing:read"),
        "retrieve": internal("billing:read"),
        # What is taken back is owed no more.
        "void": internal("billing:money"),
        "amend": internal("billing:money"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [AccountRequired, MeterNotFound, NotFound, PeriodNotValid],
        "retrieve": [NotFound],
        "void": _CORRECTING,
        "amend": [*_CORRECTING, UsageKeyTaken],
    }
    operation_ids = {
        "list": "usage_record_find",
        "retrieve": "usage_record_inspect",
        "void": "usage_record_void",
        "amend": "usage_record_amend",
    }

    @extend_schema(parameters=[UsageRecordQuery], responses=list_of(FoundUsageSerializer))
    def list(self, request: Request) -> Response:
        """
        Find usage events, newest first: by key or id, or those of an account by meter, time and what they name.

        With a key or an id nothing else but the account counts. Without an account, a key is looked up in all that the
        caller may see, as long as these are not too many.
        """
        query = query_serializer(UsageRecordQuery, request)
        reference = account_reference(request)
        account = resolve_account(self.principal, reference) if reference else None
        paginator = UsagePages()
        if "id" in query:
            found = [get_event(self.principal, query["id"], account=account)]
        elif "key" in query:
            found = find_visible_by_key(self.principal, query["key"], account=account)
        elif account is not None:
            rows = search_events(_read_search(account, query)).select_related("account", "cost_center")
            found = paginator.paginate_queryset(rows, request, self)
        else:
            raise AccountRequired("Name the account, or a key, or an id.")
        if "id" in query or "key" in query:
            paginator.next_cursor = None
        return paginator.get_paginated_response([render_event(event) for event in found])

    @extend_schema(responses=InspectedUsageSerializer)
    def retrieve(self, request: Request, event_id: str) -> Response:
        """
        Say what became of an event: whether it counts, in which buckets and quotas, on which invoice, or why on none.

        Events older than their keys are kept (35 days) are found with `?account=`.
        """
        event = self._get_event(request, event_id)
        return Response(render_inspection(inspect_usage(event, at=clock.now(event.account))))

    @extend_schema(request=VoidUsageInput, responses={201: CorrectedUsageSerializer})
    def void(self, request: Request, event_id: str) -> Response:
        """
        Take an event back. A further event with the negative quantity is stored; nothing is changed or removed.

        What was invoiced already stays as it is.
        """
        body = VoidUsageInput(data=request.data)
        body.is_valid(raise_exception=True)
        event = self._get_event(request, event_id)
        at = clock.now(event.account)
        done = void_usage_event(event=event, at=at, actor=self.actor, reason=body.validated_data["reason"])
        return self._answer(event, done)

    @extend_schema(request=AmendUsageInput, responses={201: CorrectedUsageSerializer})
    def amend(self, request: Request, event_id: str) -> Response:
        """Take an event back and count another quantity in its place, in one step."""
        body = AmendUsageInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        event = self._get_event(request, event_id)
        done = amend_usage_event(
            event=event,
            quantity=values["quantity"],
            idempotency_key=values.get("idempotency_key", ""),
            at=clock.now(event.account),
            actor=self.actor,
            reason=values["reason"],
        )
        return self._answer(event, done)

    def _get_event(self, request: Request, event_id: str) -> UsageEvent:
        reference = account_reference(request)
        account = resolve_account(self.principal, reference) if reference else None
        return get_event(self.principal, event_id, account=account)

    def _answer(self, event: UsageEvent, done: CorrectedUsage) -> Response:
        found = inspect_usage(event, at=clock.now(event.account))
        billing = found.voiding or found.billing
        shown = {"correction": render_correction(done.correction), "billing": render_billing(billing)}
        return Response(shown, status=201)


def _read_search(account: Account, query: dict[str, Any]) -> EventSearch:
    """:raises PeriodNotValid: when it is reversed. :raises ValidationFailed: for a dimension without a value."""
    start, end = query.get("start"), query.get("end")
    if start is not None and end is not None and end < start:
        raise PeriodNotValid("The period ends before it starts.")
    dimension: tuple[str, str] | None = None
    if "dimension" in query:
        name, colon, value = query["dimension"].partition(":")
        if not (name and colon):
            raise ValidationFailed.of("dimension", "invalid", "A dimension is a name and a value: model:large.")
        dimension = name, value
    meter = query.get("meter")
    return EventSearch(
        account_id=account.pk,
        meter_ids=[get_meter(org_id=account.org_id, reference=meter).pk] if meter else None,
        start=start,
        end=end,
        cost_center_id=_find_center(account, query.get("cost_center", "")),
        dimension=dimension,
        resource_id=query.get("resource_id", ""),
        actor_id=query.get("actor_id", ""),
    )


def _find_center(account: Account, reference: str) -> Any:
    if not reference:
        return None
    found = load_named_centers({account.pk: {reference}}).get(account.pk, reference)
    if found is None:
        raise NotFound("cost_center")
    return found.pk
