"""
Saving payment methods without a payment, and the door that takes no card numbers.

The provider is asked between two transactions, so these doors keep their own idempotency: a repeat, also after a crash,
goes on with the setup of the first request.
"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, PaymentMethod
from accounts.queries.access import WRITING_ROLES, get_role, resolve_account
from accounts.queries.payment_methods import find_own_method
from billing_site.api.idempotency import mark_request
from billing_site.api.params import account_reference
from billing_site.api.permissions import BOTH_READ, Scopes, both
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, DomainError, InvalidState, NotFound
from billing_site.platform.services.keyed_requests import RequestMark
from invoicing.api.serializers.setup_intent import (
    SetupIntentCancelInput,
    SetupIntentConfirmInput,
    SetupIntentInput,
    SetupIntentSerializer,
)
from invoicing.gateways.port import NoProcessorAvailable, ProviderUnavailable
from invoicing.models import SetupIntent
from invoicing.queries.setup_intents import get_visible_setup
from invoicing.services.payment_methods import CardVerificationFailed
from invoicing.services.setup_intents import (
    NewSetup,
    SetupMethodMissing,
    cancel_setup,
    confirm_setup,
    create_setup,
)

_SETUP = both("billing:setup")


class RawCardDataRefused(DomainError):
    """Members name the doors to use instead."""

    code, title, status = "raw_card_data_refused", "Card numbers must not reach this server", 503


class SetupIntentViewSet(BillingViewSet):
    """Methods that are saved for later."""

    queryset = SetupIntent.objects.none()
    serializer_class = SetupIntentSerializer
    handles_payment_methods = True
    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": _SETUP,
        "retrieve": BOTH_READ,
        "confirm": _SETUP,
        "cancel": _SETUP,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [
            *(AccountForbidden, AccountRequired, NotFound, InvalidState),
            *(ProviderUnavailable, NoProcessorAvailable),
        ],
        "retrieve": [NotFound],
        "confirm": [
            *(AccountForbidden, NotFound, InvalidState, SetupMethodMissing, CardVerificationFailed),
            *(ProviderUnavailable, NoProcessorAvailable),
        ],
        "cancel": [AccountForbidden, NotFound, InvalidState, ProviderUnavailable, NoProcessorAvailable],
    }
    operation_ids = {
        "create": "setup_intent_create",
        "retrieve": "setup_intent_get",
        "confirm": "setup_intent_confirm",
        "cancel": "setup_intent_cancel",
    }

    @extend_schema(request=SetupIntentInput, responses={201: SetupIntentSerializer})
    def create(self, request: Request) -> Response:
        """Begin saving a payment method; the client secret lets a browser finish it with the provider."""
        body = SetupIntentInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        account = resolve_account(self.principal, account_reference(request), write=True)
        method, ref = _find_method(account, data.get("payment_method_id"))
        setup = create_setup(
            account=account,
            new=NewSetup(usage=data["usage"], method=method, method_ref=ref, metadata=data.get("metadata") or {}),
            at=clock.now(account),
            actor=self.actor,
            mark=self._mark(request),
        )
        return self._answer(setup, status=201)

    @extend_schema(responses=SetupIntentSerializer)
    def retrieve(self, request: Request, setup_intent_id: str) -> Response:
        """Show a setup intent."""
        return self._answer(get_visible_setup(self.principal, setup_intent_id))

    @extend_schema(request=SetupIntentConfirmInput, responses=SetupIntentSerializer)
    def confirm(self, request: Request, setup_intent_id: str) -> Response:
        """Save the payment method; where the bank asks its customer, the client secret is answered."""
        setup = get_visible_setup(self.principal, setup_intent_id, write=True)
        body = SetupIntentConfirmInput(data=request.data)
        body.is_valid(raise_exception=True)
        method, ref = _find_method(setup.account, body.validated_data.get("payment_method_id"))
        done = confirm_setup(
            setup_intent_id=setup.pk,
            method=method,
            method_ref=ref,
            at=clock.now(setup.account),
            actor=self.actor,
            mark=self._mark(request),
        )
        return self._answer(done)

    @extend_schema(request=SetupIntentCancelInput, responses=SetupIntentSerializer)
    def cancel(self, request: Request, setup_intent_id: str) -> Response:
        """Give up a setup intent."""
        setup = get_visible_setup(self.principal, setup_intent_id, write=True)
        body = SetupIntentCancelInput(data=request.data)
        body.is_valid(raise_exception=True)
        done = cancel_setup(
            setup_intent_id=setup.pk,
            reason=body.validated_data.get("cancellation_reason") or "",
            at=clock.now(setup.account),
            actor=self.actor,
            mark=self._mark(request),
        )
        return self._answer(done)

    def _mark(self, request: Request) -> RequestMark:
        return RequestMark(*mark_request(request, self.principal))

    def _answer(self, setup: SetupIntent, *, status: int = 200) -> Response:
        is_internal = self.principal.is_internal
        is_owner = not is_internal and get_role(self.principal, setup.account) in WRITING_ROLES
        context: dict[str, Any] = {"is_internal": is_internal, "is_owner": is_owner}
        return Response(SetupIntentSerializer(setup, context=context).data, status=status)


class CardTokenizeView(BillingAPIView):
    """The door that takes no card numbers. The body is not read: what never arrived cannot be logged."""

    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {"post": both("billing:payment:write")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [RawCardDataRefused]}
    operation_ids: ClassVar[dict[str, str]] = {"post": "card_tokenize"}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check who calls, and nothing else: the common checks would read the body."""
        APIView.initial(self, request, *args, **kwargs)

    @extend_schema(request=None, responses={})
    def post(self, request: Request) -> Response:
        """Always refuse: card numbers go to the payment provider, from the browser, never to this server."""
        raise RawCardDataRefused(
            "Card numbers are never accepted here. Save a card with a setup intent or on a hosted checkout page.",
            use_instead=["/api/v1/billing/setup-intents", "/api/v1/billing/checkout-session"],
        )


def _find_method(account: Account, named: str | None) -> tuple[PaymentMethod | None, str]:
    """Return the account's method that is named, or else what the provider may call one."""
    if not named:
        return None, ""
    if PaymentMethod.parse_id(named) is None:
        return None, named
    return find_own_method(account.pk, named), ""
