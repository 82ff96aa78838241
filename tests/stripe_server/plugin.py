"""The fixture. A folder whose tests need it imports it in its conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stripe_server.server import StripeServer, run_stripe_server


@pytest.fixture
def stripe_server() -> Iterator[StripeServer]:
    """A payment provider of one's own, empty."""
    with run_stripe_server() as running:
        yield running
