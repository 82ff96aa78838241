"""
Signatures of webhooks: `t=<unix seconds>,v1=<hex>`, where v1 is the HMAC-SHA256 of `<t>.<body>` with a shared secret.

The same check as `stripe.WebhookSignature.verify_header`, over the bytes that came, with our clock, and with several
secrets while one takes over from another. Source: contract chapter Webhooks in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from billing_site.kernel.errors import DomainError

TOLERANCE_SECONDS: Final = 300
_SCHEME: Final = "v1"


class WebhookSignatureMissing(DomainError):
    code, title, status = "webhook_signature_missing", "The request is not signed", 400


class WebhookSignatureInvalid(DomainError):
    code, title, status = "webhook_signature_invalid", "The signature does not hold", 401


def check_signature(*, header: str, body: bytes, secrets: Sequence[str], at: datetime) -> None:
    """
    Refuse a body that none of the secrets signed, or that was signed more than 300 seconds before `at`.

    :raises WebhookSignatureMissing: without a header. :raises WebhookSignatureInvalid: otherwise.
    """
    if not header.strip():
        raise WebhookSignatureMissing("The signature header is missing.")
    timestamp, given = _read_header(header)
    if timestamp is None or not given:
        raise WebhookSignatureInvalid("The signature header cannot be read.")
    expected = [compute_signature(body=body, timestamp=timestamp, secret=secret) for secret in secrets]
    # Every pair is compared, each in constant time: nothing tells which secret, or how much of it, was right.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        raise WebhookSignatureInvalid("No signature matches the body.")
    if timestamp < at.timestamp() - TOLERANCE_SECONDS:
        raise WebhookSignatureInvalid(f"The request was signed more than {TOLERANCE_SECONDS} seconds ago.")


def compute_signature(*, body: bytes, timestamp: int, secret: str) -> bytes:
    """Return the hexadecimal v1 signature of a body."""
    return hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest().encode()


def sign(*, body: bytes, timestamp: int, secret: str) -> str:
    """Return the header that goes with a body; what a provider does, and the local one here."""
    return f"t={timestamp},{_SCHEME}={compute_signature(body=body, timestamp=timestamp, secret=secret).decode()}"


def _read_header(header: str) -> tuple[int | None, list[bytes]]:
    """Return the time and the v1 signatures of a header; other parts are ignored."""
    timestamp: int | None = None
    given: list[bytes] = []
    for part in header.split(","):
        name, _, value = part.partition("=")
        if name == "t" and timestamp is None and value.isascii() and value.isdigit() and len(value) < 12:
            timestamp = int(value)
        elif name == _SCHEME:
            given.append(value.encode("utf-8", "replace"))
    return timestamp, given
