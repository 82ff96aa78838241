"""`up --stripe-sandbox`: a payment provider that speaks Stripe's API, on this machine, and the site pointed at it."""

from __future__ import annotations

import secrets
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.console import LauncherError
from launcher.postgres import find_free_port, is_port_free

HOST = "127.0.0.1"
PREFERRED_PORT = 12111
WEBHOOK_PATH = "/api/v1/billing/webhooks/stripe"
# Variables that would point the site at a real account; none may be set beside a sandbox.
OTHERS = (
    "BILLING_STRIPE_SECRET_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_TEST_SECRET_KEY",
    "STRIPE_LIVE_SECRET_KEY",
    "BILLING_STRIPE_API_BASE",
    "BILLING_STRIPE_API_URL",
    "STRIPE_API_BASE",
)
_PATIENCE = 30.0


@dataclass(frozen=True)
class Sandbox:
    """A provider that is about to be started: where, with which keys, and who is told of events."""

    port: int
    key: str
    webhook_secret: str
    endpoint: str

    @classmethod
    def prepare(cls, user: Mapping[str, str], *, site_url: str) -> Sandbox:
        """
        Return a sandbox for a site: keys of its own each time, since it forgets everything when it stops.

        :raises LauncherError: in live mode, or where the user named an account of Stripe's.
        """
        if user.get("BILLING_LIVEMODE", "").strip().lower() in {"1", "true", "yes", "y", "on", "ok"}:
            raise LauncherError("a site in live mode (BILLING_LIVEMODE) takes no payments through a sandbox.")
        if named := [name for name in OTHERS if user.get(name)]:
            raise LauncherError(f"{named[0]} names a Stripe already; unset it to use the sandbox.")
        port = PREFERRED_PORT if is_port_free(HOST, PREFERRED_PORT) else find_free_port()
        # In pieces: nothing in the project looks like a real key.
        key = "sk_" + "test_" + secrets.token_hex(12)
        return cls(
            port=port, key=key, webhook_secret=f"whsec_{secrets.token_hex(16)}", endpoint=site_url + WEBHOOK_PATH
        )

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells the site of it."""
        return {
            "BILLING_PAYMENT_PROVIDER": "stripe",
            "BILLING_STRIPE_SECRET_KEY": self.key,
            "BILLING_STRIPE_WEBHOOK_SECRETS": self.webhook_secret,
            "BILLING_STRIPE_API_BASE": self.url,
        }

    def command(self, python: Path) -> list[str]:
        """Return the command that runs it."""
        options = ["--host", HOST, "--port", str(self.port), "--key", self.key]
        options += ["--endpoint", self.endpoint, "--secret", self.webhook_secret]
        return [str(python), "-m", "tests.stripe_server", *options]

    def wait(self, check: Callable[[], None], *, patience: float = _PATIENCE) -> None:
        """Return when it answers; `check` is called meanwhile and may raise. :raises LauncherError: after patience."""
        deadline = time.monotonic() + patience
        while True:
            check()
            try:
                with urllib.request.urlopen(f"{self.url}/_sandbox/health", timeout=2):  # noqa: S310 - of this machine
                    return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LauncherError(f"the Stripe sandbox at {self.url} does not answer: {error}") from error
            time.sleep(0.05)
