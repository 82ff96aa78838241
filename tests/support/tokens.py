"""Tokens as an identity provider would issue them, signed with the secret of the test settings."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Literal

import jwt
from django.conf import settings

from billing_site.platform.services.tokens import SCOPES

Audience = Literal["public", "internal"]


def make_token(
    *,
    audience: Audience = "internal",
    subject: str = "svc",
    scopes: Iterable[str] | None = None,
    org: str | None = None,
    lifetime: int = 600,
    secret: str | None = None,
    **claims: Any,
) -> str:
    """Return a signed token. Without `scopes` it has every scope of its audience; `claims` replace or add claims."""
    audiences = {"public": settings.BILLING_JWT_AUDIENCE_PUBLIC, "internal": settings.BILLING_JWT_AUDIENCE_INTERNAL}
    if scopes is None:
        scopes = [scope for scope, holders in SCOPES.items() if audience in holders]
    issued = int(time.time())
    payload: dict[str, Any] = {
        "sub": subject,
        "aud": audiences[audience],
        "iat": issued,
        "exp": issued + lifetime,
        "scope": " ".join(scopes),
    }
    if org is not None:
        payload["org"] = org
    payload.update(claims)
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, secret or settings.BILLING_JWT_SECRET, algorithm="HS256")
