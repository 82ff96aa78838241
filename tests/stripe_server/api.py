"""One request in, one answer out: who asks, which endpoint, idempotency, pages and expansion. No sockets."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.stripe_server.deliveries import Deliveries
from tests.stripe_server.errors import (
    StripeError,
    no_key,
    no_permission,
    other_account,
    publishable_key,
    server_error,
    unknown_key,
    unknown_path,
    wrong_parameter,
)
from tests.stripe_server.events import compare, make_event, show
from tests.stripe_server.expansion import Renderer
from tests.stripe_server.faults import Fault, Faults
from tests.stripe_server.forms import decode_form
from tests.stripe_server.idempotency import IdempotencyKeys
from tests.stripe_server.listing import cut_found, cut_page
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.resources import KINDS, ROUTES, accounts
from tests.stripe_server.routing import Call, Found, Page, Plain, Route, Routes
from tests.stripe_server.store import Clock, Ids, Kind, Object, Store

DEFAULT_VERSION = "2026-04-22.dahlia"
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: str

    @property
    def parameters(self) -> dict[str, Any]:
        """What was sent, in the query of a GET or the body of a POST."""
        return decode_form(self.query if self.method in {"GET", "DELETE"} else self.body)

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("idempotency-key")


@dataclass(frozen=True)
class Reply:
    """An answer; `is_dropped` closes the connection without it."""

    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    is_dropped: bool = False


@dataclass(frozen=True)
class Key:
    """An API key. `permissions` limits a restricted one; None is everything."""

    livemode: bool
    permissions: frozenset[str] | None = None


class StripeApi:
    """The API of one account."""

    def __init__(self, keys: dict[str, Key]) -> None:
        self.keys = keys
        self.clock = Clock()
        self.faults = Faults()
        self._ids = Ids()
        self.lock = threading.RLock()
        self.stores = {mode: Store(livemode=mode, clock=self.clock, ids=self._ids) for mode in (False, True)}
        self.deliveries = Deliveries(self.clock)
        self._routes = Routes(ROUTES)
        for store in self.stores.values():
            accounts.open_account(store)
            store.on_event = self._publish
        self._idempotency = {mode: IdempotencyKeys(self.clock) for mode in (False, True)}

    def run_errands(self, *, all: bool = False, what: str = "", subject: str = "") -> int:
        """Do what is due in both modes, or `all` that is planned; see `Store.run_errands`."""
        with self.lock:
            return sum(store.run_errands(all=all, what=what, subject=subject) for store in self.stores.values())

    def _publish(self, store: Store, type: str, kind: Kind, subject: Object, before: Object | None) -> None:
        """Make the event of a change and put it on its way."""
        previous = None if before is None else compare(show(kind, before), show(kind, subject))
        event = make_event(store, type, show(kind, subject), version=DEFAULT_VERSION, previous=previous)
        self.deliveries.send(event, store.all("webhook_endpoint"))

    def answer(self, request: Request) -> Reply:
        """Return the answer, with the trouble that was planned for it."""
        with self.lock:
            request_id = self._ids.make("req_", 14)
        fault = self.faults.strike(request.method, request.path)
        if fault is not None and fault.drop and fault.moment == "before":
            return Reply(is_dropped=True)
        reply = self._answer(request, request_id, fault)
        if fault is not None and fault.drop:
            return Reply(is_dropped=True)
        return Reply(reply.status, reply.body, {"Request-Id": request_id, **reply.headers})

    def _answer(self, request: Request, request_id: str, fault: Fault | None) -> Reply:
        headers: dict[str, str] = {}
        try:
            key = self._authenticate(request)
            headers["Stripe-Version"] = version = _read_version(request)
            if request.method == "POST" and request.body and _FORM not in request.headers.get("content-type", ""):
                text = f"Invalid request (check that your POST content type is {_FORM})."
                raise StripeError(text, is_stored=False)
            if request.headers.get("stripe-account", accounts.ACCOUNT_ID) != accounts.ACCOUNT_ID:
                raise other_account(request.headers["stripe-account"])
            found = self._routes.find(request.method, request.path)
            if found is None:
                raise unknown_path(request.method, request.path)
            route, ids = found
            if key.permissions is not None and route.permission not in key.permissions:
                raise no_permission(route.permission)
            if fault is not None and fault.moment == "before" and fault.status not in {None, 500}:
                _strike(fault, "before")  # busy: the request does not get as far as its idempotency key

            def run() -> dict[str, Any]:
                _strike(fault, "before")
                body = self._run(route, ids, request, request_id, key, version)
                _strike(fault, "after")
                return body

            if request.method == "POST" and request.idempotency_key:
                return self._run_once(request, request_id, key, headers, run)
            return Reply(200, run(), headers)
        except StripeError as error:
            if error.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="Stripe"'
            return Reply(error.status, error.as_body(request_id), {**headers, **_fault_headers(fault)})

    def _run_once(
        self, request: Request, request_id: str, key: Key, headers: dict[str, str], run: Callable[[], dict[str, Any]]
    ) -> Reply:
        name = str(request.idempotency_key)
        keys = self._idempotency[key.livemode]
        headers["Idempotency-Key"] = name
        with self.lock:
            replay = keys.begin(
                name, method=request.method, path=request.path, body=request.body, request_id=request_id
            )
        if replay is not None:
            replayed = {"Idempotent-Replayed": "true", "Original-Request": replay.request_id}
            return Reply(replay.status, replay.body, {**headers, **replayed})
        headers["Original-Request"] = request_id
        try:
            body = run()
        except StripeError as error:
            with self.lock:
                if error.is_stored:
                    keys.keep(name, error.status, error.as_body(request_id))
                else:
                    keys.forget(name)
            raise
        with self.lock:
            keys.keep(name, 200, body)
        return Reply(200, body, headers)

    def _run(
        self, route: Route, ids: dict[str, str], request: Request, request_id: str, key: Key, version: str
    ) -> dict[str, Any]:
        parameters = Parameters(request.parameters)
        expand = parameters.texts("expand") or []
        store = self.stores[key.livemode]
        renderer = Renderer(store, KINDS)
        with self.lock:
            store.request = {"id": request_id, "idempotency_key": request.idempotency_key}
            try:
                answer = route.handler(Call(store, parameters, ids, version))
            finally:
                store.request = {"id": None, "idempotency_key": None}
            if isinstance(answer, Plain):
                parameters.finish()
                return answer.data
            if isinstance(answer, Page):
                if isinstance(answer, Found):
                    page = cut_found(answer.objects, parameters, request.path)
                else:
                    page = cut_page(answer.kind, answer.objects, parameters, request.path)
                parameters.finish()
                return renderer.render_page(answer.kind, page, expand)
            parameters.finish()
            return renderer.render(answer.kind, answer.object, expand)

    def _authenticate(self, request: Request) -> Key:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        value = value.strip()
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                value = ""
        if not value or scheme.lower() not in {"basic", "bearer"}:
            raise no_key()
        if value.startswith("pk_"):
            raise publishable_key()
        if value not in self.keys:
            raise unknown_key(value)
        return self.keys[value]


def _strike(fault: Fault | None, moment: str) -> None:
    """Wait or refuse, in place of the endpoint or after it has done its work; its idempotency key is taken by then."""
    if fault is None or fault.moment != moment:
        return
    time.sleep(fault.delay)
    if fault.status is not None:
        raise server_error(fault.status)


def _fault_headers(fault: Fault | None) -> dict[str, str]:
    return dict(fault.headers) if fault is not None else {}


def _read_version(request: Request) -> str:
    version = request.headers.get("stripe-version", DEFAULT_VERSION)
    if not _VERSION.fullmatch(version):
        raise wrong_parameter(f"Invalid Stripe API version: {version}", param="Stripe-Version")
    return version
