"""Invoice credit: its balance, its movements, manual adjustments."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.invoice_credit import (
    AdjustmentInput,
    BalanceTransactionQuery,
    BalanceTransactionSerializer,
    CustomerBalanceQuery,
    CustomerBalanceSerializer,
)
from accounts.queries.access import choose_accounts, resolve_account
from accounts.queries.invoice_credit import (
    get_balance_transaction,
    get_invoice_credit,
    list_credit_postings,
    show_postings,
)
from accounts.services.adjustments import AmountZero, adjust_invoice_credit
from accounts.services.prepaid import InsufficientBalance
from billing_site.api.pagination import CursorPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, CurrencyUnsupported, InvalidState, NotFound


class CustomerBalanceView(BillingAPIView):
    scopes = {"get": BOTH_READ}
    problems = {"get": [AccountRequired, AccountForbidden, NotFound, CurrencyUnsupported]}
    operation_ids = {"get": "customer_balance_get"}

    @extend_schema(parameters=[CustomerBalanceQuery], responses=CustomerBalanceSerializer)
    def get(self, request: Request) -> Response:
        """Invoice credit of an account: money set aside to settle invoices."""
        query = query_serializer(CustomerBalanceQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        currency = query["currency"]
        balance = get_invoice_credit(account_id=account.pk, currency=currency)
        shown = {"account_id": account.public_id, "currency": currency, "balance": balance}
        return Response(CustomerBalanceSerializer(shown).data)


class AdjustmentView(BillingAPIView):
    scopes = {"post": internal("billing:money")}
    problems = {"post": [AccountRequired, AmountZero, CurrencyUnsupported, InsufficientBalance, NotFound, InvalidState]}
    operation_ids = {"post": "customer_balance_adjust"}

    @extend_schema(request=AdjustmentInput, responses={201: BalanceTransactionSerializer})
    def post(self, request: Request) -> Response:
        """Book a manual correction on the invoice credit."""
        body = AdjustmentInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = {name: value for name, value in body.validated_data.items() if name != "account"}
        account = resolve_account(self.principal, account_reference(request))
        entry = adjust_invoice_credit(account=account, **values, at=clock.now(account), actor=self.actor)
        return Response(BalanceTransactionSerializer(get_balance_transaction(entry_id=entry.pk)).data, status=201)


class BalanceTransactionViewSet(BillingViewSet):
    """Movements of invoice credit."""

    scopes = {"list": BOTH_READ}
    problems = {"list": [AccountForbidden, NotFound, CurrencyUnsupported]}
    operation_ids = {"list": "balance_transaction_list"}
    pagination_class = CursorPages

    @extend_schema(parameters=[BalanceTransactionQuery], responses=list_of(BalanceTransactionSerializer))
    def list(self, request: Request) -> Response:
        """Movements of the invoice credit with the balance after each, newest first."""
        query = query_serializer(BalanceTransactionQuery, request)
        rows = list_credit_postings(
            accounts=choose_accounts(self.principal, account_reference(request)),
            currency=query.get("currency"),
            type=query.get("type"),
            invoice_id=query.get("invoice_id"),
        )
        paginator = CursorPages()
        page = show_postings(paginator.paginate_queryset(rows, request))
        return paginator.get_paginated_response([BalanceTransactionSerializer(row).data for row in page])
