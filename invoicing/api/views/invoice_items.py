"""
Items that wait for the next invoice: list, leave one, take one back.

Additions to the contract, beside the lines of one-off invoices: the same line, on the invoice that comes anyway.
"""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Subscription
from accounts.queries.access import resolve_account
from accounts.services.corrections import CurrencyMismatch
from billing_site.api.params import query_serializer
from billing_site.api.permissions import Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import CurrencyUnsupported, DomainError, InvalidState, NotFound
from invoicing.api.serializers.invoice_editing import read_line
from invoicing.api.serializers.invoice_item import InvoiceItemInput, InvoiceItemQuery, InvoiceItemSerializer
from invoicing.models import PendingCharge
from invoicing.queries.invoice_items import filter_items, get_item_of, get_item_of_id, list_items
from invoicing.queries.sellers import get_sellers
from invoicing.services.invoice_items import add_invoice_item, drop_invoice_item


class InvoiceItemViewSet(BillingViewSet):
    """What people left for the next invoice of an account."""

    queryset = PendingCharge.objects.none()
    serializer_class = InvoiceItemSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "list": internal("billing:read"),
        "create": internal("billing:invoice:write"),
        "destroy": internal("billing:invoice:write"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [NotFound],
        "create": [NotFound, InvalidState, CurrencyMismatch, CurrencyUnsupported],
        "destroy": [NotFound, InvalidState],
    }
    operation_ids = {
        "list": "invoice_item_list",
        "create": "invoice_item_create",
        "destroy": "invoice_item_delete",
    }

    @extend_schema(parameters=[InvoiceItemQuery], responses=list_of(InvoiceItemSerializer))
    def list(self, request: Request, account_id: str) -> Response:
        """List what was left for invoices of an account, newest first; all of it without a `status`."""
        account = resolve_account(self.principal, account_id)
        query = query_serializer(InvoiceItemQuery, request)
        rows = filter_items(list_items().filter(account=account), query.get("status", ""))
        if reference := query.get("subscription_id"):
            rows = rows.filter(subscription=self._get_subscription(account, reference))
        return self.page(rows, InvoiceItemSerializer, seller=get_sellers([account]).of(account))

    @extend_schema(request=InvoiceItemInput, responses={201: InvoiceItemSerializer})
    def create(self, request: Request, account_id: str) -> Response:
        """
        Leave a line for the next invoice of a subscription, or of the account in the line's currency.

        It is discounted and taxed like every line of that invoice. An amount below zero is a credit.
        """
        account = resolve_account(self.principal, account_id)
        body = InvoiceItemInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        reference, reason = values.pop("subscription_id", None), values.pop("reason", "")
        item = add_invoice_item(
            account=account,
            subscription=self._get_subscription(account, reference) if reference else None,
            line=read_line(values),
            currency=values.get("currency", ""),
            at=clock.now(account),
            actor=self.actor,
            reason=reason,
        )
        return self._answer(account, item, status=201)

    @extend_schema(responses={200: InvoiceItemSerializer})
    def destroy(self, request: Request, account_id: str, item_id: str) -> Response:
        """Take back an item that still waits."""
        account = resolve_account(self.principal, account_id)
        item = get_item_of(account, item_id)
        drop_invoice_item(item_id=item.pk, at=clock.now(account), actor=self.actor)
        return self._answer(account, item)

    def _answer(self, account: Account, item: PendingCharge, *, status: int = 200) -> Response:
        seller = get_sellers([account]).of(account)
        shown = InvoiceItemSerializer(get_item_of_id(item.pk), context={"seller": seller})
        return Response(shown.data, status=status)

    def _get_subscription(self, account: Account, reference: str) -> Subscription:
        key = Subscription.parse_id(reference)
        found = None if key is None else Subscription.objects.filter(account=account, pk=key).first()
        if found is None:
            raise NotFound("subscription")
        return found
