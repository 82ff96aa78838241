"""Where an account stands, in one answer."""

from __future__ import annotations

from typing import Final

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.tiers import get_tier
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, NotFound, ValidationFailed
from metering.api.serializers.status import BillingStatusSerializer, StatusQuery, render_status
from metering.queries.status import get_status

_MAX_REFERENCE: Final = 255


class StatusViewSet(BillingViewSet):
    """The billing state of an account, in three queries."""

    queryset = Account.objects.none()
    serializer_class = BillingStatusSerializer
    scopes = {"own": BOTH_READ, "of_account": internal("billing:read")}
    problems = {"own": [AccountForbidden, AccountRequired, NotFound], "of_account": [NotFound]}
    operation_ids = {"own": "status_get", "of_account": "account_status_get"}

    @extend_schema(parameters=[StatusQuery], responses=BillingStatusSerializer)
    def own(self, request: Request) -> Response:
        """Subscription state, usable features, quota use, what to do next, payment method and credit."""
        query_serializer(StatusQuery, request)
        return self._answer(request, resolve_account(self.principal, account_reference(request)))

    @extend_schema(responses=BillingStatusSerializer)
    def of_account(self, request: Request, account_id: str) -> Response:
        """The status of an account chosen by an operator."""
        if len(account_id) > _MAX_REFERENCE or not account_id.isprintable() or " " in account_id.strip():
            raise ValidationFailed.of("/account_id", "invalid", "This is neither an id nor an external id.")
        return self._answer(request, resolve_account(self.principal, account_id))

    def _answer(self, request: Request, account: Account) -> Response:
        claims = request.auth if isinstance(request.auth, dict) else {}
        tier = get_tier(account=account, claim=claims.get("tier"))
        return Response(render_status(get_status(account=account, at=clock.now(account)), tier=tier.name))
