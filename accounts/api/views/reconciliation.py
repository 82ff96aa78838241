"""
Matching bank transfers that arrived, by the reference they quote; the answer is the movement of invoice credit.

The views keep their own idempotency: a transfer that is not matched is kept although the request is refused.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.reconciliation import ReconcileInput, ReconcileSerializer
from accounts.queries.invoice_credit import get_balance_transaction
from billing_site.api.idempotency import REPLAYED, mark_request
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported
from billing_site.platform.services.keyed_requests import RequestMark
from invoicing.services.bank_transfers import (
    Arrival,
    CurrencyMismatch,
    Reconciled,
    ReferenceNotMatched,
    receive_transfer,
)


class ReconcileView(BillingAPIView):
    """Matching an incoming transfer by its reference."""

    idempotency = "own"
    scopes = {"post": internal("billing:money")}
    problems = {"post": [AmountNotPositive, ReferenceNotMatched, CurrencyMismatch, CurrencyUnsupported]}
    operation_ids = {"post": "bank_transfer_reconcile"}

    @extend_schema(request=ReconcileInput, responses=ReconcileSerializer)
    def post(self, request: Request) -> Response:
        """Match an incoming bank transfer by its reference and credit the account; unmatched ones are kept too."""
        body = ReconcileInput(data=request.data)
        body.is_valid(raise_exception=True)
        data: dict[str, Any] = dict(body.validated_data)
        applies = data.pop("apply_to_invoices")
        key, digest = mark_request(request, self.principal)
        outcome = receive_transfer(
            arrival=Arrival(**data),
            at=clock.now(),
            actor=self.actor,
            apply_to_invoices=applies,
            org_id=self.principal.org,
            livemode=settings.BILLING_LIVEMODE,
            mark=RequestMark(key, digest),
        )
        outcome.require_match()
        response = Response(_show(outcome))
        if outcome.is_duplicate and key:
            response[REPLAYED] = "true"
        return response


class ReconciliationMatchView(ReconcileView):
    """The same under its shorter path."""

    operation_ids = {"post": "reconciliation_match"}


def _show(outcome: Reconciled) -> Any:
    transfer = outcome.transfer
    if transfer.entry is None or transfer.account is None:
        raise TypeError(f"{transfer.public_id} is not matched")
    return ReconcileSerializer(
        {
            "matched": True,
            "duplicate": outcome.is_duplicate,
            "account_id": transfer.account.public_id,
            "amount": transfer.amount,
            "currency": transfer.currency,
            "reference": transfer.reference,
            "transfer_type": None if transfer.instruction is None else transfer.instruction.type,
            "transaction": get_balance_transaction(entry_id=transfer.entry.pk),
        }
    ).data
