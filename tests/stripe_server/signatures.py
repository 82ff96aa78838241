"""`Stripe-Signature`: the time and an HMAC of time and body, by which a receiver knows the sender."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Stripe-Signature"


def sign(body: bytes, *, secret: str, at: int) -> str:
    """Return the header of a delivery, scheme `v1`."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
