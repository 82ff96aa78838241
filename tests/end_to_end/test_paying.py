"""A customer with the command line against the real site: a page for the card, a top-up, an invoice, another card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from accounts.models import Account
from accounts.queries.proof import prove_ledger
from invoicing.models import Invoice, PaymentIntent
from tests.support import world
from tests.support.payments import attach, bill
from tests.support.tokens import make_token

pytestmark = pytest.mark.django_db(transaction=True)
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def billing(live_server: LiveServer, tmp_path: Path) -> Run:
    """Run the command line as alice, who owns the account."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(site.BASE_DIR),
        "BILLING_API_URL": live_server.url,
        "BILLING_API_TOKEN": make_token(audience="public", subject="alice"),
        "BILLING_DATA_DIR": str(tmp_path / "state"),
    }

    def run(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "billing_client.cli.main", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def account(billing: Run) -> Account:
    world.publish()
    return world.open_account("alice", owner_user_id="alice")


def read(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


class TestPaying:
    def test_from_the_first_card_to_the_last(self, billing: Run, account: Account, live_server: LiveServer) -> None:
        assert "billing is not set up" in billing("portal", expect=1).stderr
        assert billing("payment", "add").stdout.startswith(f"{live_server.url}/")
        visa = attach(account, at=timezone.now())
        assert billing("customer", "portal", "--url").stdout.startswith(f"{live_server.url}/")

        topped_up = read(billing("topup", "2.50", "--force", "--format=json", "--idempotency-key=order-7"))
        assert (topped_up["status"], topped_up["balance_cents"]) == ("ok", 250)
        again = read(billing("topup", "2.50", "--force", "--format=json", "--idempotency-key=order-7"))
        assert again["transaction_id"] == topped_up["transaction_id"]

        amex = attach(account, "amex", at=timezone.now())
        billing("payment", "default", amex.public_id)
        listed = read(billing("payment", "--format=json"))["items"]
        assert [(each["id"], each["is_default"]) for each in listed] == [
            (amex.public_id, True),
            (visa.public_id, False),
        ]

        invoice = bill(account)
        paid = read(billing("invoice", "pay", invoice.public_id, "--force", "--format=json"))
        assert paid["invoice"]["status"] == "paid"
        assert paid["collection"]["provider_used"] == 750  # the top-up had paid 250 at issue
        assert "status: paid" in billing("invoice", "pay", invoice.public_id, "--force", expect=1).stderr

        billing("payment", "remove", visa.public_id, "--force")
        assert "payment method not found" in billing("payment", "remove", visa.public_id, "--force", expect=1).stderr
        assert "only payment method" in billing("payment", "remove", amex.public_id, "--force", expect=1).stderr
        assert prove_ledger().holds

    def test_a_card_that_fails_leaves_the_rest_to_pay(self, billing: Run, account: Account) -> None:
        attach(account, at=timezone.now())
        billing("topup", "2.50", "--force")
        broken = attach(account, "chargecustomerfail", at=timezone.now())
        refused = billing("topup", "5", f"--payment-method={broken.public_id}", "--force", expect=1)
        assert refused.stderr.startswith("Error: ")
        invoice = bill(account)
        pay = ("invoice", "pay", invoice.public_id, f"--payment-method={broken.public_id}", "--force")
        assert "Error: not fully paid, $" in billing(*pay, expect=1).stderr
        row = Invoice.objects.get()
        assert row.status == "open" and row.amount_remaining == 750
        assert PaymentIntent.objects.filter(status="succeeded").count() == 1

    @pytest.mark.parametrize("has_secret", [True, False])
    def test_the_door_of_webhooks_is_looked_at(self, billing: Run, settings: Any, has_secret: bool) -> None:
        settings.BILLING_STRIPE_WEBHOOK_SECRETS = ["whsec_end_to_end"] if has_secret else []
        shown = read(billing("webhook", "--format=json"))
        assert [each["open"] for each in shown["inbound"] if each["provider"] == "stripe"] == [has_secret]
        assert shown["inbound"][0]["url"].endswith("/api/v1/billing/webhooks/stripe")
