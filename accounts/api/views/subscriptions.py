"""Subscriptions: starting and listing them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery, UUIDField
from django.db.models.functions import Greatest
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.subscriptions import (
    CurrentSubscriptionQuery,
    SubscriptionCreateInput,
    SubscriptionQuery,
    SubscriptionSerializer,
    SubscriptionStatusQuery,
    SubscriptionTermsInput,
    SubscriptionTermsQuery,
)
from accounts.models import Account, Subscription
from accounts.queries.access import choose_accounts, resolve_account
from accounts.queries.subscriptions import (
    SubscriptionNotFound,
    get_current_subscription,
    list_subscriptions,
    with_details,
)
from accounts.services.coupons import AlreadyRedeemed, CouponNotApplicable
from accounts.services.subscriptions import PaymentMethodMissing, PlanNotSubscribable, SubscriptionExists
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    CurrencyUnsupported,
    DomainError,
    FieldError,
    InvalidState,
    NotFound,
    ValidationFailed,
)
from billing_site.kernel.ids import encode_id
from catalog.queries.plans import PlanNotFound
from invoicing.gateways.registry import STRIPE
from invoicing.models import Invoice, InvoiceMember
from invoicing.services.provider_customers import (
    ProviderCustomerMismatch,
    check_provider_customer,
    link_provider_customer,
)
from invoicing.services.subscriptions import start_subscription

WRITE = both("billing:subscription:write")
_INTERNAL_TERMS = {
    "trial_period_days": "the trial period",
    "alignment": "where periods begin",
    "billing_cycle_anchor": "where periods begin",
    "start_at": "a start in the past",
    "payment_gated": "whether a start waits for payment",
}
_START_PROBLEMS: list[type[DomainError] | str] = [
    PlanNotFound,
    CouponNotApplicable,
    AlreadyRedeemed,
    PlanNotSubscribable,
    SubscriptionExists,
    PaymentMethodMissing,
    ProviderCustomerMismatch,
    AccountForbidden,
    CurrencyUnsupported,
    DomainError,
    InvalidState,
    NotFound,
]


class SubscriptionViewSet(BillingViewSet):
    """An account's use of a plan."""

    scopes: ClassVar[dict[str, Scopes]] = {
        "list": BOTH_READ,
        "list_of_account": BOTH_READ,
        "current": BOTH_READ,
        "create": WRITE,
        "create_for_account": WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [AccountForbidden, NotFound],
        "list_of_account": [AccountForbidden, NotFound],
        "current": [AccountForbidden, NotFound, SubscriptionNotFound],
        "create": [*_START_PROBLEMS, AccountRequired],
        "create_for_account": [*_START_PROBLEMS],
    }
    operation_ids: ClassVar[dict[str, str]] = {
        "list": "subscription_list",
        "list_of_account": "subscription_list_account",
        "current": "subscription_current",
        "create": "subscription_create",
        "create_for_account": "subscription_create_account",
    }

    @extend_schema(parameters=[SubscriptionQuery], responses=list_of(SubscriptionSerializer))
    def list(self, request: Request) -> Response:
        """List subscriptions."""
        query = query_serializer(SubscriptionQuery, request)
        accounts = choose_accounts(self.principal, account_reference(request))
        return self._page(
            list_subscriptions(accounts, status=query.get("status"), plan_key=query.get("plan_id")),
        )

    @extend_schema(parameters=[SubscriptionStatusQuery], responses=list_of(SubscriptionSerializer))
    def list_of_account(self, request: Request, account_id: str) -> Response:
        """List every subscription of one account, ended ones included."""
        query = query_serializer(SubscriptionStatusQuery, request)
        accounts = choose_accounts(self.principal, account_id)
        return self._page(list_subscriptions(accounts, status=query.get("status")))

    @extend_schema(parameters=[CurrentSubscriptionQuery], responses=SubscriptionSerializer)
    def current(self, request: Request, account_id: str) -> Response:
        """The running subscription of an account; the newest when several run."""
        query = query_serializer(CurrentSubscriptionQuery, request)
        account = resolve_account(self.principal, account_id)
        found = get_current_subscription(account=account, product=query.get("product"))
        return answer_subscription(found.pk, internal=self.principal.is_internal)

    @extend_schema(
        parameters=[SubscriptionTermsQuery],
        request=SubscriptionCreateInput,
        responses={201: SubscriptionSerializer},
    )
    def create(self, request: Request) -> Response:
        """Start a subscription and bill what is due in advance."""
        body = SubscriptionCreateInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request), write=True)
        return self._start(request, account, dict(body.validated_data))

    @extend_schema(
        parameters=[SubscriptionTermsQuery],
        request=SubscriptionTermsInput,
        responses={201: SubscriptionSerializer},
    )
    def create_for_account(self, request: Request, account_id: str) -> Response:
        """Start a subscription for the account in the path."""
        body = SubscriptionTermsInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_id, write=True)
        return self._start(request, account, dict(body.validated_data))

    def _start(self, request: Request, account: Account, terms: dict[str, Any]) -> Response:
        terms.pop("account", None)
        coupon_code = terms.pop("coupon_code", None) or ""
        plan_key = choose_plan(
            terms.pop("plan_id", None), query_serializer(SubscriptionTermsQuery, request).get("plan_id")
        )
        if not self.principal.is_internal:
            _refuse_internal_terms(terms)
        at = clock.now(account)
        with transaction.atomic():
            self._link_customer(account, terms, at)
            subscription, _ = start_subscription(
                account=account,
                plan_key=plan_key,
                at=at,
                actor=self.actor,
                self_service=not self.principal.is_internal,
                coupon_code=coupon_code,
                **terms,
            )
        return answer_subscription(subscription.pk, status=201, internal=self.principal.is_internal)

    def _link_customer(self, account: Account, terms: dict[str, Any], at: datetime) -> None:
        """Tie the account to the provider's customer that is named. A public caller cannot claim one by its name."""
        own, stripe = terms.pop("provider_customer_id", None), terms.pop("stripe_customer_id", None)
        ref, provider = (stripe, STRIPE) if stripe else (own, settings.BILLING_PAYMENT_PROVIDER)
        if not ref:
            return
        if self.principal.is_internal:
            link_provider_customer(account_id=account.pk, provider_type=provider, ref=ref, at=at, actor=self.actor)
        else:
            check_provider_customer(account=account, provider_type=provider, ref=ref)

    def _page(self, subscriptions: QuerySet[Subscription]) -> Response:
        context = get_rendering(internal=self.principal.is_internal)
        return self.page(_with_newest_invoice(subscriptions), SubscriptionSerializer, **context)


