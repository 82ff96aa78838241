"""The doors for calls whose cost is known: charge them, list what they took."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.currencies import require_currency
from accounts.queries.tiers import get_tier
from accounts.queries.usage_charges import list_usage_charges
from accounts.services.usage_charges import RequestIdReused, UsageCharge
from billing_site.api.pagination import CursorPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, CurrencyUnsupported, NotFound
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.usage_charge import (
    UsageChargeInput,
    UsageChargeSerializer,
    UsageTransactionListSerializer,
    UsageTransactionQuery,
)
from metering.services.charging import ApiCall, charge_usage


class UsageChargeView(KeepsRefusals, BillingAPIView):
    """Work that was done already, taken from the prepaid balance."""

    recording_actions = frozenset({"post"})
    scopes = {"get": BOTH_READ, "post": internal("billing:usage:write")}
    problems = {
        "get": [AccountRequired, AccountForbidden, NotFound, CurrencyUnsupported],
        "post": [AccountRequired, NotFound, CurrencyUnsupported, RequestIdReused],
    }
    operation_ids = {"get": "usage_list", "post": "usage_charge"}

    @extend_schema(parameters=[UsageTransactionQuery], responses=UsageTransactionListSerializer)
    def get(self, request: Request) -> Response:
        """Charged usage of an account as money taken from its prepaid balance, newest first."""
        query = query_serializer(UsageTransactionQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        charges = list_usage_charges(account=account, currency=query.get("currency"))
        pages = CursorPages()
        rows = pages.paginate_queryset(charges, request, self)
        shown = {
            "account_id": account.public_id,
            "count": charges.count(),
            "usage": rows,
            "next_cursor": pages.next_cursor,
            "has_more": pages.next_cursor is not None,
        }
        return Response(UsageTransactionListSerializer(shown).data)

    @extend_schema(request=UsageChargeInput, responses={201: UsageChargeSerializer, 200: UsageChargeSerializer})
    def post(self, request: Request) -> Response:
        """
        Record an API call whose cost the caller knows and take it from the prepaid balance.

        Never refused for want of money: the balance may become negative. A repeat of `request_id` answers 200.
        """
        body = UsageChargeInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = {name: value for name, value in body.validated_data.items() if name != "account"}
        account = resolve_account(self.principal, account_reference(request))
        amount, currency = values.pop("amount", None) or 0, require_currency(values.pop("currency"))
        if amount <= 0:
            return Response(_show(account, currency=currency, status="skipped"))
        claims = request.auth if isinstance(request.auth, dict) else {}
        charge = charge_usage(
            account=account,
            amount=amount,
            currency=currency,
            client_ip=values.pop("client_ip", None) or "",
            call=ApiCall(**values),
            tier=get_tier(account=account, claim=claims.get("tier")),
            at=clock.now(account),
            actor=self.actor,
        )
        shown = _show(account, charge, currency=charge.currency, status="recorded" if charge.created else "duplicate")
        return Response(shown, status=201 if charge.created else 200)


def _show(account: Account, charge: UsageCharge | None = None, *, currency: str, status: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "account_id": account.public_id,
        "amount": 0 if charge is None else charge.amount,
        "currency": currency,
        "type": "withdraw",
        "daily_credit_used": 0 if charge is None else charge.daily_credit_used,
        "status": status,
    }
    if charge is not None:
        shown["transaction_id"] = charge.entry.public_id
    return dict(UsageChargeSerializer(shown).data)
