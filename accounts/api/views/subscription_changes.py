"""One subscription: looking at it, and changing its terms and settings."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.subscription_changes import (
    ChangedSubscriptionSerializer,
    ChangePlanInput,
    ChangePlanQuery,
    SubscriptionUpdateInput,
    make_request,
)
from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import (
    WRITE,
    answer_subscription,
    choose_plan,
    get_rendering,
    render_subscription,
)
from accounts.models import Subscription
from accounts.queries.subscriptions import find_subscription
from accounts.services.subscriptions import PlanNotSubscribable, SubscriptionExists
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AmountNotPositive, DomainError, InvalidState, NotFound
from catalog.queries.plans import PlanNotFound
from invoicing.services.changes import SubscriptionChanged
from invoicing.services.subscription_updates import preview_update, update_subscription

_PROBLEMS: list[type[DomainError] | str] = [
    PlanNotFound,
    PlanNotSubscribable,
    SubscriptionExists,
    SubscriptionChanged,
    AmountNotPositive,
    AccountForbidden,
    InvalidState,
    NotFound,
]


class SubscriptionChangeViewSet(BillingViewSet):
    """One subscription: look, change its terms and settings. Of two changes that saw the same terms, one is refused."""

    scopes: ClassVar[dict[str, Scopes]] = {
        "retrieve": BOTH_READ,
        "partial_update": WRITE,
        "change_plan": WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "retrieve": [NotFound],
        "partial_update": _PROBLEMS,
        "change_plan": _PROBLEMS,
    }
    operation_ids: ClassVar[dict[str, str]] = {
        "retrieve": "subscription_get",
        "partial_update": "subscription_update",
        "change_plan": "subscription_change_plan",
    }

    @extend_schema(responses=SubscriptionSerializer)
    def retrieve(self, request: Request, subscription_id: str) -> Response:
        """Show a subscription."""
        return self._answer(find_subscription(self.principal, subscription_id))

    @extend_schema(request=SubscriptionUpdateInput, responses=SubscriptionSerializer)
    def partial_update(self, request: Request, subscription_id: str) -> Response:
        """Change plan, quantity, interval or settings; a dearer plan at once, a cheaper one with the next period."""
        body = SubscriptionUpdateInput(data=request.data)
        body.is_valid(raise_exception=True)
        found = self._find(subscription_id)
        update_subscription(**self._read(found, dict(body.validated_data)))
        return self._answer(found)

    @extend_schema(parameters=[ChangePlanQuery], request=ChangePlanInput, responses=ChangedSubscriptionSerializer)
    def change_plan(self, request: Request, subscription_id: str) -> Response:
        """Move to another plan, or `preview` what that would come to. The plan in force takes a waiting change back."""
        body = ChangePlanInput(data=request.data)
        body.is_valid(raise_exception=True)
        query = query_serializer(ChangePlanQuery, request)
        values = dict(body.validated_data)
        named = [given.pop(name, None) for given in (values, query) for name in ("plan_id", "new_plan_id")]
        values["plan_id"] = choose_plan(*named)
        is_preview = values.pop("preview")
        found = self._find(subscription_id)
        arguments = self._read(found, values)
        if not is_preview:
            update_subscription(**arguments)
            return self._answer(found)
        outcome, internal = preview_update(**arguments), self.principal.is_internal
        shown = ChangedSubscriptionSerializer(
            outcome.subscription, context={**get_rendering(internal=internal), "outcome": outcome}
        )
        newest = render_subscription(found.pk, internal=internal)["current_invoice_id"]
        return Response({**shown.data, "current_invoice_id": newest})

    def _find(self, subscription_id: str) -> Subscription:
        return find_subscription(self.principal, subscription_id, write=True)

    def _answer(self, found: Subscription) -> Response:
        return answer_subscription(found.pk, internal=self.principal.is_internal)

    def _read(self, found: Subscription, values: dict[str, Any]) -> dict[str, Any]:
        """Return what the service takes; what is left of `values` when the terms are taken out are settings."""
        return {
            "subscription_id": found.pk,
            "request": make_request(values),
            "settings": values,
            "at": clock.now(found.account),
            "actor": self.actor,
            "expected_revision": found.revision,
            "self_service": not self.principal.is_internal,
        }
