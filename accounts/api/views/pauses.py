"""Pausing subscriptions, and going on."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import WRITE, answer_subscription
from accounts.models import Subscription
from accounts.queries.subscriptions import find_subscription
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import TimestampField
from billing_site.api.permissions import Scopes
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, DomainError, InvalidState, NotFound
from invoicing.services.pauses import pause_subscription, resume_subscription

_PROBLEMS: list[type[DomainError] | str] = [AccountForbidden, NotFound, InvalidState]


class PauseInput(StrictSerializer):
    resume_at = TimestampField(required=False, allow_null=True, help_text="When it goes on by itself.")


class PauseViewSet(BillingViewSet):
    """A break: no billing and no access; what was paid for the time is given back when it ends."""

    scopes: ClassVar[dict[str, Scopes]] = {"pause": WRITE, "resume": WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"pause": _PROBLEMS, "resume": _PROBLEMS}
    operation_ids: ClassVar[dict[str, str]] = {"pause": "subscription_pause", "resume": "subscription_resume"}

    @extend_schema(request=PauseInput, responses=SubscriptionSerializer)
    def pause(self, request: Request, subscription_id: str) -> Response:
        """Stop billing and access, until it is resumed or until `resume_at`."""
        body = PauseInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = body.validated_data
        found = self._find(subscription_id)
        pause_subscription(
            subscription_id=found.pk,
            at=clock.now(found.account),
            actor=self.actor,
            resume_at=values.get("resume_at"),
        )
        return self._answer(found)

    @extend_schema(request=None, responses=SubscriptionSerializer)
    def resume(self, request: Request, subscription_id: str) -> Response:
        """End a pause: unused days are credited, the rest of the running period is charged."""
        found = self._find(subscription_id)
        resume_subscription(subscription_id=found.pk, at=clock.now(found.account), actor=self.actor)
        return self._answer(found)

    def _find(self, subscription_id: str) -> Subscription:
        return find_subscription(self.principal, subscription_id, write=True)

    def _answer(self, found: Subscription) -> Response:
        return answer_subscription(found.pk, internal=self.principal.is_internal)
