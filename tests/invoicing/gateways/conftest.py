"""Both payment providers, so that each promise of the port is kept by both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from invoicing.gateways.local import LocalGateway
from invoicing.gateways.stripe import StripeGateway
from tests.stripe_server import StripeServer
from tests.stripe_server.plugin import stripe_server

__all__ = ["stripe_server"]


@pytest.fixture
def stripe_gateway(stripe_server: StripeServer, settings: Any) -> StripeGateway:
    """The adapter, talking to a Stripe of this machine."""
    settings.STRIPE_TEST_SECRET_KEY = stripe_server.test_key
    settings.BILLING_STRIPE_API_BASE = stripe_server.url
    settings.BILLING_PROVIDER_TIMEOUT_SECONDS = 10
    return StripeGateway(livemode=False)


@pytest.fixture(params=["local", "stripe"])
def gateway(request: pytest.FixtureRequest) -> Iterator[LocalGateway | StripeGateway]:
    """One provider after the other."""
    yield LocalGateway() if request.param == "local" else request.getfixturevalue("stripe_gateway")
