"""
Payment methods: attach, list, show, change, detach, choose the default.

Attaching keeps its own idempotency: the payment provider is asked between two transactions, the row is tied to the
request's key, and a repeat (also after a crash) goes on with the same row.
"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.payment_methods import (
    DefaultPaymentMethodInput,
    DetachQuery,
    PaymentMethodCreateInput,
    PaymentMethodQuery,
    PaymentMethodSerializer,
    PaymentMethodUpdateInput,
)
from accounts.models import PaymentMethod
from accounts.queries.access import choose_accounts, resolve_account
from accounts.queries.payment_methods import find_own_method, get_payment_method, list_payment_methods
from accounts.services.payment_methods import (
    LastPaymentMethod,
    NewPaymentMethod,
    set_default_payment_method,
    update_payment_method,
)
from billing_site.api.bodies import DeletedSerializer
from billing_site.api.idempotency import REPLAYED, mark_request
from billing_site.api.pagination import LeadingPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    DomainError,
    InvalidState,
    NotFound,
    ValidationFailed,
)
from invoicing.services.payment_methods import (
    CardVerificationFailed,
    NoProcessorAvailable,
    ProviderUnavailable,
    attach_payment_method,
    detach_payment_method,
)

_WRITE = both("billing:payment:write")


class DefaultFirstPages(LeadingPages):
    leading = "is_default"


class PaymentMethodViewSet(BillingViewSet):
    """What an account pays with."""

    queryset = PaymentMethod.objects.none()
    serializer_class = PaymentMethodSerializer
    pagination_class = DefaultFirstPages
    handles_payment_methods = True
    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": _WRITE,
        "list": BOTH_READ,
        "retrieve": BOTH_READ,
        "partial_update": _WRITE,
        "destroy": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [
            *(AccountForbidden, AccountRequired, NotFound, InvalidState),
            *(CardVerificationFailed, ProviderUnavailable, NoProcessorAvailable),
        ],
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
        "partial_update": [AccountForbidden, NotFound],
        "destroy": [AccountForbidden, NotFound, LastPaymentMethod],
    }
    operation_ids = {
        "create": "payment_method_create",
        "list": "payment_method_list",
        "retrieve": "payment_method_get",
        "partial_update": "payment_method_update",
        "destroy": "payment_method_detach",
    }

    @extend_schema(request=PaymentMethodCreateInput, responses={201: PaymentMethodSerializer})
    def create(self, request: Request) -> Response:
        """Attach a payment method by a token of the provider; a card is verified by a hold that is let go at once."""
        body = PaymentMethodCreateInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request), write=True)
        key, digest = mark_request(request, self.principal)
        values = {name: value for name, value in body.validated_data.items() if name != "account"}
        attachment = attach_payment_method(
            account=account,
            new=NewPaymentMethod(**values, request_key=key, request_hash=digest),
            at=clock.now(account),
            actor=self.actor,
        )
        response = self._answer(attachment.method, status=201)
        if attachment.is_repeat:
            response[REPLAYED] = "true"
        return response

    @extend_schema(parameters=[PaymentMethodQuery], responses=list_of(PaymentMethodSerializer))
    def list(self, request: Request) -> Response:
        """List payment methods, the default first, then the newest."""
        query = query_serializer(PaymentMethodQuery, request)
        accounts = choose_accounts(self.principal, account_reference(request))
        methods = list_payment_methods(accounts, type=query.get("type"))
        return self.page(methods, PaymentMethodSerializer, is_internal=self.principal.is_internal)

    @extend_schema(responses=PaymentMethodSerializer)
    def retrieve(self, request: Request, payment_method_id: str) -> Response:
        """Show one payment method."""
        return self._answer(get_payment_method(self.principal, payment_method_id))

    @extend_schema(request=PaymentMethodUpdateInput, responses=PaymentMethodSerializer)
    def partial_update(self, request: Request, payment_method_id: str) -> Response:
        """Change the billing address or the metadata of a payment method."""
        method = get_payment_method(self.principal, payment_method_id, write=True)
        body = PaymentMethodUpdateInput(data=request.data)
        body.is_valid(raise_exception=True)
        changed = update_payment_method(
            method_id=method.pk, changes=body.validated_data, at=clock.now(method.account), actor=self.actor
        )
        return self._answer(changed)

    @extend_schema(parameters=[DetachQuery], responses={200: DeletedSerializer})
    def destroy(self, request: Request, payment_method_id: str) -> Response:
        """Detach a payment method; history keeps it."""
        method = get_payment_method(self.principal, payment_method_id, write=True)
        query = query_serializer(DetachQuery, request)
        if query["force"] and not self.principal.is_internal:
            raise ValidationFailed.of("force", "internal_only", "Only internal callers may force this.")
        heir = query.get("new_default")
        detach_payment_method(
            method_id=method.pk,
            at=clock.now(method.account),
            actor=self.actor,
            new_default_id=None if heir is None else find_own_method(method.account_id, heir).pk,
            force=query["force"],
        )
        return Response({"id": method.public_id, "deleted": True})

    def _answer(self, method: PaymentMethod, *, status: int = 200) -> Response:
        return answer_payment_method(method, is_internal=self.principal.is_internal, status=status)


class DefaultPaymentMethodView(BillingAPIView):
    """Which of an account's methods is used for renewals."""

    handles_payment_methods = True
    scopes: ClassVar[dict[str, Scopes]] = {"post": _WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [AccountForbidden, NotFound]}
    operation_ids: ClassVar[dict[str, str]] = {"post": "payment_method_set_default"}

    @extend_schema(request=DefaultPaymentMethodInput, responses=PaymentMethodSerializer)
    def post(self, request: Request, account_id: str) -> Response:
        """Choose the payment method used for renewals; what is being collected keeps its method."""
        body = DefaultPaymentMethodInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_id, write=True)
        method = find_own_method(account.pk, body.validated_data["payment_method_id"])
        chosen = set_default_payment_method(method_id=method.pk, at=clock.now(account), actor=self.actor)
        return answer_payment_method(chosen, is_internal=self.principal.is_internal)


def answer_payment_method(method: PaymentMethod, *, is_internal: bool, status: int = 200) -> Response:
    """Render a method for one kind of caller."""
    context: dict[str, Any] = {"is_internal": is_internal}
    return Response(PaymentMethodSerializer(method, context=context).data, status=status)
