"""The Stripe sandbox of `up`: pointed at before it runs, started, waited for, never beside a real account."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from launcher.console import LauncherError
from launcher.main import build_parser
from launcher.sandbox import OTHERS, Sandbox
from launcher.site import build_site_environment
from launcher.state import State
from launcher.up import Options
from tests.launcher.conftest import CHECKOUT


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox.prepare({}, site_url="http://127.0.0.1:8087")


@pytest.fixture
def running(sandbox: Sandbox) -> Iterator[subprocess.Popen[bytes]]:
    # -S: nothing but the standard library, as for the launcher itself.
    command = sandbox.command(Path(sys.executable))
    process = subprocess.Popen([command[0], "-S", *command[1:]], cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    yield process
    process.terminate()
    assert process.wait(timeout=20) == 0


def ask(sandbox: Sandbox, method: str, path: str, body: str = "", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content)


class TestPrepare:
    def test_points_the_site_at_it(self, sandbox: Sandbox, state: State) -> None:
        environment = build_site_environment(sandbox.environment, state)
        assert environment["BILLING_PAYMENT_PROVIDER"] == "stripe"
        assert environment["BILLING_STRIPE_API_BASE"] == f"http://127.0.0.1:{sandbox.port}"
        assert environment["BILLING_STRIPE_SECRET_KEY"].startswith("sk_test_")
        assert environment["BILLING_STRIPE_WEBHOOK_SECRETS"].startswith("whsec_")
        assert sandbox.endpoint == "http://127.0.0.1:8087/api/v1/billing/webhooks/stripe"

    def test_has_other_keys_each_time(self, sandbox: Sandbox) -> None:
        other = Sandbox.prepare({}, site_url="http://127.0.0.1:8087")
        assert (sandbox.key, sandbox.webhook_secret) != (other.key, other.webhook_secret)

    @pytest.mark.parametrize("name", OTHERS)
    def test_refuses_a_site_that_has_an_account(self, name: str) -> None:
        with pytest.raises(LauncherError, match=f"{name} names a Stripe already"):
            Sandbox.prepare({name: "something"}, site_url="http://127.0.0.1:8087")

    @pytest.mark.parametrize("word", ["true", "1", "Yes"])
    def test_refuses_live_mode(self, word: str) -> None:
        with pytest.raises(LauncherError, match="live mode"):
            Sandbox.prepare({"BILLING_LIVEMODE": word}, site_url="http://127.0.0.1:8087")


class TestOptions:
    def test_are_off_unless_asked_for(self) -> None:
        assert not Options().stripe_sandbox
        assert not build_parser().parse_args(["up"]).stripe_sandbox
        assert build_parser().parse_args(["up", "--stripe-sandbox"]).stripe_sandbox


class TestRunning:
    def test_takes_its_key_and_nothing_else(self, sandbox: Sandbox, running: subprocess.Popen[bytes]) -> None:
        sandbox.wait(lambda: None)
        assert running.poll() is None
        status, account = ask(sandbox, "GET", "/v1/account", Authorization=f"Bearer {sandbox.key}")
        assert (status, account["object"]) == (200, "account")
        status, error = ask(sandbox, "GET", "/v1/account", Authorization="Bearer other")
        assert (status, error["error"]["type"]) == (401, "invalid_request_error")

    def test_sends_its_events_signed_to_the_site(self, running_receiver: tuple[str, list[tuple[str, bytes]]]) -> None:
        url, came = running_receiver
        sandbox = Sandbox.prepare({}, site_url=url)
        process = subprocess.Popen(sandbox.command(Path(sys.executable)), cwd=CHECKOUT, stdout=subprocess.DEVNULL)
        try:
            sandbox.wait(lambda: None)
            form = {"Authorization": f"Bearer {sandbox.key}", "Content-Type": "application/x-www-form-urlencoded"}
            assert ask(sandbox, "POST", "/v1/customers", "email=ada@example.com", **form)[0] == 200
            doors = {"Content-Type": "application/json"}
            status, answer = ask(sandbox, "POST", "/_sandbox/doors/deliver_all", "{}", **doors)
        finally:
            process.terminate()
            process.wait(timeout=20)
        assert (status, [item["answers"] for item in answer["result"]]) == (200, [[200]])
        ((header, body),) = came
        assert json.loads(body)["type"] == "customer.created"
        moment, signature = (part.partition("=")[2] for part in header.split(","))
        signed = f"{moment}.".encode() + body
        assert signature == hmac.new(sandbox.webhook_secret.encode(), signed, hashlib.sha256).hexdigest()

    def test_is_not_waited_for_when_something_else_died(self, sandbox: Sandbox) -> None:
        def check() -> None:
            raise LauncherError("it died")

        with pytest.raises(LauncherError, match="it died"):
            sandbox.wait(check)

    def test_is_given_up_after_a_while(self, sandbox: Sandbox) -> None:
        with pytest.raises(LauncherError, match="does not answer"):
            sandbox.wait(lambda: None, patience=0.0)


@pytest.fixture
def running_receiver() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A site that takes webhooks."""
    came: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/v1/billing/webhooks/stripe"
            came.append((self.headers["Stripe-Signature"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep tests quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", came
        server.shutdown()
        thread.join()
