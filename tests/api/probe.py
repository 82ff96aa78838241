"""Views that exist for the tests of the building blocks only, and their addresses."""

from __future__ import annotations

import threading
import uuid
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DataError, InterfaceError, OperationalError, connection, transaction
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.views.events import EventViewSet
from billing_site.api import fields, problems
from billing_site.api.params import account_reference, parse_timestamp
from billing_site.api.permissions import BOTH_READ, both, internal
from billing_site.api.readiness import ReadinessView
from billing_site.api.schema import list_of
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from billing_site.platform.models import Event, EventChain
from billing_site.platform.services import events
from tests.factories.platform import AT, make_new_event

ACCOUNT = uuid.UUID(int=77)


class WidgetTaken(DomainError):
    code, title, status = "widget_taken", "Another widget has this name", 409


class Busy(DomainError):
    code, title, status, retryable = "collection_in_progress", "Another attempt is running", 409, True


problems.map_constraint("event_chains_pkey", WidgetTaken)


class Gate:
    """Lets a test hold a view in the middle of its work."""

    entered = threading.Event()
    release = threading.Event()

    @classmethod
    def reset(cls) -> None:
        cls.entered.clear()
        cls.release.clear()


class LineSerializer(serializers.Serializer[dict[str, Any]]):
    amount = fields.MoneyField()


class WidgetSerializer(serializers.Serializer[dict[str, Any]]):
    name = serializers.CharField(max_length=20)
    amount = fields.MoneyField(positive=True, required=False)
    unit_price = fields.DecimalStringField(required=False)
    currency = fields.CurrencyField(required=False)
    starts_at = fields.TimestampField(required=False)
    line_items = LineSerializer(many=True, required=False)
    metadata = fields.MetadataField(required=False)


class WidgetViewSet(BillingViewSet):
    """Every shape of answer and failure."""

    scopes = {
        "list": BOTH_READ,
        "create": internal("billing:money"),
        "retrieve": both("billing:account:write"),
    }
    problems = {"create": [WidgetTaken, "invalid_state"], "retrieve": [NotFound]}
    operation_ids = {"list": "widget_list", "create": "widget_create", "retrieve": "widget_get"}

    @extend_schema(responses=list_of(WidgetSerializer))
    def list(self, request: Request) -> Response:
        """List widgets."""
        return self.page(Event.objects.all(), EventIdSerializer)

    @extend_schema(request=WidgetSerializer, responses={201: WidgetSerializer})
    def create(self, request: Request) -> Response:
        """Make a widget and tell of it; `name` may ask for a failure after the event is written."""
        body = WidgetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        with transaction.atomic():
            events.emit_many([make_new_event(ACCOUNT, actor=self.actor, data=data)])
        match data["name"]:
            case "refused":
                raise InvalidState("It is void.", current_status="void")
            case "busy":
                raise Busy
            case "crash":
                raise RuntimeError("secret-of-the-server")
            case "slow":
                Gate.entered.set()
                Gate.release.wait(10)
        return Response(body.data, status=201, headers={"Location": "/widgets/1"})

    @extend_schema(responses=WidgetSerializer)
    def retrieve(self, request: Request, widget_id: str) -> Response:
        """Show one widget."""
        return Response({"id": widget_id})


class EventIdSerializer(serializers.Serializer[Event]):
    id = serializers.UUIDField()


class FailingView(BillingAPIView):
    """Fails in the way the address asks for."""

    scopes = {"get": BOTH_READ}

    def get(self, request: Request, how: str) -> HttpResponse:
        match how:
            case "integrity":
                EventChain.objects.create(key="twice")
                EventChain.objects.create(key="twice")
            case "check":
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO event_chains (key, last_sequence, last_hash) VALUES (NULL, 0, '')")
            case "html":
                return HttpResponse("<p>ready</p>")
        raise FAILURES[how]


FAILURES: dict[str, Exception] = {
    "operational": OperationalError("connection to server at 10.0.0.1 failed, password=hunter2"),
    "interface": InterfaceError("connection already closed"),
    "data": DataError("integer out of range"),
    "throttled": exceptions.Throttled(wait=7),
    "denied": exceptions.PermissionDenied(),
    "model": ModelValidationError({"name": [ModelValidationError("Too short.", code="too_short")]}),
    "domain": InvalidState("It is void.", current_status="void"),
    "crash": RuntimeError("secret-of-the-server"),
}


class UndeclaredView(BillingAPIView):
    """Declares no scope."""

    def get(self, request: Request) -> Response:
        return Response({})


class ReferenceView(BillingAPIView):
    """Answers which account and instant the request names."""

    scopes: ClassVar[dict[str, Any]] = {"get": BOTH_READ, "post": BOTH_READ}
    idempotency = "own"

    def get(self, request: Request) -> Response:
        text = request.query_params.get("at")
        instant = parse_timestamp(text, end="end" in request.query_params, name="at") if text else AT
        return Response({"account": account_reference(request), "at": fields.format_instant(instant)})

    def post(self, request: Request) -> Response:
        return Response({"account": account_reference(request, ignore=("customer_id",)), "got": request.data})


urlpatterns = [
    path("readyz", ReadinessView.as_view()),
    path("api/widgets", WidgetViewSet.as_view({"get": "list", "post": "create"})),
    path("api/widgets/<str:widget_id>", WidgetViewSet.as_view({"get": "retrieve"})),
    path("api/failing/<str:how>", FailingView.as_view()),
    path("api/undeclared", UndeclaredView.as_view()),
    path("api/reference", ReferenceView.as_view()),
    path("api/v1/billing/events", EventViewSet.as_view({"get": "list"})),
    path("api/v1/billing/events/<str:event_id>", EventViewSet.as_view({"get": "retrieve"})),
]
handler400 = "billing_site.api.problems.handle_bad_request"
handler404 = "billing_site.api.problems.handle_not_found"
handler500 = "billing_site.api.problems.handle_server_error"
