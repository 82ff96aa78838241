"""Renewing a subscription ahead of the cycle."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import render_subscription
from accounts.queries.subscriptions import find_subscription
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import MoneyField
from billing_site.api.permissions import Scopes, internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from invoicing.models import Invoice
from invoicing.services.renewals import PeriodAlreadyInvoiced, renew_subscription


class RenewInput(StrictSerializer):
    force = serializers.BooleanField(default=True, help_text="Also before the period has ended.")


class CollectionSerializer(serializers.Serializer[Invoice]):
    """What has paid the invoice so far: stored money, at once; amounts are minor units."""

    success = serializers.SerializerMethodField(help_text="Whether nothing remains to pay.")
    credit_used = MoneyField(source="credit_applied")
    balance_used = MoneyField(source="amount_paid")
    provider_used = serializers.SerializerMethodField()
    provider_ref = serializers.SerializerMethodField()
    amount_charged = serializers.SerializerMethodField(help_text="The sum of the three.")
    error = serializers.SerializerMethodField()

    def get_success(self, invoice: Invoice) -> bool:
        return invoice.amount_remaining == 0

    def get_provider_used(self, invoice: Invoice) -> int:
        return 0

    def get_provider_ref(self, invoice: Invoice) -> str | None:
        return None

    def get_amount_charged(self, invoice: Invoice) -> int:
        return invoice.credit_applied + invoice.amount_paid

    def get_error(self, invoice: Invoice) -> str | None:
        return f"Open until {invoice.due_date}." if invoice.amount_remaining else None


class RenewalResultSerializer(serializers.Serializer[dict[str, Any]]):
    subscription = SubscriptionSerializer()
    invoice = serializers.SerializerMethodField(help_text="The newest invoice; null when there was nothing to bill.")
    collection = CollectionSerializer(allow_null=True)

    @extend_schema_field({"anyOf": [{"$ref": "#/components/schemas/Invoice"}, {"type": "null"}]})
    def get_invoice(self, result: dict[str, Any]) -> Any:
        return result["invoice"]


class RenewalView(BillingAPIView):
    """Close the running period now. How an invoice looks is told by who puts the site together."""

    scopes: ClassVar[dict[str, Scopes]] = {"post": internal("billing:money")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "post": [InvalidState, PeriodAlreadyInvoiced, NotFound]
    }
    operation_ids: ClassVar[dict[str, str]] = {"post": "subscription_renew"}
    invoice_serializer: type[serializers.Serializer[Invoice]] | None = None

    @extend_schema(request=RenewInput, responses=RenewalResultSerializer)
    def post(self, request: Request, subscription_id: str) -> Response:
        """Invoice the running period, take what stored money pays, and start the next one: once for each period."""
        body = RenewInput(data=request.data)
        body.is_valid(raise_exception=True)
        found = find_subscription(self.principal, subscription_id)
        billed = renew_subscription(
            subscription_id=found.pk, at=clock.now(found.account), actor=self.actor, **body.validated_data
        )
        newest = Invoice.objects.filter(pk=billed.invoices[-1].pk).first() if billed.invoices else None
        render = self.invoice_serializer
        return Response(
            {
                "subscription": render_subscription(found.pk, internal=True),
                "invoice": None if newest is None or render is None else render(newest).data,
                "collection": None if newest is None else CollectionSerializer(newest).data,
            }
        )
