"""Invoices that do not exist yet, by the engine that makes them. Nothing here changes anything."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Subscription
from accounts.queries.access import resolve_account
from accounts.queries.subscriptions import SubscriptionNotFound, get_current_subscription
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, DomainError, NotFound, PeriodNotValid
from invoicing.api.serializers.preview import (
    InvoicePreviewInput,
    InvoicePreviewSerializer,
    UpcomingInvoiceSerializer,
    UpcomingQuery,
    render_preview,
    render_upcoming,
)
from invoicing.queries.previews import preview_upcoming
from invoicing.queries.usage_previews import preview_usage
from metering.queries.measuring import UsageNotPriceable

ACCOUNT = OpenApiParameter(
    "account", str, description="Id or external id of the account; public callers may leave it out."
)


class UpcomingInvoiceViewSet(BillingViewSet):
    """The next invoice of a subscription."""

    scopes = {"upcoming": BOTH_READ, "of_account": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "upcoming": [AccountRequired, AccountForbidden, NotFound, SubscriptionNotFound, UsageNotPriceable],
        "of_account": [AccountForbidden, NotFound, SubscriptionNotFound, UsageNotPriceable],
    }
    operation_ids = {"upcoming": "invoice_upcoming", "of_account": "billing_preview"}

    @extend_schema(parameters=[ACCOUNT, UpcomingQuery], responses=UpcomingInvoiceSerializer)
    def upcoming(self, request: Request) -> Response:
        """
        Preview of the next invoice of a subscription.

        What was used so far, fees, what waits for the invoice, discount, tax and what stored money would pay.
        """
        return self._answer(resolve_account(self.principal, account_reference(request)), request)

    @extend_schema(parameters=[UpcomingQuery], responses=UpcomingInvoiceSerializer)
    def of_account(self, request: Request, account_id: str) -> Response:
        """
        What the invoice would be if the running period closed now.

        The next invoice of the account's current subscription, or of the one named.
        """
        return self._answer(resolve_account(self.principal, account_id), request)

    def _answer(self, account: Account, request: Request) -> Response:
        query = query_serializer(UpcomingQuery, request)
        subscription = _find_subscription(account, query.get("subscription_id"))
        found = preview_upcoming(subscription_id=subscription.pk, at=clock.now(account))
        if found is None:
            raise SubscriptionNotFound("No invoice of this subscription is to come.")
        return Response(UpcomingInvoiceSerializer(render_upcoming(subscription, found)).data)


class InvoicePreviewView(BillingAPIView):
    """Priced usage of any period."""

    scopes = {"post": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "post": [AccountRequired, AccountForbidden, NotFound, PeriodNotValid, UsageNotPriceable]
    }
    operation_ids = {"post": "invoice_preview"}

    @extend_schema(request=InvoicePreviewInput, responses=InvoicePreviewSerializer)
    def post(self, request: Request) -> Response:
        """
        Usage times prices minus credits for any period, without a subscription.

        Spends nothing. Prices are those of the running subscriptions, else the default rules of the period.
        """
        body = InvoicePreviewInput(data=request.data)
        if not body.is_valid() and set(body.errors) <= {"period_start", "period_end"}:
            raise PeriodNotValid("A bound of the period is not an RFC 3339 time with offset.")
        body.is_valid(raise_exception=True)
        data: dict[str, Any] = body.validated_data
        account = resolve_account(self.principal, data.get("account"))
        found = preview_usage(
            account=account, at=clock.now(account), start=data.get("period_start"), end=data.get("period_end")
        )
        return Response(InvoicePreviewSerializer(render_preview(found)).data)


def _find_subscription(account: Account, reference: str | None) -> Subscription:
    """:raises SubscriptionNotFound: if the account has no such subscription, or none that runs."""
    if reference is None:
        return get_current_subscription(account=account)
    key = Subscription.parse_id(reference)
    found = None if key is None else Subscription.objects.filter(pk=key, account=account)
    subscription = found.select_related("account").first() if found is not None else None
    if subscription is None:
        raise SubscriptionNotFound
    return subscription
