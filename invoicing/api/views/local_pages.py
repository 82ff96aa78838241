"""
The local provider's checkout and portal. Whoever has the signed address may act, until it expires; never in live mode.

A checkout chosen here is completed by the same service as a provider's event.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.models import Account, PaymentMethod, PaymentMethodStatus
from accounts.services.payment_methods import NewPaymentMethod, set_default_payment_method
from billing_site.backoffice.security import HEADER, PAGE
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from invoicing.gateways.declines import describe_decline
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.local_setups import PAGE_SALT
from invoicing.gateways.port import ProviderUnavailable
from invoicing.models import HostedKind, HostedSession, Invoice
from invoicing.services.hosted_sessions import complete_checkout
from invoicing.services.payment_methods import attach_payment_method, detach_payment_method

CARDS: Final = (
    ("tok_visa", "Visa ending in 4242: works"),
    ("tok_mastercard", "Mastercard ending in 4444: works"),
    ("tok_amex", "American Express ending in 0005: works"),
    ("tok_fails_on_renewal", "Visa ending in 0341: is declined when nobody is there"),
    ("tok_insufficient_funds", "Visa ending in 9995: insufficient funds"),
    ("tok_expired", "Visa ending in 0069: expired"),
    ("tok_lost", "Visa ending in 9987: lost"),
)
_SHOWN_INVOICES: Final = 20


class _Page(View):
    """What both pages share."""

    kind: ClassVar[str]
    http_method_names = ["get", "post", "head"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if settings.BILLING_LIVEMODE:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def find(self, signed: str) -> tuple[HostedSession, datetime]:
        """Return the session behind an address, and the time by its account's clock. :raises Http404: for none."""
        try:
            ref = Signer(salt=PAGE_SALT).unsign(signed)
        except BadSignature:
            raise Http404 from None
        sessions = HostedSession.objects.select_related("account__test_clock")
        session = sessions.filter(provider_type=LocalGateway.name, provider_ref=ref, kind=self.kind).first()
        if session is None:
            raise Http404
        return session, clock.now(session.account)

    def answer(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
    ) -> HttpResponse:
        response = render(request, template, context, status=status)
        response[HEADER] = PAGE
        response["Cache-Control"] = "no-store"
        response["Referrer-Policy"] = "no-referrer"  # the address is a key
        return response

    def refuse(self, request: HttpRequest, session: HostedSession) -> HttpResponse:
        """Say that the page is not open any more."""
        context = {"session": session, "heading": "This page has expired", "text": "Ask for a new one."}
        return self.answer(request, "pay/done.html", context, status=410)

    @staticmethod
    def act_as(session: HostedSession) -> Actor:
        return Actor("token", f"page:{session.public_id}")


class CheckoutPage(_Page):
    """Choose a test card; the method is saved and the plan begins."""

    kind = HostedKind.CHECKOUT

    def get(self, request: HttpRequest, signed: str) -> HttpResponse:
        session, _ = self.find(signed)
        if session.completed_at is not None:
            return self._done(request, session)
        if _is_over(session):
            return self.refuse(request, session)
        return self._form(request, session)

    def post(self, request: HttpRequest, signed: str) -> HttpResponse:
        session, at = self.find(signed)
        if session.completed_at is not None:
            return self._done(request, session)
        if _is_over(session):
            return self.refuse(request, session)
        token = request.POST.get("card", "")
        if token not in dict(CARDS):
            return self._form(request, session, error="Choose one of the cards.")
        gateway = LocalGateway()
        try:
            setup = gateway.complete_checkout(checkout_ref=session.provider_ref, token=token)
        except ProviderUnavailable as refusal:
            return self._form(request, session, error=refusal.detail)
        if setup.status != "succeeded":
            return self._form(request, session, error=describe_decline(setup.decline_reason))
        page = gateway.fetch_checkout(checkout_ref=session.provider_ref)
        try:
            completed = complete_checkout(
                page=page, setup=setup, provider_type=gateway.name, at=at, actor=self.act_as(session)
            )
        except DomainError as refusal:
            return self._form(request, session, error=refusal.detail)
        return self._done(request, completed or session)

    def _form(self, request: HttpRequest, session: HostedSession, *, error: str = "") -> HttpResponse:
        context = {"session": session, "cards": CARDS, "error": error}
        return self.answer(request, "pay/checkout.html", context, status=400 if error else 200)

    def _done(self, request: HttpRequest, session: HostedSession) -> HttpResponse:
        text = session.outcome or "Your card is saved."
        return self.answer(request, "pay/done.html", {"session": session, "heading": "Thank you", "text": text})


class PortalPage(_Page):
    """Methods and invoices of one account: choose the default, add a test card, remove one."""

    kind = HostedKind.PORTAL

    def get(self, request: HttpRequest, signed: str) -> HttpResponse:
        session, _ = self.find(signed)
        return self.refuse(request, session) if _is_over(session) else self._show(request, session)

    def post(self, request: HttpRequest, signed: str) -> HttpResponse:
        session, at = self.find(signed)
        if _is_over(session):
            return self.refuse(request, session)
        error = ""
        try:
            self._act(request, session, at)
        except DomainError as refusal:
            error = refusal.detail
        return self._show(request, session, error=error)

    def _act(self, request: HttpRequest, session: HostedSession, at: datetime) -> None:
        act, actor = request.POST.get("act"), self.act_as(session)
        if act == "add":
            token = request.POST.get("card", "")
            if token in dict(CARDS):
                new = NewPaymentMethod(provider_type=LocalGateway.name, provider_ref=token)
                attach_payment_method(account=session.account, new=new, at=at, actor=actor)
            return
        key = PaymentMethod.parse_id(request.POST.get("method", ""))
        method = _list_methods(session.account).filter(pk=key).first() if key else None
        if method is None:
            raise Http404
        if act == "default":
            set_default_payment_method(method_id=method.pk, at=at, actor=actor)
        elif act == "detach":
            detach_payment_method(method_id=method.pk, at=at, actor=actor)

    def _show(self, request: HttpRequest, session: HostedSession, *, error: str = "") -> HttpResponse:
        invoices = Invoice.objects.filter(account=session.account).exclude(status="draft").order_by("-id")
        context = {
            "session": session,
            "methods": list(_list_methods(session.account)),
            "invoices": list(invoices[:_SHOWN_INVOICES]),
            "cards": CARDS,
            "error": error,
        }
        return self.answer(request, "pay/portal.html", context, status=400 if error else 200)


class DonePage(_Page):
    """Where people are sent back to when nobody named another place. The same for everybody."""

    kind = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return View.dispatch(self, request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.answer(request, "pay/done.html", {"heading": "Thank you", "text": "You can close this page."})

    def post(self, request: HttpRequest) -> HttpResponse:
        return self.get(request)


def _is_over(session: HostedSession) -> bool:
    """Tell whether the provider has closed the page; the provider's clock is that of the site."""
    return session.expires_at is not None and session.expires_at <= clock.now()


def _list_methods(account: Account) -> Any:
    attached = PaymentMethod.objects.filter(account=account, status=PaymentMethodStatus.ATTACHED)
    return attached.order_by("-is_default", "-id")
