"""Ending subscriptions, and taking that back."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.cancellations import CanceledSubscriptionSerializer, CancelInput
from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import answer_subscription, get_rendering
from accounts.models import Subscription
from accounts.queries.subscriptions import find_subscription
from billing_site.api.permissions import both
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, InvalidState, NotFound, ValidationFailed
from invoicing.services.cancellations import (
    SubscriptionEnded,
    cancel_subscription,
    preview_cancellation,
    reactivate_subscription,
)

WRITE = both("billing:subscription:write")


class CancellationViewSet(BillingViewSet):
    """The end of a subscription."""

    scopes = {"cancel": WRITE, "reactivate": WRITE}
    problems = {
        "cancel": [AccountForbidden, NotFound, InvalidState],
        "reactivate": [AccountForbidden, NotFound, InvalidState, SubscriptionEnded],
    }
    operation_ids = {"cancel": "subscription_cancel", "reactivate": "subscription_reactivate"}

    @extend_schema(request=CancelInput, responses=CanceledSubscriptionSerializer)
    def cancel(self, request: Request, subscription_id: str) -> Response:
        """Cancel at the end of the period (also with an empty body), or at once; or `preview` what that comes to."""
        body = CancelInput(data=request.data)
        body.is_valid(raise_exception=True)
        values, internal = dict(body.validated_data), self.principal.is_internal
        if "unused" in values and not internal:
            raise ValidationFailed.of("/unused", "not_allowed", "What becomes of unused time is the seller's choice.")
        found = self._find(subscription_id)
        arguments: dict[str, Any] = {"subscription_id": found.pk, "at": clock.now(found.account), "actor": self.actor}
        if values.pop("preview"):
            outcome = preview_cancellation(**arguments, **values)
            context = {**get_rendering(internal=internal), "cancellation": outcome}
            return Response(CanceledSubscriptionSerializer(outcome.subscription, context=context).data)
        cancel_subscription(**arguments, **values)
        return answer_subscription(found.pk, internal=internal)

    @extend_schema(request=None, responses=SubscriptionSerializer)
    def reactivate(self, request: Request, subscription_id: str) -> Response:
        """Take back a scheduled cancellation; nothing is charged."""
        found = self._find(subscription_id)
        reactivate_subscription(subscription_id=found.pk, at=clock.now(found.account), actor=self.actor)
        return answer_subscription(found.pk, internal=self.principal.is_internal)

    def _find(self, subscription_id: str) -> Subscription:
        return find_subscription(self.principal, subscription_id, write=True)