def answer_subscription(key: UUID, status: int = 200, *, internal: bool) -> Response:
    """Render a subscription as it is stored now, with what belongs to it; ids of providers for `internal` callers."""
    return Response(render_subscription(key, internal=internal), status=status)


def render_subscription(key: UUID, *, internal: bool) -> dict[str, Any]:
    """Return a subscription as it is stored now, as `answer_subscription` shows it."""
    row = _with_newest_invoice(with_details(Subscription.objects.filter(pk=key))).get()
    shown: dict[str, Any] = SubscriptionSerializer(row, context=get_rendering(internal=internal)).data
    return shown


def get_rendering(*, internal: bool) -> dict[str, Any]:
    """Return the context in which a subscription is rendered."""
    return {"encode_invoice_id": _invoice_id, "internal": internal}


def _refuse_internal_terms(terms: dict[str, Any]) -> None:
    refused = [
        FieldError(f"/{name}", "internal_only", f"Only internal callers may set {what}.")
        for name, what in _INTERNAL_TERMS.items()
        if terms.get(name) is not None
    ]
    if refused:
        raise ValidationFailed(refused[0].detail, errors=refused)


def choose_plan(*named: str | None) -> str:
    """
    Return the plan that the body and the query string name, under whichever of their words.

    :raises ValidationFailed: when none does, or they name different ones.
    """
    plans = {plan for plan in named if plan}
    if len(plans) > 1:
        raise ValidationFailed.of("/plan_id", "ambiguous", "The query string and the body name different plans.")
    if not plans:
        raise ValidationFailed.of("/plan_id", "required", "Name the plan.")
    return plans.pop()


def _with_newest_invoice(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    alone = Invoice.objects.filter(subscription=OuterRef("pk")).order_by("-id").values("id")[:1]
    shared = InvoiceMember.objects.filter(subscription=OuterRef("pk")).order_by("-invoice_id").values("invoice_id")[:1]
    return subscriptions.annotate(
        newest_invoice_id=Greatest(Subquery(alone), Subquery(shared), output_field=UUIDField())
    )


def _invoice_id(key: Any) -> str:
    return encode_id(Invoice.id_prefix, key)
