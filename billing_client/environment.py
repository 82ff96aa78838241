"""The environment of the client: variables with their older names, folders, tokens."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

DEFAULT_API_URL: Final = "http://127.0.0.1:8087"
INTERNAL_AUDIENCE: Final = "billing-internal"
SECRET_PREFIXES: Final = ("eyJ", "sk_", "rk_", "whsec_")

_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "BILLING_ACCOUNT_ID": ("BILLING_CUSTOMER_ID", "BILLING_TENANT_ID"),
    "BILLING_USAGE_BATCH_SIZE": ("USAGE_BATCH_SIZE",),
    "BILLING_USAGE_BATCH_TIMEOUT": ("USAGE_BATCH_TIMEOUT",),
    "BILLING_QUOTA_CACHE_TTL": ("QUOTA_CACHE_TTL",),
    "BILLING_QUOTA_CACHE_ENABLED": ("QUOTA_CACHE_ENABLED",),
    "BILLING_STRIPE_SECRET_KEY": ("STRIPE_SECRET_KEY", "STRIPE_LIVE_SECRET_KEY", "STRIPE_TEST_SECRET_KEY"),
    "BILLING_STRIPE_API_VERSION": ("STRIPE_API_VERSION",),
    "BILLING_STRIPE_API_URL": ("STRIPE_API_BASE",),
}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_UNITS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}


@dataclass(frozen=True, slots=True)
class Environment:
    """Read access to variables. `BILLING_ENV_ALIASES=NAME=OTHER,…` lets a deployment keep its own names."""

    variables: Mapping[str, str]

    @classmethod
    def of_process(cls) -> Environment:
        """Return the environment this process was started with."""
        return cls(os.environ)

    def get(self, name: str) -> str | None:
        """Return a variable, else the first of its other names that is set; empty counts as not set."""
        return next((value for key in self._names(name) if (value := self.variables.get(key))), None)

    def _names(self, name: str) -> tuple[str, ...]:
        pairs = (pair.strip().partition("=") for pair in self.variables.get("BILLING_ENV_ALIASES", "").split(","))
        own = tuple(other for known, _, other in pairs if known == name and other)
        return (name, *_ALIASES.get(name, ()), *own)

    @property
    def data_dir(self) -> Path:
        """Where the client keeps its state."""
        from platformdirs import user_data_path

        chosen = self.get("BILLING_DATA_DIR")
        return Path(chosen).expanduser() if chosen else user_data_path("billing", appauthor=False)

    @property
    def export_dir(self) -> Path:
        """Where downloads go that name no file."""
        chosen = self.get("BILLING_EXPORT_DIR")
        return Path(chosen).expanduser() if chosen else self.data_dir / "exports"

    @property
    def default_token_file(self) -> Path:
        """Where a user's token is looked for last."""
        from platformdirs import user_config_path

        return user_config_path("billing", appauthor=False) / "api-token"


def parse_duration(text: str) -> float:
    """
    Return seconds: `30s`, `2m`, `500ms`, `1h`, or a bare number of seconds.

    :raises ValueError: for anything else, and for zero.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    try:
        seconds = Decimal(found[1]) * _UNITS[found[2] or "s"] if found else Decimal(0)
    except InvalidOperation as error:
        raise ValueError(text) from error
    if seconds <= 0:
        raise ValueError(f"{text!r} is not a duration such as 30s or 2m")
    return float(seconds)


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says of itself. Nothing is verified: only the service can do that."""

    subject: str = ""
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    expires_at: int | None = None
    org: str = ""

    @property
    def is_internal(self) -> bool:
        """Whether the token is a service's, whose subject is no account."""
        return INTERNAL_AUDIENCE in self.audiences or any(name.endswith("internal") for name in self.audiences)


def read_claims(token: str) -> TokenClaims:
    """Return the claims of a token, or empty ones where it is no JWT."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return TokenClaims()
    if not isinstance(claims, dict):
        return TokenClaims()
    audience: Any = claims.get("aud")
    expires = claims.get("exp")
    return TokenClaims(
        subject=str(claims.get("sub") or ""),
        audiences=tuple(map(str, audience)) if isinstance(audience, list) else (str(audience),) if audience else (),
        scopes=tuple(str(claims.get("scope") or "").split()),
        expires_at=int(expires) if isinstance(expires, int) else None,
        org=str(claims.get("org") or ""),
    )
