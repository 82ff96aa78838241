"""A service to speak to, a clean environment, and the command as a function."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.billing_client.provider import provider, sync
from tests.billing_client.service import Service, run_service
from tests.stripe_server.plugin import stripe_server

__all__ = ["provider", "stripe_server", "sync"]  # fixtures of all tests here


def make_token(**claims: Any) -> str:
    """Return a token with these claims; its signature is nobody's."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "x"}, claims)
    ]
    return ".".join([*parts, "signature"])


USER_TOKEN = make_token(sub="acme/alice", aud="billing-api", scope="billing:read", exp=4_000_000_000)
SERVICE_TOKEN = make_token(sub="metering", aud="billing-internal", scope="billing:usage:write billing:money")


@dataclass(frozen=True)
class Outcome:
    """What one run of the command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Billing = Callable[..., Outcome]


@pytest.fixture
def service() -> Iterator[Service]:
    with run_service() as running:
        yield running


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine reaches a test, and nothing is written outside its folder."""
    for name in list(os.environ):
        if (
            name.startswith(("BILLING_", "USAGE_", "QUOTA_", "STRIPE_"))
            or name.upper().endswith("_PROXY")
            or name == "NO_COLOR"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BILLING_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def billing(service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Billing:
    """Run the command in this process against the service, with a user's and an operator's token."""
    from billing_client import http
    from billing_client.cli.main import run

    monkeypatch.setenv("BILLING_API_URL", service.url)
    monkeypatch.setenv("BILLING_API_TOKEN", USER_TOKEN)
    monkeypatch.setenv("BILLING_OPERATOR_TOKEN", SERVICE_TOKEN)
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)

    def call(*words: str) -> Outcome:
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
