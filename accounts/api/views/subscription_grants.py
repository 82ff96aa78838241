"""Plans given away."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import answer_subscription
from accounts.queries.access import resolve_account
from accounts.services.subscriptions import SubscriptionExists
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import TimestampField, format_instant
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import InvalidState, NotFound
from catalog.queries.plans import PlanNotFound
from invoicing.services.subscription_grants import DEFAULT_MONTHS, MAX_MONTHS, grant_subscription


class SubscriptionGrantInput(StrictSerializer):
    plan_id = serializers.CharField(max_length=100)
    months = serializers.IntegerField(default=DEFAULT_MONTHS, min_value=1, max_value=MAX_MONTHS)
    reason = serializers.CharField(max_length=1000, help_text="Kept with the event.")
    granted_by = serializers.CharField(
        required=False, allow_blank=True, max_length=255, help_text="Who decided it; default: the caller."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Answer what would be given, write nothing.")


class SubscriptionGrantSerializer(serializers.Serializer[dict[str, Any]]):
    subscription = SubscriptionSerializer()
    extended = serializers.BooleanField(help_text="A grant that ran already now ends later.")
    period_end = TimestampField()


class SubscriptionGrantView(BillingAPIView):
    """A plan for free, for some months."""

    scopes = {"post": internal("billing:money")}
    problems = {"post": [NotFound, PlanNotFound, SubscriptionExists, InvalidState]}
    operation_ids = {"post": "subscription_grant"}

    @extend_schema(request=SubscriptionGrantInput, responses={201: SubscriptionGrantSerializer})
    def post(self, request: Request, account_id: str) -> Response:
        """
        Give an account a plan for free for some months.

        Never invoiced. A running grant of the same plan is extended, never shortened; a free subscription of the
        product makes room, a paid one is refused.
        """
        body = SubscriptionGrantInput(data=request.data)
        body.is_valid(raise_exception=True)
        terms = dict(body.validated_data)
        dry_run = terms.pop("dry_run")
        account = resolve_account(self.principal, account_id)
        with transaction.atomic():
            granted = grant_subscription(
                account=account,
                plan_key=terms.pop("plan_id"),
                at=clock.now(account),
                actor=self.actor,
                **terms,
            )
            answer = {
                "subscription": answer_subscription(granted.subscription.pk, internal=True).data,
                "extended": granted.extended,
                "period_end": format_instant(granted.subscription.current_period_end),
            }
            transaction.set_rollback(dry_run)
        return Response(answer, status=201)
