"""
Hosted pages: a checkout and a portal, for oneself and (under the provider's name) for a named account.

The provider is asked between two transactions, so these doors keep their own idempotency.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from billing_site.api.idempotency import mark_request
from billing_site.api.params import ACCOUNT_SYNONYMS, account_reference, query_values
from billing_site.api.permissions import Scopes, both
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, DomainError, NotFound, ValidationFailed
from billing_site.platform.services.keyed_requests import RequestMark
from catalog.queries.plans import PlanNotFound
from invoicing.api.serializers.hosted_session import (
    CheckoutSessionInput,
    HostedSessionSerializer,
    PortalSessionInput,
    StripeCheckoutInput,
    StripePortalInput,
)
from invoicing.gateways.orders import HostedPage
from invoicing.gateways.port import NoProcessorAvailable, ProviderUnavailable
from invoicing.queries.provider_customers import find_account_of_customer
from invoicing.services.hosted_sessions import (
    CheckoutWish,
    ProviderCustomerMissing,
    ReturnUrlNotAllowed,
    open_checkout,
    open_portal,
)
from invoicing.services.provider_customers import ProviderCustomerMismatch

_SHARED: tuple[type[DomainError], ...] = (
    *(AccountForbidden, AccountRequired, NotFound),
    *(ReturnUrlNotAllowed, ProviderUnavailable, NoProcessorAvailable),
)


_NOT_AN_ACCOUNT = ("customer_id",)
_ACCOUNTS = frozenset(ACCOUNT_SYNONYMS) - {"customer_id"}


class _HostedView(BillingAPIView):
    idempotency = "own"

    def _open_checkout(self, request: Request, account: Account, wish: CheckoutWish) -> Response:
        page = open_checkout(
            account=account,
            wish=wish,
            own_origin=_own_origin(request),
            at=clock.now(account),
            actor=self.actor,
            mark=RequestMark(*mark_request(request, self.principal)),
        )
        return self._show(request, page, "session_url")

    def _open_portal(self, request: Request, account: Account, return_url: str) -> Response:
        page = open_portal(
            account=account,
            return_url=return_url,
            own_origin=_own_origin(request),
            at=clock.now(account),
            mark=RequestMark(*mark_request(request, self.principal)),
        )
        return self._show(request, page, "portal_url")

    def _show(self, request: Request, page: HostedPage, name: str) -> Response:
        # The local provider's pages are pages of this site.
        url = request.build_absolute_uri(page.url) if page.url.startswith("/") else page.url
        shown = {
            "url": url,
            name: url,
            "provider": settings.BILLING_PAYMENT_PROVIDER,
            "expires_at": page.expires_at,
        }
        return Response(HostedSessionSerializer(shown).data)


class CheckoutSessionView(_HostedView):
    """One's own checkout."""

    scopes: ClassVar[dict[str, Scopes]] = {"post": {"public": "billing:setup"}}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [*_SHARED, PlanNotFound]}
    operation_ids: ClassVar[dict[str, str]] = {"post": "checkout_session_create"}

    @extend_schema(request=CheckoutSessionInput, responses=HostedSessionSerializer)
    def post(self, request: Request) -> Response:
        """Create a hosted page on which the caller sets up payment, optionally for one feature or plan."""
        body = CheckoutSessionInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        wish = CheckoutWish(
            plan_key=data.get("plan_id") or "",
            feature=data.get("feature") or "",
            interval=data["interval"],
            return_url=data.get("return_url") or "",
        )
        return self._open_checkout(request, resolve_account(self.principal, None, write=True), wish)


class StripeCheckoutView(_HostedView):
    """A checkout of a named account."""

    scopes: ClassVar[dict[str, Scopes]] = {"post": both("billing:setup")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "post": [*_SHARED, PlanNotFound, ProviderCustomerMismatch]
    }
    operation_ids: ClassVar[dict[str, str]] = {"post": "stripe_checkout_create"}

    @extend_schema(parameters=[StripeCheckoutInput], request=StripeCheckoutInput, responses=HostedSessionSerializer)
    def post(self, request: Request) -> Response:
        """Start a hosted checkout for a plan on behalf of a named account; parameters may be in the query string."""
        data = _read(StripeCheckoutInput, request)
        reference = account_reference(request, ignore=_NOT_AN_ACCOUNT)
        if not reference:
            raise AccountRequired("Name the account that subscribes.")
        if not data.get("plan_id"):
            raise ValidationFailed.of("/plan_id", "required", "Name the plan.")
        wish = CheckoutWish(
            plan_key=data["plan_id"],
            interval=data["interval"],
            return_url=data.get("return_url") or "",
            customer_ref=data.get("customer_id") or "",
            self_service=not self.principal.is_internal,
        )
        return self._open_checkout(request, resolve_account(self.principal, reference, write=True), wish)


class PortalSessionView(_HostedView):
    """One's own portal."""

    scopes: ClassVar[dict[str, Scopes]] = {"post": {"public": "billing:read"}}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [*_SHARED, ProviderCustomerMissing]}
    operation_ids: ClassVar[dict[str, str]] = {"post": "portal_session_create"}

    @extend_schema(request=PortalSessionInput, responses=HostedSessionSerializer)
    def post(self, request: Request) -> Response:
        """Create a hosted page on which the caller manages cards, invoices and subscriptions."""
        body = PortalSessionInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, None, write=True)
        return self._open_portal(request, account, body.validated_data.get("return_url") or "")


class StripePortalView(_HostedView):
    """The portal of a named account, or of that of a provider's customer."""

    scopes: ClassVar[dict[str, Scopes]] = {"post": both("billing:read")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [*_SHARED, ProviderCustomerMissing]}
    operation_ids: ClassVar[dict[str, str]] = {"post": "stripe_portal_create"}

    @extend_schema(request=StripePortalInput, responses=HostedSessionSerializer)
    def post(self, request: Request) -> Response:
        """Create the hosted portal page for a named account."""
        data = _read(StripePortalInput, request)
        reference, customer = account_reference(request, ignore=_NOT_AN_ACCOUNT), data.get("customer_id")
        if self.principal.is_internal and not reference and not customer:
            raise AccountRequired("Name the account, or the provider's customer.")
        owner = None
        if customer:
            owner = find_account_of_customer(provider_type=settings.BILLING_PAYMENT_PROVIDER, ref=customer)
            if owner is None and not self.principal.is_internal:
                raise AccountForbidden("The customer belongs to another account.")
            if owner is None:
                raise NotFound("customer", "No account has this customer.")
        account = resolve_account(
            self.principal, reference or (owner.public_id if owner is not None else None), write=True
        )
        if owner is not None and owner.pk != account.pk:
            raise AccountForbidden("The customer belongs to another account.")
        return self._open_portal(request, account, data.get("return_url") or "")


def _read(serializer: type[StripeCheckoutInput | StripePortalInput], request: Request) -> dict[str, Any]:
    """Return what was sent in the query string and the body; the body wins."""
    sent = request.data or {}
    if not isinstance(sent, dict):
        raise ValidationFailed.of("", "invalid", "The body is an object.")
    query = {name: values[0] for name, values in query_values(request).items() if name not in _ACCOUNTS}
    body = serializer(data=query | sent)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _own_origin(request: Request) -> str:
    return f"{request.scheme}://{request.get_host()}"
