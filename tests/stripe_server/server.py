"""The server: sockets around `StripeApi`, and what tests use to look inside and to cause trouble."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.stripe_server import desk, hosted, remote
from tests.stripe_server.api import Key, Reply, Request, StripeApi
from tests.stripe_server.doors import WEBHOOK_SECRET, Doors
from tests.stripe_server.errors import StripeError

# In pieces: nothing in the project looks like a real key.
TEST_KEY = "sk_" + "test_" + "0" * 24
LIVE_KEY = "sk_" + "live_" + "0" * 24
RESTRICTED_KEY = "rk_" + "test_" + "0" * 24
PUBLISHABLE_KEY = "pk_" + "test_" + "0" * 24
_REMEMBERED = 1000


class StripeServer(Doors):
    """What a test holds: the address, the keys, the requests that came, the objects, and the switches."""

    test_key = TEST_KEY
    live_key = LIVE_KEY
    restricted_key = RESTRICTED_KEY
    """May read the balance and products, nothing else."""
    publishable_key = PUBLISHABLE_KEY
    webhook_secret = WEBHOOK_SECRET
    """Signs what goes to endpoints that were not given a secret of their own."""

    def __init__(self, *, key: str = TEST_KEY, remembers: int | None = None) -> None:
        self.test_key = key
        may = frozenset({"rak_balance_read", "rak_product_read"})
        self.api = StripeApi(
            {
                key: Key(livemode=False),
                LIVE_KEY: Key(livemode=True),
                RESTRICTED_KEY: Key(livemode=False, permissions=may),
            }
        )
        self.url = ""
        self.requests: list[Request] = []
        self._remembers = remembers

    @property
    def writes(self) -> list[Request]:
        """The requests that ask for a change, in the order in which they came."""
        return [request for request in self.requests if request.method != "GET"]

    def remember(self, request: Request) -> None:
        """Keep a record of what arrived; a server that is there for days forgets what is old."""
        self.requests.append(request)
        if self._remembers is not None and len(self.requests) > 2 * self._remembers:
            del self.requests[: -self._remembers]

    def forget_requests(self) -> None:
        """Start a new record of requests."""
        self.requests.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    # Headers and body in one piece: in two, each answer waits 40 ms for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    stripe: StripeServer

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length).decode()
        if not parts.path.startswith("/v1/"):
            self._serve_people(parts.path, headers, body)
            return
        request = Request(self.command, parts.path, parts.query, headers, body)
        self.stripe.remember(request)
        reply = self.stripe.api.answer(request)
        if reply.is_dropped:
            self.close_connection = True
            return
        self._send(reply)

    def _serve_people(self, path: str, headers: dict[str, str], body: str) -> None:
        """Answer the pages, and the doors for other processes."""
        if path.startswith(remote.PREFIX):
            status, data = remote.answer(self.stripe, self.command, path, headers, body)
            self._send_content(status, json.dumps(data).encode(), {"Content-Type": "application/json"})
            return
        if self.command != "GET" and headers.get("sec-fetch-site") == "cross-site":
            self._send_content(403, b"A page of another site may press no button here.", {"Content-Type": "text/plain"})
            return
        form = dict(parse_qsl(body)) if self.command == "POST" else {}
        try:
            shown = hosted.answer(self.stripe, self.command, path, form)
            shown = shown or desk.answer(self.stripe, self.command, path, form)
        except StripeError as error:
            shown = hosted.Shown(error.message, error.status)
        if shown is None:
            # Such as a path of another version of the API.
            self._send(self.stripe.api.answer(Request(self.command, path, "", headers, body)))
            return
        more = {"Location": shown.location} if shown.location else {}
        self._send_content(shown.status, shown.content.encode(), {"Content-Type": "text/html; charset=utf-8", **more})

    def _send(self, reply: Reply) -> None:
        headers = {"Content-Type": "application/json", **reply.headers}
        self._send_content(reply.status, json.dumps(reply.body).encode(), headers)

    def _send_content(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers = {"Cache-Control": "no-cache, no-store", **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the caller did not wait

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Keep tests quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def run_stripe_server(
    *, host: str = "127.0.0.1", port: int = 0, key: str = TEST_KEY, is_lasting: bool = False
) -> Iterator[StripeServer]:
    """
    Run a server on a free port of this machine, or that one, for the block.

    `is_lasting` forgets all but the last requests: the server is there for days.
    """
    stripe = StripeServer(key=key, remembers=_REMEMBERED if is_lasting else None)
    handler = type("Handler", (_Handler,), {"stripe": stripe})
    with _Server((host, port), handler) as server:
        stripe.url = f"http://{host}:{server.server_address[1]}"
        for livemode in (False, True):
            stripe.store(livemode=livemode).base_url = stripe.url
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stripe
        finally:
            server.shutdown()
            thread.join()
            stripe.deliveries.stop()
