"""The door for what payment providers tell of subscriptions."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, TimestampField
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import NotFound
from invoicing.services.provider_updates import NeutralUpdate, apply_provider_update


class SubscriptionUpdateInput(StrictSerializer):
    event_id = serializers.CharField(max_length=255, help_text="Applied once, however often it is sent.")
    account_id = AccountRefField(help_text="Id or external id.")
    provider = serializers.CharField(max_length=50, help_text="Such as stripe.")
    provider_customer_id = serializers.CharField(required=False, allow_null=True, max_length=255)
    provider_subscription_id = serializers.CharField(required=False, allow_null=True, max_length=255)
    plan_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    status = serializers.CharField(max_length=50, help_text="The provider's word; an unknown one means incomplete.")
    features = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        allow_null=True,
        max_length=500,
        help_text="Count instead of the plan's, while active or trialing.",
    )
    occurred_at = TimestampField(required=False, allow_null=True, help_text="Default: now.")


class SubscriptionUpdateResultSerializer(serializers.Serializer[dict[str, Any]]):
    account_id = serializers.CharField()
    status = serializers.CharField(help_text="Of the subscription now; missing without one.")
    applied = serializers.BooleanField(help_text="False for duplicates and where nothing changed.")
    reason = serializers.CharField(required=False, help_text="Why nothing changed.")


class SubscriptionUpdateView(BillingAPIView):
    """Neutral updates of subscriptions."""

    scopes = {"post": internal("billing:subscription:write")}
    problems = {"post": [NotFound]}
    operation_ids = {"post": "subscription_state_apply"}

    @extend_schema(request=SubscriptionUpdateInput, responses=SubscriptionUpdateResultSerializer)
    def post(self, request: Request) -> Response:
        """
        Apply a provider-neutral subscription change reported by a payment integration.

        Events older than the last one applied, and changes our rules do not allow, answer `applied` false.
        """
        body = SubscriptionUpdateInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        account = resolve_account(self.principal, values.pop("account_id"))
        values["provider"] = values["provider"].strip().lower()
        outcome = apply_provider_update(
            account=account, update=NeutralUpdate(**values), at=clock.now(account), actor=self.actor
        )
        answer = {"account_id": account.public_id, "status": outcome.status, "applied": outcome.applied}
        if outcome.reason:
            answer["reason"] = outcome.reason
        return Response(SubscriptionUpdateResultSerializer(answer).data)
