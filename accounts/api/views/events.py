"""Billing events of the accounts a caller may see."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.events import BillingEventSerializer, EventQuerySerializer
from accounts.queries.access import resolve_account, visible_accounts
from billing_site.api.pagination import CursorPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel.errors import AccountForbidden, NotFound, PeriodNotValid
from billing_site.platform.models import Event


class EventPages(CursorPages):
    max_limit = 100


class EventViewSet(BillingViewSet):
    """What happened, newest first."""

    scopes = {"list": BOTH_READ, "retrieve": BOTH_READ}
    problems = {"list": [AccountForbidden, NotFound, PeriodNotValid], "retrieve": [NotFound]}
    operation_ids = {"list": "event_list", "retrieve": "event_get"}
    pagination_class = EventPages

    @extend_schema(parameters=[EventQuerySerializer], responses=list_of(BillingEventSerializer))
    def list(self, request: Request) -> Response:
        """List billing events, newest first."""
        query = query_serializer(EventQuerySerializer, request)
        start, end = query.get("start"), query.get("end")
        if start and end and end <= start:
            raise PeriodNotValid("end must be after start.")
        events = self._choose_events(account_reference(request))
        if kind := query.get("type"):
            events = events.filter(type__startswith=kind[:-1]) if kind.endswith(".*") else events.filter(type=kind)
        if object_id := query.get("object_id"):
            events = events.filter(object_id=object_id)
        if start:
            events = events.filter(created_at__gte=start)
        if end:
            events = events.filter(created_at__lt=end)
        return self.page(events, BillingEventSerializer)

    @extend_schema(responses=BillingEventSerializer)
    def retrieve(self, request: Request, event_id: str) -> Response:
        """Show one billing event."""
        key = Event.parse_id(event_id)
        event = None if key is None else self._visible_events().filter(pk=key).first()
        if event is None:
            raise NotFound("billing_event")
        return Response(BillingEventSerializer(event).data)

    def _choose_events(self, reference: str | None) -> QuerySet[Event]:
        """Return the events of one account, or all that an internal caller may see when it names none."""
        if reference is None and self.principal.is_internal:
            return self._visible_events()
        return Event.objects.filter(account_id=resolve_account(self.principal, reference).pk)

    def _visible_events(self) -> QuerySet[Event]:
        """Events of visible accounts; those of no account are for internal callers of every organization."""
        if self.principal.is_internal and self.principal.org is None:
            return Event.objects.all()
        return Event.objects.filter(account_id__in=visible_accounts(self.principal).order_by().values("pk"))
