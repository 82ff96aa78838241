"""Meter events of one or many accounts."""

from __future__ import annotations

from typing import ClassVar, Final

from django.http import HttpResponse
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from billing_site.api.dialect import CAMEL_MEDIA_TYPE
from billing_site.api.fields import format_instant, format_plain
from billing_site.api.params import ACCOUNT_SYNONYMS, account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    DomainError,
    FieldError,
    PeriodNotValid,
)
from metering.api.cloud_events import BATCH as CLOUD_EVENTS
from metering.api.cloud_events import ONE as CLOUD_EVENT
from metering.api.cloud_events import CloudEvent, CloudEventBatchParser, CloudEventParser, is_cloud_event
from metering.api.cloud_recording import record_of_subjects
from metering.api.inputs import BatchTooLarge, CamelRawParser, EventReader, MeterEventInput, RawParser
from metering.api.outputs import PREFER, MeterEventResult, UsageCounts, render_statuses, respond_to_batch
from metering.api.recording import Door, record_events
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.described import describe, describe_batch
from metering.api.serializers.usage import MeterSummaryQuery, MeterSummarySerializer
from metering.queries.accounts import find_accounts
from metering.queries.meters import MeterNotFound, get_meter
from metering.queries.periods import choose_period, get_default_period, list_running_subscriptions
from metering.queries.usage import summarize_meter
from metering.services.ingest import NewUsageEvent

MAX_EVENTS: Final = 100
READER: Final = EventReader(MeterEventInput, maximum=MAX_EVENTS)
DOOR: Final = Door({"meter": "meter_id", "quantity": "value", "idempotency_key": "idempotency"})
_BATCH: Final = describe_batch(MeterEventInput, name="MeterEvents", maximum=MAX_EVENTS)


class MeterEventViewSet(KeepsRefusals, BillingViewSet):
    """Meter events, of any account."""

    recording_actions = frozenset({"create"})
    parser_classes = [RawParser, CamelRawParser, CloudEventParser, CloudEventBatchParser]
    scopes = {"create": internal("billing:usage:write"), "summary": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [BatchTooLarge, MeterNotFound],
        "summary": [MeterNotFound, PeriodNotValid, AccountForbidden, AccountRequired],
    }
    operation_ids = {"create": "meter_event_record", "summary": "meter_event_summary"}

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
                component_name="MeterEventAnswer",
                serializers=[describe(MeterEventResult), describe(UsageCounts)],
                resource_type_field_name=None,
                many=False,
            )
        },
    )
    def create(self, request: Request) -> HttpResponse:
        """
        Record 1 to 100 meter events, of one or many accounts: all of them, or none.

        A known idempotency key answers status `duplicate` for that event. CloudEvents are taken too: one, structured or
        with `ce-` headers, or a batch; their `subject` is the account.
        """
        if is_cloud_event(request.data, request.META):
            recorded = record_of_subjects(
                request.data,
                request.META,
                principal=self.principal,
                maximum=MAX_EVENTS,
                at=clock.now(),
                actor=self.actor,
            )
            return respond_to_batch(request, recorded, render_statuses)
        read = READER.read_batch(request.data)
        findings = [*read.findings]
        names = [_read_account(event, index, findings) for index, event in enumerate(read.events)]
        accounts = find_accounts(self.principal, {name for name in names if name})
        events: list[NewUsageEvent | None] = []
        for index, (event, name) in enumerate(zip(read.events, names, strict=True)):
            if event is not None and name in accounts:
                events.append(_to_event(event, accounts[name]))
                continue
            events.append(None)
            if name:
                detail = "No such account, or not visible to you."
                findings.append(FieldError(f"/events/{index}/account", "not_found", detail))
        recorded = record_events(events, findings, door=DOOR, root=read.root, at=clock.now(), actor=self.actor)
        return respond_to_batch(request, recorded, render_statuses)

    @extend_schema(parameters=[MeterSummaryQuery], responses={200: MeterSummarySerializer})
    def summary(self, request: Request) -> Response:
        """
        Aggregate one meter over a period, for one account or all.

        Public callers get their own account's. The period defaults to the account's current billing period, else the
        calendar month.
        """
        query = query_serializer(MeterSummaryQuery, request)
        reference = account_reference(request)
        account: Account | None = None
        if reference or not self.principal.is_internal:
            account = resolve_account(self.principal, reference)
        org_id = account.org_id if account is not None else self.principal.org
        meter = get_meter(org_id=org_id, reference=query["meter_id"])
        running = list_running_subscriptions(account) if account is not None else []
        default = get_default_period(account, running[0] if running else None, at=clock.now(account))
        period = choose_period(query.get("period_start"), query.get("period_end"), default=default)
        total = summarize_meter(meter=meter, period=period, account=account, org_id=self.principal.org)
        return Response(
            {
                "meter_id": meter.public_id,
                "meter_name": meter.event_name,
                "account_id": account.public_id if account is not None else None,
                "aggregation_type": meter.aggregation,
                "value": format_plain(total.quantity),
                "event_count": total.event_count,
                "period_start": format_instant(period.start),
                "period_end": format_instant(period.end),
            }
        )


def _read_account(event: MeterEventInput | None, index: int, findings: list[FieldError]) -> str:
    """Return what the event calls its account, under any of the words for it; nothing when it does not say."""
    if event is None:
        return ""
    given: dict[str, str] = {
        name: reference
        for name in ACCOUNT_SYNONYMS
        if (value := getattr(event, name)) and (reference := value.strip().lower())
    }
    if not given:
        findings.append(FieldError(f"/events/{index}/account", "required", "This field is required."))
    elif len(set(given.values())) > 1:
        detail = f"{' and '.join(given)} name different accounts."
        findings.append(FieldError(f"/events/{index}/{next(iter(given))}", "account_ambiguous", detail))
    else:
        return next(iter(given.values()))
    return ""


def _to_event(event: MeterEventInput, account: Account) -> NewUsageEvent:
    return NewUsageEvent(
        account=account,
        meter=event.meter_id,
        quantity=event.value,
        timestamp=event.timestamp,
        idempotency_key=event.idempotency or event.idempotency_key or "",
        dimensions=event.dimensions or {},
    )
