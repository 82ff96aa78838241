"""An API client with a token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.test import APIClient

from tests.support.tokens import Audience, make_token


class BillingClient(APIClient):
    """DRF's client, speaking JSON, with `Authorization: Bearer` on every request."""

    default_format = "json"


def make_client(
    audience: Audience = "internal",
    subject: str = "svc",
    scopes: Iterable[str] | None = None,
    org: str | None = None,
    **claims: Any,
) -> BillingClient:
    """Return a client whose token has every scope of its audience, or only `scopes`."""
    client = BillingClient()
    token = make_token(audience=audience, subject=subject, scopes=scopes, org=org, **claims)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client
