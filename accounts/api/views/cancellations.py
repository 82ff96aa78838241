"""Ending subscriptions, and taking that back."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import answer_subscription
from accounts.models import Subscription
from accounts.queries.subscriptions import find_subscription
from billing_site.api.bodies import StrictSerializer
from billing_site.api.permissions import both
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, InvalidState, NotFound, ValidationFailed
from invoicing.services.cancellations import (
    CANCELLATION_REASONS,
    SubscriptionEnded,
    cancel_subscription,
    reactivate_subscription,
)

WRITE = both("billing:subscription:write")


class CancelInput(StrictSerializer):
    at_period_end = serializers.BooleanField(required=False, help_text="Default true.")
    immediately = serializers.BooleanField(required=False, help_text="The opposite of at_period_end.")
    reason = serializers.ChoiceField(choices=CANCELLATION_REASONS, required=False)
    comment = serializers.CharField(required=False, allow_blank=True, max_length=1_000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two answers to one question."""
        at_period_end, immediately = attrs.get("at_period_end"), attrs.pop("immediately", None)
        if at_period_end is not None and immediately is not None and at_period_end == immediately:
            raise ValidationFailed.of(
                "/immediately", "contradiction", "at_period_end and immediately contradict each other."
            )
        attrs["at_period_end"] = at_period_end if at_period_end is not None else not immediately
        return attrs


class CancellationViewSet(BillingViewSet):
    """The end of a subscription."""

    scopes = {"cancel": WRITE, "reactivate": WRITE}
    problems = {
        "cancel": [AccountForbidden, NotFound, InvalidState],
        "reactivate": [AccountForbidden, NotFound, InvalidState, SubscriptionEnded],
    }
    operation_ids = {"cancel": "subscription_cancel", "reactivate": "subscription_reactivate"}

    @extend_schema(request=CancelInput, responses=SubscriptionSerializer)
    def cancel(self, request: Request, subscription_id: str) -> Response:
        """Cancel at the end of the period (also with an empty body), or at once."""
        body = CancelInput(data=request.data)
        body.is_valid(raise_exception=True)
        found = self._find(subscription_id)
        cancel_subscription(
            subscription_id=found.pk, at=clock.now(found.account), actor=self.actor, **body.validated_data
        )
        return answer_subscription(found.pk, internal=self.principal.is_internal)

    @extend_schema(request=None, responses=SubscriptionSerializer)
    def reactivate(self, request: Request, subscription_id: str) -> Response:
        """Take back a scheduled cancellation; nothing is charged."""
        found = self._find(subscription_id)
        reactivate_subscription(subscription_id=found.pk, at=clock.now(found.account), actor=self.actor)
        return answer_subscription(found.pk, internal=self.principal.is_internal)

    def _find(self, subscription_id: str) -> Subscription:
        return find_subscription(self.principal, subscription_id, write=True)
