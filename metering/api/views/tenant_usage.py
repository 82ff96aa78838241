"""Usage of one account: record, list, sum up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from django.http import HttpResponse
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, CostCenter
from accounts.queries.access import resolve_account
from accounts.queries.cost_centers import load_named_centers
from billing_site.api.dialect import CAMEL_MEDIA_TYPE
from billing_site.api.lean import LeanCall, TakeLongWay
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import (
    AccountForbidden,
    DomainError,
    FieldError,
    NotFound,
    PeriodNotValid,
    ValidationFailed,
)
from metering.api.cloud_events import BATCH as CLOUD_EVENTS
from metering.api.cloud_events import ONE as CLOUD_EVENT
from metering.api.cloud_events import CloudEvent, CloudEventBatchParser, CloudEventParser, is_cloud_event
from metering.api.cloud_recording import record_of_account
from metering.api.inputs import (
    BatchTooLarge,
    CamelRawParser,
    EventReader,
    RawParser,
    ReadEvents,
    UsageEventInput,
    read_object,
)
from metering.api.outputs import (
    PREFER,
    UsageBatchResult,
    UsageCounts,
    UsageRecord,
    UsageRecordPage,
    render_batch,
    render_recorded,
    render_stored,
    respond,
    respond_to_batch,
)
from metering.api.pagination import UsagePages
from metering.api.recording import Door, record_events
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.described import describe, describe_batch
from metering.api.serializers.usage import (
    UsageListQuery,
    UsageSummaryQuery,
    UsageSummarySerializer,
    render_summary,
)
from metering.queries.meters import MeterNotFound, get_meter
from metering.queries.usage import summarize_usage
from metering.services.group_commit import TOGETHER, AccountName
from metering.services.ingest import NO_SUCH_CENTER, NewUsageEvent, RecordedUsage
from metering.stores import list_events

MAX_EVENTS: Final = 1000
READER: Final = EventReader(UsageEventInput, maximum=MAX_EVENTS)
DOOR: Final = Door({"meter": "metric_type"})
_TO_BE_FOUND: Final = Account()
_RECORD: Final = internal("billing:usage:write")
_BATCH: Final = PolymorphicProxySerializer(
    component_name="UsageBatchInput",
    serializers=[
        describe_batch(UsageEventInput, name="UsageEvents", maximum=MAX_EVENTS),
        describe(UsageEventInput)(many=True),
    ],
    resource_type_field_name=None,
    many=False,
)


def record_one(call: LeanCall, account_id: str) -> HttpResponse:
    """Record the one event of a plain request. :raises TakeLongWay: whenever it cannot; the view keeps the refusal."""
    recorded = _record_in_group(call, account_id) if call.principal.is_internal else None
    if recorded is None:
        [recorded] = _record_plainly(call, account_id, READER.read_one)
    return respond(call, render_recorded([recorded])[0], status=201 if recorded.created else 200)


def record_batch(call: LeanCall, account_id: str) -> HttpResponse:
    """Record the events of a plain request. :raises TakeLongWay: whenever it cannot; the view keeps the refusal."""
    return respond_to_batch(call, _record_plainly(call, account_id, READER.read_batch), render_batch)


def _record_in_group(call: LeanCall, account_id: str) -> RecordedUsage | None:
    """Record an event with what other threads record, its account looked up there; None if that cannot be."""
    try:
        if is_cloud_event(call.data, call.request.META):
            return None
        read = READER.read_one(call.data)
    except (DomainError, APIException):
        return None
    findings = list(read.findings)
    [event] = read.events
    if event is None or not event.idempotency_key:
        return None
    new = _to_event(event, _TO_BE_FOUND, 0, findings)
    if findings:
        return None
    name = AccountName(account_id, call.principal.org)
    return TOGETHER.record_named(name=name, event=new, at=clock.now(), actor=call.actor)


def _record_plainly(
    call: LeanCall, account_id: str, read: Callable[[object], ReadEvents[UsageEventInput]]
) -> list[RecordedUsage]:
    try:
        if not is_cloud_event(call.data, call.request.META):
            account = resolve_account(call.principal, account_id, write=True)
            return _record(read(call.data), account, call.actor)
    except (DomainError, APIException) as error:
        raise TakeLongWay from error
    raise TakeLongWay


class TenantUsageViewSet(KeepsRefusals, BillingViewSet):
    """Usage events of an account."""

    recording_actions = frozenset({"create", "batch"})
    parser_classes = [RawParser, CamelRawParser, CloudEventParser, CloudEventBatchParser]
    pagination_class = UsagePages
    scopes = {"create": _RECORD, "batch": _RECORD, "list": BOTH_READ, "summary": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [MeterNotFound, NotFound],
        "batch": [BatchTooLarge, MeterNotFound, NotFound],
        "list": [MeterNotFound, PeriodNotValid, AccountForbidden, NotFound],
        "summary": [MeterNotFound, PeriodNotValid, AccountForbidden, NotFound],
    }
    operation_ids = {
        "create": "usage_record",
        "batch": "usage_record_batch",
        "list": "usage_record_list",
        "summary": "usage_summary",
    }

    @extend_schema(
        request={
            "application/json": describe(UsageEventInput),
            CAMEL_MEDIA_TYPE: describe(UsageEventInput),
            CLOUD_EVENT: describe(CloudEvent),
        },
        responses={201: describe(UsageRecord), 200: describe(UsageRecord)},
    )
    def create(self, request: Request, account_id: str) -> HttpResponse:
        """
        Record one usage event of an account.

        Never refused for quota. A repeat with the same idempotency key answers 200 and changes nothing. A CloudEvent
        is taken too, structured or with `ce-` headers.
        """
        account = resolve_account(self.principal, account_id, write=True)
        [recorded] = self._record_cloud_events(request, account, 1) or _record(
            READER.read_one(request.data), account, self.actor
        )
        return respond(request, render_recorded([recorded])[0], status=201 if recorded.created else 200)

    @extend_schema(
        parameters=[PREFER],
        request={
            "application/json": _BATCH,
            CAMEL_MEDIA_TYPE: _BATCH,
            CLOUD_EVENTS: describe(CloudEvent)(many=True),
            CLOUD_EVENT: describe(CloudEvent),
        },
        responses={
            201: PolymorphicProxySerializer(
                component_name="UsageBatchAnswer",
                serializers=[describe(UsageBatchResult), describe(UsageCounts)],
                resource_type_field_name=None,
                many=False,
            )
        },
    )
    def batch(self, request: Request, account_id: str) -> HttpResponse:
        """
        Record 1 to 1000 usage events of an account: all of them, or none.

        The body is an object with `events`, or the bare list, or CloudEvents. Of the same key twice the first counts.
        """
        account = resolve_account(self.principal, account_id, write=True)
        recorded = self._record_cloud_events(request, account, MAX_EVENTS) or _record(
            READER.read_batch(request.data), account, self.actor
        )
        return respond_to_batch(request, recorded, render_batch)

    def _record_cloud_events(self, request: Request, account: Account, maximum: int) -> Sequence[RecordedUsage]:
        """Record what came as CloudEvents; nothing for a request in our own form."""
        if not is_cloud_event(request.data, request.META):
            return ()
        return record_of_account(
            request.data, request.META, account=account, maximum=maximum, at=clock.now(), actor=self.actor
        )

    @extend_schema(parameters=[UsageListQuery], responses={200: describe(UsageRecord)(many=True)})
    def list(self, request: Request, account_id: str) -> HttpResponse:
        """Read raw usage records of an account, newest first by event time."""
        account = resolve_account(self.principal, account_id)
        query = query_serializer(UsageListQuery, request)
        start, end = query.get("start"), query.get("end")
        if start is not None and end is not None and end < start:
            raise PeriodNotValid("The period ends before it starts.")
        metric = query.get("metric_type")
        meter_ids = [get_meter(org_id=account.org_id, reference=metric).id] if metric else None
        paginator = UsagePages()
        center_id = _find_center(account, query["cost_center"]).pk if query.get("cost_center") else None
        events = list_events(account_id=account.id, meter_ids=meter_ids, start=start, end=end, cost_center_id=center_id)
        rows = paginator.paginate_queryset(events, request, self)
        answer = UsageRecordPage(
            items=[render_stored(row, account_id=account.public_id) for row in rows],
            next_cursor=paginator.next_cursor,
            has_more=paginator.next_cursor is not None,
        )
        return respond(request, answer)

    @extend_schema(parameters=[UsageSummaryQuery], responses={200: UsageSummarySerializer})
    def summary(self, request: Request, account_id: str) -> Response:
        """
        Sum up an account's usage per metric, with what it costs under the running subscriptions' prices.

        The period defaults to the current billing period and is at most 400 days long. Each metric is rounded once.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(UsageSummaryQuery, request)
        summary = summarize_usage(
            account=account,
            at=clock.now(account),
            start=query.get("start"),
            end=query.get("end"),
            metric=query.get("metric_type"),
            group_by=query["group_by"],
        )
        return Response(render_summary(summary, group_by=query["group_by"]))


