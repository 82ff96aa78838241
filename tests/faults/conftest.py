"""Processes of the product, and a Stripe of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.product_processes import Launcher, Processes, launched
from tests.stripe_server import StripeServer
from tests.stripe_server.plugin import stripe_server

__all__ = ["stripe_server"]


@pytest.fixture(scope="session")
def launcher(django_db_setup: None) -> Iterator[Launcher]:
    """The process that others are copies of; it has no session of the database."""
    with launched() as running:
        yield running


@pytest.fixture
def stripe(transactional_db: None, stripe_server: StripeServer, settings: Any) -> StripeServer:
    """A Stripe whose customer the product is, in this process and in those it starts."""
    for name, value in name_provider(stripe_server).items():
        setattr(settings, name, value)
    return stripe_server


@pytest.fixture
def processes(stripe: StripeServer, launcher: Launcher) -> Iterator[Processes]:
    """Processes that see this test's database and Stripe; all have ended when the test has."""
    started = Processes(launcher, name_provider(stripe))
    yield started
    started.stop()


def name_provider(stripe: StripeServer) -> dict[str, Any]:
    """Return the settings of an installation that is a customer of this server."""
    return {
        "BILLING_PAYMENT_PROVIDER": "stripe",
        "STRIPE_TEST_SECRET_KEY": stripe.test_key,
        "BILLING_STRIPE_API_BASE": stripe.url,
        "BILLING_STRIPE_WEBHOOK_SECRETS": [stripe.webhook_secret],
        "BILLING_PROVIDER_TIMEOUT_SECONDS": 10,
    }
