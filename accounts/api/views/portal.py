"""What a self-service portal shows first. Each door needs the same few queries whatever the account holds."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.payment_methods import PaymentMethodSerializer
from accounts.api.serializers.portal import (
    PortalInvoiceSerializer,
    PortalOverviewQuery,
    PortalOverviewSerializer,
    PortalQuery,
    PortalSubscriptionSerializer,
)
from accounts.api.views.payment_methods import DefaultFirstPages
from accounts.models import Account, PaymentMethod, Subscription
from accounts.queries.access import resolve_account
from accounts.queries.payment_methods import list_attached
from accounts.queries.portal import get_overview
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel.errors import AccountForbidden, AccountRequired, CurrencyUnsupported, NotFound
from invoicing.models import InvoiceStatus
from invoicing.queries.invoices import visible_invoices

_PROBLEMS = (AccountForbidden, AccountRequired, NotFound)


class PortalPaymentMethodView(BillingViewSet):
    """The methods of a portal's account."""

    queryset = PaymentMethod.objects.none()
    serializer_class = PaymentMethodSerializer
    pagination_class = DefaultFirstPages
    scopes = {"list": BOTH_READ}
    problems = {"list": [*_PROBLEMS]}
    operation_ids = {"list": "portal_payment_methods"}

    @extend_schema(parameters=[PortalQuery], responses=list_of(PaymentMethodSerializer))
    def list(self, request: Request) -> Response:
        """Payment methods for the portal, the default first, then the newest."""
        account = resolve_account(self.principal, account_reference(request))
        methods = list_attached().filter(account=account)
        return self.page(methods, PaymentMethodSerializer, is_internal=self.principal.is_internal)


class PortalViewSet(BillingViewSet):
    """First screens of a portal."""

    queryset = Account.objects.none()
    serializer_class = PortalOverviewSerializer
    scopes = {"overview": BOTH_READ, "invoices": BOTH_READ, "subscriptions": BOTH_READ}
    problems = {
        "overview": [*_PROBLEMS, CurrencyUnsupported],
        "invoices": [*_PROBLEMS],
        "subscriptions": [*_PROBLEMS],
    }
    operation_ids = {
        "overview": "portal_overview",
        "invoices": "portal_invoices",
        "subscriptions": "portal_subscriptions",
    }

    @extend_schema(parameters=[PortalOverviewQuery], responses=PortalOverviewSerializer)
    def overview(self, request: Request) -> Response:
        """Numbers for the first screen of a self-service portal."""
        query = query_serializer(PortalOverviewQuery, request)
        overview = get_overview(account=self._resolve(request), currency=query["currency"])
        return Response(PortalOverviewSerializer(overview).data)

    @extend_schema(parameters=[PortalQuery], responses=list_of(PortalInvoiceSerializer))
    def invoices(self, request: Request) -> Response:
        """Short invoice list for the portal, newest first, drafts left out."""
        invoices = visible_invoices(self.principal).filter(account=self._resolve(request))
        issued = invoices.exclude(status=InvoiceStatus.DRAFT).select_related(None).prefetch_related(None)
        columns = ("number", "number_text", "status", "amount_due", "currency", "created_at")
        return self.page(issued.only(*columns), PortalInvoiceSerializer)

    @extend_schema(parameters=[PortalQuery], responses=list_of(PortalSubscriptionSerializer))
    def subscriptions(self, request: Request) -> Response:
        """Short subscription list for the portal, newest first, ended ones included."""
        rows = Subscription.objects.filter(account=self._resolve(request)).select_related("plan_version__plan")
        return self.page(rows, PortalSubscriptionSerializer)

    def _resolve(self, request: Request) -> Account:
        return resolve_account(self.principal, account_reference(request))
