"""The claim door of the starter credit."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.credit_grants import StarterCreditInput
from accounts.api.serializers.ledger import TransactionResultSerializer
from accounts.queries.access import resolve_account
from accounts.services.starter_credit import (
    AMOUNT,
    CURRENCY,
    PaymentMethodRequired,
    StarterCreditAlreadyGranted,
    grant_starter_credit,
)
from billing_site.api.params import account_reference
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, InvalidState, NotFound


class StarterCreditView(BillingAPIView):
    """Credit to begin with, once per account."""

    scopes = {"post": {"public": "billing:setup", "internal": "billing:money"}}
    problems = {
        "post": [
            AccountRequired,
            AccountForbidden,
            NotFound,
            InvalidState,
            PaymentMethodRequired,
            StarterCreditAlreadyGranted,
        ]
    }
    operation_ids = {"post": "starter_credit_claim"}

    @extend_schema(request=StarterCreditInput, responses={201: TransactionResultSerializer})
    def post(self, request: Request) -> Response:
        """Claim the one-time starter credit: 5.00 usd that end after 30 days."""
        body = StarterCreditInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request), write=True)
        entry = grant_starter_credit(account=account, at=clock.now(account), actor=self.actor, trigger="claim")
        shown = TransactionResultSerializer(entry, context={"amount": AMOUNT, "currency": CURRENCY})
        return Response(shown.data, status=201)
