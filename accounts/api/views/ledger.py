"""Prepaid balances, movements and deposits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.ledger import (
    BalanceAllQuery,
    BalanceAllSerializer,
    BalanceQuery,
    BalanceSerializer,
    CurrencyBalanceSerializer,
    DepositInput,
    RefundInput,
    TransactionPageSerializer,
    TransactionQuery,
    TransactionResultSerializer,
    WithdrawInput,
)
from accounts.models import Account, LedgerEntry
from accounts.queries.access import resolve_account
from accounts.queries.ledger import get_balance, list_balances, list_movements
from accounts.services.corrections import AmountExceedsRefundable, CurrencyMismatch, correct_movement
from accounts.services.deposits import deposit
from accounts.services.prepaid import InsufficientBalance
from accounts.services.withdrawals import withdraw
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


class _MoneyView(_AccountView):
    """A door that moves prepaid money and answers the entry."""

    def answer(self, entry: LedgerEntry, values: Mapping[str, Any]) -> Response:
        context = {"amount": values["amount"], "currency": values["currency"]}
        return Response(TransactionResultSerializer(entry, context=context).data, status=201)

    def read(self, serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
        """Return the body without the account."""
        body = serializer(data=request.data)
        body.is_valid(raise_exception=True)
        return {name: value for name, value in body.validated_data.items() if name != "account"}


class DepositView(_MoneyView):
    scopes = {"post": internal("billing:money")}
    problems = {"post": [AccountRequired, AmountNotPositive, CurrencyUnsupported, NotFound, InvalidState]}
    operation_ids = {"post": "deposit_create"}

    @extend_schema(request=DepositInput, responses={201: TransactionResultSerializer})
    def post(self, request: Request) -> Response:
        """Put money on the prepaid balance: settlement, manual credit, promotion."""
        values = self.read(DepositInput, request)
        account = self.get_account(request)
        return self.answer(deposit(account=account, **values, at=clock.now(account), actor=self.actor), values)


class WithdrawView(_MoneyView):
    scopes = {"post": {"public": "billing:payment:write", "internal": "billing:money"}}
    problems = {
        "post": [
            AccountRequired,
            AccountForbidden,
            AmountNotPositive,
            CurrencyUnsupported,
            InsufficientBalance,
            NotFound,
            InvalidState,
        ]
    }
    operation_ids = {"post": "withdraw_create"}

    @extend_schema(request=WithdrawInput, responses={201: TransactionResultSerializer})
    def post(self, request: Request) -> Response:
        """Move paid money out of the prepaid balance; public callers as owner or admin of the account."""
        values = self.read(WithdrawInput, request)
        account = resolve_account(self.principal, account_reference(request), write=True)
        return self.answer(withdraw(account=account, **values, at=clock.now(account), actor=self.actor), values)


class RefundView(_MoneyView):
    scopes = {"post": internal("billing:money")}
    problems = {
        "post": [
            AccountRequired,
            AmountNotPositive,
            CurrencyUnsupported,
            NotFound,
            AmountExceedsRefundable,
            CurrencyMismatch,
            InvalidState,
        ]
    }
    operation_ids = {"post": "refund_correction_create"}

    @extend_schema(request=RefundInput, responses={201: TransactionResultSerializer})
    def post(self, request: Request) -> Response:
        """Correct an overcharge: give back to the prepaid balance what a movement took too much."""
        values = self.read(RefundInput, request)
        account = self.get_account(request)
        return self.answer(correct_movement(account=account, **values, at=clock.now(account), actor=self.actor), values)
