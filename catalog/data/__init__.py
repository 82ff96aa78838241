"""Documents that come with the product: the default catalog and the sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).resolve().parent


def read_default() -> dict[str, Any]:
    """
    Return the default catalog: the products platform, ai, monitor and dns.

    Source: contract chapter Default catalog.
    """
    return _read("default")


def read_sample() -> dict[str, Any]:
    """Return the sample catalog: a platform with three tiers, and language models charged by the token."""
    return _read("sample")


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document
