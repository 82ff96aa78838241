"""Subscriptions: starting them and looking at them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
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
    find_subscription,
    get_current_subscription,
    list_subscriptions,
    with_details,
)
from accounts.services.subscriptions import PlanNotSubscribable, SubscriptionExists
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    CurrencyUnsupported,
    InvalidState,
    NotFound,
    ValidationFailed,
)
from billing_site.kernel.ids import encode_id
from catalog.queries.plans import PlanNotFound
from invoicing.models import Invoice
from invoicing.services.subscriptions import start_subscription

WRITE = both("billing:subscription:write")
_START_PROBLEMS = [
    PlanNotFound,
    PlanNotSubscribable,
    SubscriptionExists,
    AccountForbidden,
    CurrencyUnsupported,
    InvalidState,
    NotFound,
]


class SubscriptionViewSet(BillingViewSet):
    """An account's use of a plan."""

    scopes = {
        "list": BOTH_READ,
        "list_of_account": BOTH_READ,
        "current": BOTH_READ,
        "retrieve": BOTH_READ,
        "create": WRITE,
        "create_for_account": WRITE,
    }
    problems = {
        "list": [AccountForbidden, NotFound],
        "list_of_account": [AccountForbidden, NotFound],
        "current": [AccountForbidden, NotFound, SubscriptionNotFound],
        "retrieve": [NotFound],
        "create": [*_START_PROBLEMS, AccountRequired],
        "create_for_account": [*_START_PROBLEMS],
    }
    operation_ids = {
        "list": "subscription_list",
        "list_of_account": "subscription_list_account",
        "current": "subscription_current",
        "retrieve": "subscription_get",
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
        return answer_subscription(found.pk)

    @extend_schema(responses=SubscriptionSerializer)
    def retrieve(self, request: Request, subscription_id: str) -> Response:
        """Show a subscription."""
        return answer_subscription(find_subscription(self.principal, subscription_id).pk)

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
        plan_key = _choose_plan(request, terms.pop("plan_id", None))
        if not self.principal.is_internal and terms.get("trial_period_days") is not None:
            raise ValidationFailed.of(
                "/trial_period_days", "internal_only", "Only internal callers may set the trial period."
            )
        subscription, _ = start_subscription(
            account=account,
            plan_key=plan_key,
            at=clock.now(account),
            actor=self.actor,
            self_service=not self.principal.is_internal,
            **terms,
        )
        return answer_subscription(subscription.pk, status=201)

    def _page(self, subscriptions: QuerySet[Subscription]) -> Response:
        return self.page(_with_newest_invoice(subscriptions), SubscriptionSerializer, encode_invoice_id=_invoice_id)


def answer_subscription(key: UUID, status: int = 200) -> Response:
    """Render a subscription as it is stored now, with what belongs to it."""
    row = _with_newest_invoice(with_details(Subscription.objects.filter(pk=key))).get()
    shown = SubscriptionSerializer(row, context={"encode_invoice_id": _invoice_id})
    return Response(shown.data, status=status)


def _choose_plan(request: Request, from_body: str | None) -> str:
    """Return the plan named by the body or the query string."""
    from_query = query_serializer(SubscriptionTermsQuery, request).get("plan_id")
    if from_body and from_query and from_body != from_query:
        raise ValidationFailed.of("/plan_id", "ambiguous", "The query string and the body name different plans.")
    plan = from_body or from_query
    if not plan:
        raise ValidationFailed.of("/plan_id", "required", "Name the plan.")
    return str(plan)


def _with_newest_invoice(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    newest = Invoice.objects.filter(subscription=OuterRef("pk")).order_by("-id").values("id")[:1]
    return subscriptions.annotate(newest_invoice_id=Subquery(newest))


def _invoice_id(key: Any) -> str:
    return encode_id(Invoice.id_prefix, key)