def _find_center(account: Account, name: str) -> CostCenter:
    """:raises ValidationFailed: when the account has no center of this id or code."""
    center = load_named_centers({account.pk: [name]}).get(account.pk, name)
    if center is None:
        raise ValidationFailed.of("cost_center", "unknown_cost_center", NO_SUCH_CENTER)
    return center


def _record(read: ReadEvents[UsageEventInput], account: Account, actor: Actor) -> list[RecordedUsage]:
    events: list[NewUsageEvent | None] = []
    findings = [*read.findings]
    for index, event in enumerate(read.events):
        events.append(_to_event(event, account, index, findings) if event is not None else None)
    return record_events(events, findings, door=DOOR, root=read.root, at=clock.now(), actor=actor)


def _to_event(event: UsageEventInput, account: Account, index: int, findings: list[FieldError]) -> NewUsageEvent:
    """Return the event as the service takes it, after adding to `findings` what only this door can tell."""
    pointer = f"/events/{index}"
    if event.user_id and event.actor_id and event.user_id != event.actor_id:
        findings.append(FieldError(f"{pointer}/user_id", "ambiguous", "actor_id and user_id differ."))
    metadata = read_object(event.metadata)
    if metadata is None:
        findings.append(FieldError(f"{pointer}/metadata", "invalid", "This must be a JSON object."))
    return NewUsageEvent(
        account,
        event.metric_type,
        event.quantity,
        event.unit or "",
        event.timestamp,
        event.idempotency_key or "",
        event.resource_id or "",
        event.resource_type or "",
        event.actor_id or event.user_id or "",
        {},
        metadata or {},
        event.cost_center or "",
    )
