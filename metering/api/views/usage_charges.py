"""The door for calls whose cost is known."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.currencies import require_currency
from accounts.queries.tiers import get_tier
from accounts.services.usage_charges import RequestIdReused, UsageCharge
from billing_site.api.params import account_reference
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountRequired, CurrencyUnsupported, NotFound
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.usage_charge import UsageChargeInput, UsageChargeSerializer
from metering.services.charging import ApiCall, charge_usage


class UsageChargeView(KeepsRefusals, BillingAPIView):
    """Work that was done already, taken from the prepaid balance."""

    recording_actions = frozenset({"post"})
    scopes = {"post": internal("billing:usage:write")}
    problems = {"post": [AccountRequired, NotFound, CurrencyUnsupported, RequestIdReused]}
    operation_ids = {"post": "usage_charge"}

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
