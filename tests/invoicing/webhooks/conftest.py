"""Doors with secrets that the tests know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.webhooks import LOCAL_SECRET, STRIPE_SECRET


@pytest.fixture(autouse=True)
def _doors(settings: Any) -> None:
    settings.BILLING_STRIPE_WEBHOOK_SECRETS = [STRIPE_SECRET]
    settings.BILLING_LOCAL_WEBHOOK_SECRETS = [LOCAL_SECRET]
