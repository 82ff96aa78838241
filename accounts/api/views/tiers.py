"""The tier of an account, and whether a model may be used on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.tiers import TierCheckQuery, TierCheckSerializer, TierQuery, TierViewSerializer
from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.tiers import get_spendable, get_tier
from accounts.terms.tiers import TierConfig
from billing_site.api.lean import LeanCall
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import AccountForbidden, AccountRequired, CurrencyUnsupported, NotFound


def _choose_tier(
    principal: Principal, claims: Mapping[str, Any], account: Account, query: Mapping[str, Any]
) -> TierConfig:
    """Return the tier of the token's claim, else the stored one; internal callers may name another."""
    override = query.get("tier") if principal.is_internal else None
    return get_tier(account=account, claim=claims.get("tier"), override=override)


class TierView(BillingAPIView):
    """Tier, limits and money."""

    scopes = {"get": BOTH_READ}
    problems = {"get": [AccountRequired, AccountForbidden, NotFound, CurrencyUnsupported]}
    operation_ids = {"get": "tier_get"}

    @extend_schema(parameters=[TierQuery], responses=TierViewSerializer)
    def get(self, request: Request) -> Response:
        """Tier of an account with its limits and the money that can be spent right now."""
        query = query_serializer(TierQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        claims = request.auth if isinstance(request.auth, dict) else {}
        tier = _choose_tier(self.principal, claims, account, query)
        money = get_spendable(account=account, tier=tier, currency=query["currency"], at=clock.now(account))
        return Response(TierViewSerializer({"account_id": account.public_id, "tier": tier, "balance": money}).data)


def answer_tier_check(call: LeanCall) -> HttpResponse:
    """Tell whether a model name is allowed; one query."""
    query = query_serializer(TierCheckQuery, call)
    account = resolve_account(call.principal, account_reference(call))
    tier = _choose_tier(call.principal, call.claims, account, query)
    shown: dict[str, Any] = {"account_id": account.public_id, "tier": tier}
    if "model" in query:
        shown |= {"model": query["model"], "allowed": tier.allows_model(query["model"])}
    return call.respond(dict(TierCheckSerializer(shown).data))


class TierCheckView(BillingAPIView):
    """The fast gate in front of a model."""

    scopes = {"get": BOTH_READ}
    problems = {"get": [AccountRequired, AccountForbidden, NotFound]}
    operation_ids = {"get": "tier_check"}

    @extend_schema(parameters=[TierCheckQuery], responses=TierCheckSerializer)
    def get(self, request: Request) -> HttpResponse:
        """Tell whether a model name is allowed for the tier; reads no balance."""
        return answer_tier_check(LeanCall.of(self, request))
