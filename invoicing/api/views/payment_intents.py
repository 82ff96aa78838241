"""Payments: begin, list, show, confirm, capture, give up; payments of invoices."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import WRITING_ROLES, choose_accounts, require_role, resolve_account
from accounts.queries.payment_methods import find_own_method
from billing_site.api.idempotency import mark_request
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, both, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    AmountNotPositive,
    CurrencyUnsupported,
    DomainError,
    InvalidState,
    NotFound,
)
from billing_site.platform.services.keyed_requests import RequestKeyReused, RequestMark
from invoicing.api.serializers.invoice_editing import PaidInvoiceSerializer, PayInput
from invoicing.api.serializers.payment_intent import (
    CancelPaymentInput,
    CaptureInput,
    ConfirmInput,
    PaymentIntentInput,
    PaymentIntentQuery,
    PaymentIntentSerializer,
)
from invoicing.gateways.port import NoProcessorAvailable, ProviderUnavailable
from invoicing.models import Invoice, PaymentIntent
from invoicing.queries.invoices import get_visible_invoice
from invoicing.queries.payment_intents import get_payment_intent, list_payment_intents
from invoicing.services.charging import PaymentDeclined
from invoicing.services.collecting import CollectionInProgress, collect_invoice
from invoicing.services.payment_intents import (
    AmountExceedsCapturable,
    NewIntent,
    PaymentMethodMissing,
    cancel_intent,
    capture_intent,
    confirm_intent,
    create_intent,
    create_invoice_intent,
    prepare_at_provider,
)

_WRITE = both("billing:payment:write")
_ACCOUNT = OpenApiParameter("account", str, description="Id or external id of the account.")


class _Intents(BillingViewSet):
    queryset = PaymentIntent.objects.none()
    serializer_class = PaymentIntentSerializer
    handles_payment_methods = True

    def mark(self, request: Request) -> RequestMark:
        """Return how a repeat of the request is recognised."""
        return RequestMark(*mark_request(request, self.principal))

    def answer(self, intent: PaymentIntent, *, status: int = 200) -> Response:
        """Show a payment to this caller."""
        shown = get_payment_intent(self.principal, intent.public_id)
        context = {"is_internal": self.principal.is_internal}
        return Response(PaymentIntentSerializer(shown, context=context).data, status=status)


class PaymentIntentViewSet(_Intents):
    """Payments through a provider."""

    scopes: ClassVar[dict[str, Scopes]] = {"create": _WRITE, "list": BOTH_READ, "retrieve": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [
            *(AccountForbidden, AccountRequired, NotFound, AmountNotPositive, CurrencyUnsupported, InvalidState),
        ],
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
    }
    operation_ids = {
        "create": "payment_intent_create",
        "list": "payment_intent_list",
        "retrieve": "payment_intent_get",
    }

    @extend_schema(request=PaymentIntentInput, responses={201: PaymentIntentSerializer})
    def create(self, request: Request) -> Response:
        """Begin a payment; nothing is charged yet."""
        body = PaymentIntentInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        account = resolve_account(self.principal, account_reference(request), write=True)
        named = data.get("invoice_ids") or ([data["invoice_id"]] if data.get("invoice_id") else [])
        invoices = [get_visible_invoice(self.principal, each) for each in named]
        if any(invoice.account_id != account.pk for invoice in invoices):
            raise NotFound("invoice", "This account has no such invoice.")
        method = data.get("payment_method_id")
        intent = create_intent(
            account=account,
            new=NewIntent(
                amount=data["amount"],
                currency=data["currency"],
                method=find_own_method(account.pk, method) if method else None,
                capture_method=data["capture_method"],
                confirmation_method=data["confirmation_method"],
                setup_future_usage=data.get("setup_future_usage") or "",
                description=data["description"],
                receipt_email=data.get("receipt_email") or "",
                invoice_ids=[invoice.pk for invoice in invoices],
                metadata=data.get("metadata") or {},
            ),
            at=clock.now(account),
            actor=self.actor,
        )
        return self.answer(intent, status=201)

    @extend_schema(parameters=[_ACCOUNT, PaymentIntentQuery], responses=list_of(PaymentIntentSerializer))
    def list(self, request: Request) -> Response:
        """List payments, newest first."""
        query = query_serializer(PaymentIntentQuery, request)
        rows = list_payment_intents(choose_accounts(self.principal, account_reference(request)))
        if status := query.get("status"):
            rows = rows.filter(status=status)
        if reference := query.get("invoice_id"):
            key = Invoice.parse_id(reference)
            rows = rows.filter(allocations__invoice_id=key) if key else rows.none()
        return self.page(rows, PaymentIntentSerializer, is_internal=self.principal.is_internal)

    @extend_schema(responses=PaymentIntentSerializer)
    def retrieve(self, request: Request, payment_intent_id: str) -> Response:
        """Show one payment."""
        return self.answer(get_payment_intent(self.principal, payment_intent_id))


class PaymentIntentActions(_Intents):
    """What is done with a payment. The provider is asked between two transactions, so a repeat goes on with its row."""

    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "confirm": _WRITE,
        "capture": internal("billing:money"),
        "cancel": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "confirm": [
            *(AccountForbidden, NotFound, InvalidState, PaymentMethodMissing, PaymentDeclined),
            *(ProviderUnavailable, NoProcessorAvailable, CollectionInProgress, RequestKeyReused),
        ],
        "capture": [
            *(NotFound, InvalidState, AmountNotPositive, AmountExceedsCapturable),
            *(PaymentDeclined, ProviderUnavailable, NoProcessorAvailable, RequestKeyReused),
        ],
        "cancel": [
            *(AccountForbidden, NotFound, InvalidState),
            *(ProviderUnavailable, NoProcessorAvailable, RequestKeyReused),
        ],
    }
    operation_ids = {
        "confirm": "payment_intent_confirm",
        "capture": "payment_intent_capture",
        "cancel": "payment_intent_cancel",
    }

    @extend_schema(request=ConfirmInput, responses=PaymentIntentSerializer)
    def confirm(self, request: Request, payment_intent_id: str) -> Response:
        """
        Charge or authorise a payment.

        An unknown outcome leaves it processing until the provider's word, or the sweep that asks for it, settles it.
        """
        intent = get_payment_intent(self.principal, payment_intent_id, write=True)
        body = ConfirmInput(data=request.data)
        body.is_valid(raise_exception=True)
        method = body.validated_data.get("payment_method_id")
        confirmed = confirm_intent(
            intent_id=intent.pk,
            at=clock.now(intent.account),
            actor=self.actor,
            method=find_own_method(intent.account_id, method) if method else None,
            mark=self.mark(request),
        )
        return self.answer(confirmed)

    @extend_schema(request=CaptureInput, responses=PaymentIntentSerializer)
    def capture(self, request: Request, payment_intent_id: str) -> Response:
        """Take the money of an authorised payment; the rest of the authorisation is released."""
        intent = get_payment_intent(self.principal, payment_intent_id)
        body = CaptureInput(data=request.data)
        body.is_valid(raise_exception=True)
        captured = capture_intent(
            intent_id=intent.pk,
            at=clock.now(intent.account),
            actor=self.actor,
            amount=body.validated_data.get("amount_to_capture"),
            mark=self.mark(request),
        )
        return self.answer(captured)

    @extend_schema(request=CancelPaymentInput, responses=PaymentIntentSerializer)
    def cancel(self, request: Request, payment_intent_id: str) -> Response:
        """Give a payment up; an authorisation is released at the provider."""
        intent = get_payment_intent(self.principal, payment_intent_id, write=True)
        body = CancelPaymentInput(data=request.data)
        body.is_valid(raise_exception=True)
        canceled = cancel_intent(
            intent_id=intent.pk,
            at=clock.now(intent.account),
            actor=self.actor,
            reason=body.validated_data["cancellation_reason"],
            mark=self.mark(request),
        )
        return self.answer(canceled)


class InvoicePaymentViewSet(_Intents):
    """Paying an issued invoice."""

    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "pay": {"public": "billing:payment:write", "internal": "billing:invoice:write"},
        "payment_intent": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "pay": [InvalidState, NotFound, AccountForbidden, CollectionInProgress, RequestKeyReused],
        "payment_intent": [InvalidState, NotFound, AccountForbidden, ProviderUnavailable, NoProcessorAvailable],
    }
    operation_ids = {"pay": "invoice_pay", "payment_intent": "invoice_payment_intent"}

    @extend_schema(request=PayInput, responses=PaidInvoiceSerializer)
    def pay(self, request: Request, invoice_id: str) -> Response:
        """
        Try to collect an open invoice now: credit grants, invoice credit, prepaid balance, then the payment method.

        Each is partial and stays taken when the rest fails; `collection.error` says what remains.
        """
        invoice, data = self._read(request, invoice_id, PayInput)
        method = data.get("payment_method_id")
        _, collection = collect_invoice(
            invoice_id=invoice.pk,
            at=clock.now(invoice.account),
            actor=self.actor,
            method=find_own_method(invoice.account_id, method) if method else None,
            off_session=self.principal.is_internal,
            mark=self.mark(request),
        )
        shown = get_visible_invoice(self.principal, invoice.public_id)
        return Response(PaidInvoiceSerializer({"invoice": shown, "collection": collection}).data)

    @extend_schema(request=ConfirmInput, responses={200: PaymentIntentSerializer, 201: PaymentIntentSerializer})
    def payment_intent(self, request: Request, invoice_id: str) -> Response:
        """
        Create a payment of what is still due on an invoice, to be finished in the browser.

        An unfinished one of the same invoice and amount is answered again with 200; success marks the invoice paid.
        """
        invoice, data = self._read(request, invoice_id, ConfirmInput)
        method, at = data.get("payment_method_id"), clock.now(invoice.account)
        intent, is_new = create_invoice_intent(
            invoice_id=invoice.pk,
            at=at,
            actor=self.actor,
            method=find_own_method(invoice.account_id, method) if method else None,
        )
        ready = prepare_at_provider(intent_id=intent.pk, at=at, actor=self.actor)
        return self.answer(ready, status=201 if is_new else 200)

    def _read(
        self, request: Request, invoice_id: str, serializer: type[PayInput] | type[ConfirmInput]
    ) -> tuple[Invoice, dict[str, Any]]:
        body = serializer(data=request.data)
        body.is_valid(raise_exception=True)
        invoice = get_visible_invoice(self.principal, invoice_id)
        require_role(self.principal, invoice.account, WRITING_ROLES)
        return invoice, body.validated_data
