"""The scopes of the API, and tokens for development and operations."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from django.conf import settings

from billing_site.kernel.actors import Audience

_BOTH: Final[tuple[Audience, ...]] = ("public", "internal")
_INTERNAL: Final[tuple[Audience, ...]] = ("internal",)

SCOPES: Final[dict[str, tuple[Audience, ...]]] = {
    "billing:read": _BOTH,
    "billing:setup": _BOTH,
    "billing:payment:write": _BOTH,
    "billing:subscription:write": _BOTH,
    "billing:alert:write": _BOTH,
    "billing:account:write": _BOTH,
    "billing:cost-center:write": _BOTH,
    "billing:usage:write": _INTERNAL,
    "usage:read": _INTERNAL,
    "usage:delete": _INTERNAL,
    "billing:entitlement:check": _INTERNAL,
    "billing:catalog:read": _INTERNAL,
    "billing:catalog:write": _INTERNAL,
    "billing:quota:write": _INTERNAL,
    "billing:coupon:write": _INTERNAL,
    "billing:invoice:write": _INTERNAL,
    "billing:dispute:write": _INTERNAL,
    "billing:webhook:write": _INTERNAL,
    "billing:money": _INTERNAL,
}
"""Every scope and the audiences that may hold it. No scope implies another."""

SCOPE_MEANINGS: Final[dict[str, str]] = {
    "billing:read": "read own (public) or any (internal) billing data",
    "billing:setup": "hosted checkout, setup intents, claim of the starter credit",
    "billing:payment:write": "payment methods, top-ups, paying an invoice, withdrawing own money",
    "billing:subscription:write": "create, change, cancel, pause subscriptions; redeem coupons",
    "billing:alert:write": "spend and cost alerts",
    "billing:account:write": "account profile and members",
    "billing:cost-center:write": "cost centers",
    "billing:usage:write": "record usage",
    "usage:read": "read the raw usage feed",
    "usage:delete": "delete collected feed pages",
    "billing:entitlement:check": "ask entitlement decisions",
    "billing:catalog:read": "read catalog, meters, prices, tax rates",
    "billing:catalog:write": "publish catalog, meters, prices, tax rates",
    "billing:quota:write": "account quotas",
    "billing:coupon:write": "coupons and discounts",
    "billing:invoice:write": "create, finalize, void, collect invoices; bank instructions",
    "billing:dispute:write": "disputes",
    "billing:webhook:write": "outgoing webhook endpoints",
    "billing:money": "create, return or send money, and run cycles",
}


class SecretMissing(Exception):
    """No usable BILLING_JWT_SECRET is configured."""


def get_secret() -> bytes:
    """
    Return the key of HS256 tokens. `base64:<value>` marks an encoded secret.

    :raises SecretMissing: when none is set or it cannot be decoded.
    """
    secret: str = settings.BILLING_JWT_SECRET
    if not secret:
        raise SecretMissing("BILLING_JWT_SECRET is not set; give it 32 or more random characters.")
    if not secret.startswith("base64:"):
        return secret.encode()
    try:
        decoded = base64.b64decode(secret.removeprefix("base64:"), validate=True)
    except binascii.Error as error:
        raise SecretMissing("BILLING_JWT_SECRET starts with base64: but is not base64.") from error
    if not decoded:
        raise SecretMissing("BILLING_JWT_SECRET is empty after base64 decoding.")
    return decoded


def get_audience_values() -> dict[Audience, str]:
    """Return the `aud` value of each audience."""
    return {"public": settings.BILLING_JWT_AUDIENCE_PUBLIC, "internal": settings.BILLING_JWT_AUDIENCE_INTERNAL}


def sign_token(
    *,
    audience: Audience,
    subject: str,
    scopes: Iterable[str],
    at: datetime,
    lifetime: timedelta,
    org: str | None = None,
) -> str:
    """
    Return a signed HS256 token.

    :raises SecretMissing: without BILLING_JWT_SECRET.
    """
    claims: dict[str, Any] = {
        "sub": subject,
        "aud": get_audience_values()[audience],
        "iat": int(at.timestamp()),
        "exp": int((at + lifetime).timestamp()),
        "scope": " ".join(sorted(scopes)),
    }
    if org is not None:
        claims["org"] = org
    return jwt.encode(claims, get_secret(), algorithm="HS256")
