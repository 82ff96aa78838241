"""Prepaid balances, movements and deposits."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.ledger import (
    BalanceAllQuery,
    BalanceAllSerializer,
    BalanceQuery,
    BalanceSerializer,
    CurrencyBalanceSerializer,
    DepositInput,
    TransactionPageSerializer,
    TransactionQuery,
    TransactionResultSerializer,
)
from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.ledger import get_balance, list_balances, list_movements
from accounts.services.deposits import deposit
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    AmountNotPositive,
    CurrencyUnsupported,
    InvalidState,
    NotFound,
)


class _AccountView(BillingAPIView):
    """A door to one account, named in the query or the body."""

    def get_account(self, request: Request) -> Account:
        return resolve_account(self.principal, account_reference(request))


class BalanceView(_AccountView):
    scopes = {"get": BOTH_READ}
    problems = {"get": [AccountRequired, AccountForbidden, NotFound, CurrencyUnsupported]}
    operation_ids = {"get": "balance_get"}

    @extend_schema(parameters=[BalanceQuery], responses=BalanceSerializer)
    def get(self, request: Request) -> Response:
        """Prepaid balance of an account in one currency."""
        query = query_serializer(BalanceQuery, request)
        account = self.get_account(request)
        balance = get_balance(account_id=account.pk, currency=query["currency"], at=clock.now(account))
        shown = CurrencyBalanceSerializer(balance).data
        return Response({"account_id": account.public_id, **shown})


class BalanceAllView(_AccountView):
    scopes = {"get": BOTH_READ}
    problems = {"get": [AccountRequired, AccountForbidden, NotFound]}
    operation_ids = {"get": "balance_all"}

    @extend_schema(parameters=[BalanceAllQuery], responses=BalanceAllSerializer)
    def get(self, request: Request) -> Response:
        """Prepaid balance of an account in every currency it ever held."""
        query_serializer(BalanceAllQuery, request)
        account = self.get_account(request)
        balances = list_balances(account_id=account.pk, at=clock.now(account))
        return Response(BalanceAllSerializer({"account_id": account.public_id, "balances": balances}).data)


class TransactionView(_AccountView):
    scopes = {"get": BOTH_READ}
    problems = {"get": [AccountRequired, AccountForbidden, NotFound, CurrencyUnsupported]}
    operation_ids = {"get": "transaction_list"}

    @extend_schema(parameters=[TransactionQuery], responses=TransactionPageSerializer)
    def get(self, request: Request) -> Response:
        """Prepaid movements of an account, newest first."""
        query = query_serializer(TransactionQuery, request)
        account = self.get_account(request)
        page = list_movements(
            account=account, currency=query.get("currency"), limit=query["limit"], offset=query["offset"]
        )
        shown = {"transactions": page.movements, "count": page.count, "account_id": account.public_id}
        return Response(TransactionPageSerializer(shown).data)


class DepositView(_AccountView):
    scopes = {"post": internal("billing:money")}
    problems = {"post": [AccountRequired, AmountNotPositive, CurrencyUnsupported, NotFound, InvalidState]}
    operation_ids = {"post": "deposit_create"}

    @extend_schema(request=DepositInput, responses={201: TransactionResultSerializer})
    def post(self, request: Request) -> Response:
        """Put money on the prepaid balance: settlement, manual credit, promotion."""
        body = DepositInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = {name: value for name, value in body.validated_data.items() if name != "account"}
        account = self.get_account(request)
        entry = deposit(account=account, **values, at=clock.now(account), actor=self.actor)
        shown = TransactionResultSerializer(entry, context={"amount": values["amount"], "currency": values["currency"]})
        return Response(shown.data, status=201)
