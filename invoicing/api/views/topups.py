"""Top-ups of the prepaid balance."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import LedgerEntry, PaymentMethod
from accounts.queries.access import resolve_account
from accounts.queries.ledger import get_balance
from accounts.queries.payment_methods import find_own_method
from billing_site.api.idempotency import mark_request
from billing_site.api.params import account_reference
from billing_site.api.permissions import Scopes
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    AmountNotPositive,
    CurrencyUnsupported,
    DomainError,
    InvalidState,
    NotFound,
)
from billing_site.platform.services.keyed_requests import RequestKeyReused, RequestMark
from invoicing.api.serializers.payment_intent import TopUpInput, TopUpSerializer, TopUpTokenInput
from invoicing.gateways.port import NoProcessorAvailable
from invoicing.models import PaymentIntent
from invoicing.services.charging import PaymentDeclined
from invoicing.services.topups import top_up

_WRITE: Scopes = {"public": "billing:payment:write", "internal": "billing:money"}
_PROBLEMS: list[type[DomainError] | str] = [
    *(AccountForbidden, AccountRequired, NotFound, InvalidState, AmountNotPositive, CurrencyUnsupported),
    *(PaymentDeclined, NoProcessorAvailable, RequestKeyReused),
]


class _TopUps(BillingAPIView):
    handles_payment_methods = True
    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {"post": _WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": _PROBLEMS}

    def charge(self, request: Request, serializer: type[TopUpInput] | type[TopUpTokenInput]) -> Response:
        """Charge what the body names, and show what came of it."""
        body = serializer(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        account = resolve_account(self.principal, account_reference(request), write=True)
        method: PaymentMethod | None = None
        if "payment_method_id" in data:
            method = find_own_method(account.pk, data["payment_method_id"])
        intent = top_up(
            account=account,
            amount=data["amount_cents"],
            currency=data["currency"],
            at=clock.now(account),
            actor=self.actor,
            method=method,
            token=data.get("source_id", ""),
            mark=RequestMark(*mark_request(request, self.principal)),
        )
        return Response(TopUpSerializer(self._show(intent)).data)

    def _show(self, intent: PaymentIntent) -> dict[str, object]:
        entry = LedgerEntry.objects.filter(key=f"topup:{intent.public_id}").first()
        balance = get_balance(account_id=intent.account_id, currency=intent.currency).balance
        needs_action = intent.status == "requires_action"
        return {
            "transaction_id": None if entry is None else entry.public_id,
            "balance_cents": max(0, balance),
            "status": "ok" if entry is not None else "requires_action" if needs_action else "pending",
            "client_secret": intent.client_secret if needs_action else None,
        }


class TopUpView(_TopUps):
    """From a stored method."""

    operation_ids: ClassVar[dict[str, str]] = {"post": "topup_create"}

    @extend_schema(request=TopUpInput, responses=TopUpSerializer)
    def post(self, request: Request) -> Response:
        """Charge a saved payment method and add the amount to the prepaid balance."""
        return self.charge(request, TopUpInput)


class TopUpTokenView(_TopUps):
    """From a one-time token."""

    operation_ids: ClassVar[dict[str, str]] = {"post": "topup_token_create"}

    @extend_schema(request=TopUpTokenInput, responses=TopUpSerializer)
    def post(self, request: Request) -> Response:
        """Charge a one-time token and add the amount to the prepaid balance; the token is not stored."""
        return self.charge(request, TopUpTokenInput)
