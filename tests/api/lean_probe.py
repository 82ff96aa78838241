"""One door with two addresses: through the short way, and as REST framework serves it."""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from billing_site.api.lean import LeanCall, lean_view
from billing_site.api.permissions import internal
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel.errors import FieldError, InvalidState, ValidationFailed


def echo(call: LeanCall, name: str = "") -> HttpResponse:
    """Answer what came, or fail in the way the body asks for."""
    body: Any = call.data or {}
    match body.get("fail") if isinstance(body, dict) else None:
        case "domain":
            raise InvalidState("It is void.", current_status="void")
        case "fields":
            raise ValidationFailed("Wrong.", errors=[FieldError("/line_items/0/unit_price", "invalid", "Not a price.")])
        case "database":
            raise OperationalError("connection to server at 10.0.0.1 failed, password=hunter2")
        case "crash":
            raise RuntimeError("secret-of-the-server")
    shown = {"who": str(call.actor), "org_claim": call.claims.get("org"), "name": name, "given": body}
    return call.respond(shown, status=201 if body else 200)


class EchoView(BillingAPIView):
    scopes = {"post": internal("billing:usage:write"), "get": internal("billing:read")}
    max_body_bytes = 2000
    handles_payment_methods = True

    def post(self, request: Request) -> HttpResponse:
        return echo(LeanCall.of(self, request))

    def get(self, request: Request) -> HttpResponse:
        return echo(LeanCall.of(self, request))


class EchoViewSet(BillingViewSet):
    scopes = {"make": internal("billing:usage:write"), "show": internal("billing:read")}
    idempotency = "own"

    def make(self, request: Request, name: str) -> HttpResponse:
        return echo(LeanCall.of(self, request), name=name)

    def show(self, request: Request, name: str) -> HttpResponse:
        return echo(LeanCall.of(self, request), name=name)


ACTIONS = {"get": "show", "post": "make"}
urlpatterns = [
    path("api/long", EchoView.as_view()),
    path("api/short", lean_view(EchoView.as_view(), post=echo, get=echo)),
    path("api/long/<path:name>", EchoViewSet.as_view(dict(ACTIONS))),
    path("api/short/<path:name>", lean_view(EchoViewSet.as_view(dict(ACTIONS)), post=echo)),
]
