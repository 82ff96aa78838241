"""
What will happen to an account if nobody does anything.

An addition to the contract: the back office's agenda for services that tell customers or people what comes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.agenda import AgendaQuery, AgendaSerializer
from accounts.queries.access import resolve_account
from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import NotFound, PeriodNotValid
from invoicing.queries.agenda import list_agenda

DEFAULT_HORIZON: Final = timedelta(days=90)
LONGEST_HORIZON: Final = timedelta(days=400)


class AgendaView(BillingAPIView):
    """What comes."""

    scopes = {"get": internal("billing:read")}
    problems = {"get": [NotFound, PeriodNotValid]}
    operation_ids = {"get": "account_agenda"}

    @extend_schema(parameters=[AgendaQuery], responses=AgendaSerializer)
    def get(self, request: Request, account_id: str) -> Response:
        """
        What will happen to an account, and when, if nobody does anything.

        Renewals with the total of their invoice as far as usage is known, changes and ends that were scheduled, and
        money that ends. Nothing is written.
        """
        account = resolve_account(self.principal, account_id)
        at = clock.now(account)
        until = query_serializer(AgendaQuery, request).get("until") or at + DEFAULT_HORIZON
        if not at < until <= at + LONGEST_HORIZON:
            raise PeriodNotValid(f"An agenda reaches from now to at most {LONGEST_HORIZON.days} days from now.")
        entries = list_agenda(account, at=at, until=until)
        found = {"account_id": account.public_id, "start": at, "until": until, "items": entries}
        return Response(AgendaSerializer(found).data)
