"""
What looks like a secret: by value and by key name.

Every pattern runs in linear time. Publishable keys (`pk_live_…`) and provider object ids (`price_…`) are no secrets.
Source: contract chapter Catalog document.
"""

from __future__ import annotations

import re
from typing import Final

_VALUES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_"), "a provider's secret key"),
    (re.compile(r"(?<![A-Za-z0-9])whsec_"), "a webhook secret"),
    (re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"), "a private key"),
    (
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
        "a signed token",
    ),
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:A3T[A-Z0-9]|ABIA|ACCA|AGPA|AIDA|AIPA|AKIA|ANPA|ANVA|AROA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"
        ),
        "a cloud access key id",
    ),
)
_AUTHORITY: Final = re.compile(r"://([^\s/?#]*)@")
_KEY_NAMES: Final = frozenset({"secret", "password", "passwd", "token", "apikey", "privatekey", "webhooksecret"})
_KEY_ENDINGS: Final[tuple[tuple[str, ...], ...]] = (
    ("secret",),
    ("password",),
    ("passwd",),
    ("token",),
    ("api", "key"),
    ("private", "key"),
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def describe_secret_value(text: str) -> str | None:
    """Return what kind of secret `text` holds, or None. The answer never contains any of the text."""
    for pattern, kind in _VALUES:
        if pattern.search(text):
            return kind
    if "://" in text and any(_has_password(match[1]) for match in _AUTHORITY.finditer(text)):
        return "a URL with a password"
    return None


def _has_password(user_info: str) -> bool:
    _, colon, password = user_info.partition(":")
    return bool(colon and password)


def is_secret_key_name(key: str) -> bool:
    """
    Tell whether a key announces a secret: `api_key`, `API-Key`, `apiKey`, and with words before, `client_secret`.

    A price `per_token` is none, neither is `tokens_per_minute`.
    """
    if re.sub(r"[^a-z0-9]", "", key.lower()) in _KEY_NAMES:
        return True
    words = tuple(word.lower() for word in _WORDS.findall(key))
    return any(
        words[-len(ending) :] == ending and words[-len(ending) - 1 : -len(ending)] != ("per",)
        for ending in _KEY_ENDINGS
    )
