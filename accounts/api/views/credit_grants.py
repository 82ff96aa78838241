"""Credit grants: give, look, void; what of them is usable; credit for one subscription."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.credit_grants import (
    CreditBalanceQuery,
    CreditBalanceSerializer,
    CreditBreakdownSerializer,
    CreditGrantInput,
    CreditGrantQuery,
    CreditGrantSerializer,
    CreditGrantVoidInput,
    SubscriptionCreditInput,
)
from accounts.models import Account, CreditGrant, Subscription, SubscriptionStatus
from accounts.queries.access import resolve_account, visible_accounts
from accounts.queries.credit_grants import get_grant, list_available, list_by_tag, list_grants, with_details
from accounts.services.credit_grants import AlreadyVoided, grant_credit, void_grant
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    AmountNotPositive,
    CurrencyUnsupported,
    DomainError,
    InvalidState,
    NotFound,
    ValidationFailed,
)

_READ_PROBLEMS: list[type[DomainError] | str] = [AccountRequired, AccountForbidden, NotFound]
SUBSCRIPTION_TAG = "subscription"


class CreditGrantViewSet(BillingViewSet):
    """Credit with its own order, end and meters."""

    queryset = CreditGrant.objects.none()
    serializer_class = CreditGrantSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "list": BOTH_READ,
        "create": internal("billing:money"),
        "void": internal("billing:money"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": _READ_PROBLEMS,
        "create": [AccountRequired, AmountNotPositive, CurrencyUnsupported, NotFound, InvalidState],
        "void": [NotFound, AlreadyVoided],
    }
    operation_ids = {"list": "credit_grant_list", "create": "credit_grant_create", "void": "credit_grant_void"}

    @extend_schema(parameters=[CreditGrantQuery], responses=list_of(CreditGrantSerializer))
    def list(self, request: Request) -> Response:
        """List the credit grants of an account, newest first, spent and void ones included."""
        query = query_serializer(CreditGrantQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        rows = list_grants(
            Account.objects.filter(pk=account.pk),
            at=clock.now(account),
            active=query["active"],
            tags=query.get("tags", ""),
        )
        return self.page(rows, CreditGrantSerializer)

    @extend_schema(request=CreditGrantInput, responses={201: CreditGrantSerializer})
    def create(self, request: Request) -> Response:
        """Give an account promotional or purchased credit."""
        body = CreditGrantInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = {name: value for name, value in body.validated_data.items() if name != "account"}
        account = resolve_account(self.principal, account_reference(request))
        at = clock.now(account)
        values["amount"] = values.pop("amount_cents")
        _set_end(values, at)
        grant = grant_credit(account=account, **values, at=at, actor=self.actor)
        return _answer(grant, status=201)

    @extend_schema(request=CreditGrantVoidInput, responses=CreditGrantSerializer)
    def void(self, request: Request, grant_id: str) -> Response:
        """Make the rest of a grant unusable. What was spent stays spent."""
        body = CreditGrantVoidInput(data=request.data)
        body.is_valid(raise_exception=True)
        grant = get_grant(visible_accounts(self.principal), grant_id)
        at = clock.now(grant.account)
        reason = body.validated_data.get("reason", "")
        return _answer(void_grant(grant_id=grant.pk, at=at, actor=self.actor, reason=reason))


class CreditBalanceView(BillingAPIView):
    """Usable credit per currency."""

    scopes = {"get": BOTH_READ}
    problems = {"get": _READ_PROBLEMS}
    operation_ids = {"get": "credit_balance_get"}

    @extend_schema(parameters=[CreditBalanceQuery], responses=CreditBalanceSerializer)
    def get(self, request: Request) -> Response:
        """Usable credit of an account per currency; its own currency is always there."""
        query_serializer(CreditBalanceQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        balances = list_available(account=account, at=clock.now(account))
        return Response(CreditBalanceSerializer({"account_id": account.public_id, "balances": balances}).data)


class CreditBreakdownView(BillingAPIView):
    """Usable credit by tag."""

    scopes = {"get": BOTH_READ}
    problems = {"get": _READ_PROBLEMS}
    operation_ids = {"get": "credit_balance_breakdown"}

    @extend_schema(parameters=[CreditBalanceQuery], responses=CreditBreakdownSerializer)
    def get(self, request: Request) -> Response:
        """Usable credit of an account grouped by tag, so that a screen can tell trial from paid credit."""
        query_serializer(CreditBalanceQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        groups = list_by_tag(account=account, at=clock.now(account))
        own = [group.cents for group in groups if group.currency == account.currency]
        shown = {
            "account_id": account.public_id,
            "breakdown": {
                group.tag if group.currency == account.currency else f"{group.tag}:{group.currency}": {
                    "cents": group.cents,
                    "currency": group.currency,
                    "expires_at": group.expires_at,
                }
                for group in groups
            },
            "total": {"cents": sum(own), "currency": account.currency},
        }
        return Response(CreditBreakdownSerializer(shown).data)


class SubscriptionCreditView(BillingAPIView):
    """Credit bound to one subscription."""

    scopes = {"post": internal("billing:money")}
    problems = {"post": [AmountNotPositive, CurrencyUnsupported, NotFound, InvalidState]}
    operation_ids = {"post": "subscription_credits"}

    @extend_schema(request=SubscriptionCreditInput, responses={201: CreditGrantSerializer})
    def post(self, request: Request, subscription_id: str) -> Response:
        """Give a subscription credit for its next invoices; it burns before other credit of the same priority."""
        body = SubscriptionCreditInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(body.validated_data)
        subscription = self._get(subscription_id)
        if subscription.status == SubscriptionStatus.CANCELED:
            raise InvalidState("A canceled subscription has no next invoice.", current_status=subscription.status)
        if values.setdefault("currency", subscription.currency) != subscription.currency:
            raise ValidationFailed.of(
                "/currency", "currency_mismatch", f"The subscription is billed in {subscription.currency}."
            )
        account = subscription.account
        grant = grant_credit(
            account=account,
            subscription=subscription,
            name=values["reason"][:255],
            tags=SUBSCRIPTION_TAG,
            **values,
            at=clock.now(account),
            actor=self.actor,
        )
        return _answer(grant, status=201)

    def _get(self, reference: str) -> Subscription:
        key = Subscription.parse_id(reference)
        visible = Subscription.objects.filter(account__in=visible_accounts(self.principal).order_by())
        found = None if key is None else visible.filter(pk=key).select_related("account__test_clock").first()
        if found is None:
            raise NotFound("subscription")
        return found


def _set_end(values: dict[str, Any], at: datetime) -> None:
    """Turn `expires_in` into the instant it means."""
    length = values.pop("expires_in", None)
    if length is None:
        return
    if "expires_at" in values:
        raise ValidationFailed.of("/expires_at", "conflict", "Give expires_in or expires_at, not both.")
    values["expires_at"] = values.get("effective_at", at) + length


def _answer(grant: CreditGrant, status: int = 200) -> Response:
    """Render the row as it is stored now, with what belongs to it."""
    row = with_details(CreditGrant.objects.filter(pk=grant.pk)).get()
    return Response(CreditGrantSerializer(row).data, status=status)
