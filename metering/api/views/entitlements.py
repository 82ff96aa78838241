"""The gate in front of work: may it begin?"""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from billing_site.api.lean import LeanCall
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from metering.api.serializers.entitlement import (
    EntitlementCheckSerializer,
    EntitlementDecisionSerializer,
    read_check,
    render_decision,
)
from metering.queries.entitlements import check_entitlement


def answer_check(call: LeanCall) -> HttpResponse:
    """Decide, and answer 200 whatever the decision."""
    asked = read_check(call)
    checked = check_entitlement(
        principal=call.principal,
        reference=asked.account,
        scope=asked.scope,
        meter_event_name=asked.meter_event_name,
        quantity=asked.quantity,
        at=clock.now(),
    )
    return call.respond(render_decision(checked))


class EntitlementCheckView(BillingAPIView):
    """Stateless: an idempotency key changes nothing, and every repeat is decided anew."""

    scopes = {"post": internal("billing:entitlement:check")}
    operation_ids = {"post": "entitlement_check"}
    idempotency = "own"

    @extend_schema(request=EntitlementCheckSerializer, responses=EntitlementDecisionSerializer)
    def post(self, request: Request) -> HttpResponse:
        """
        Decide before work starts whether an account may use a paid feature, with or without a quantity.

        Consumes nothing. A denial is a 200 answer; on 503 the caller denies.
        """
        return answer_check(LeanCall.of(self, request))
