"""Documents that come with the product: the sample catalog and the templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).resolve().parent


def read_sample() -> dict[str, Any]:
    """Return the sample catalog: a platform with three tiers, and language models charged by the token."""
    return _read(_FOLDER / "sample.json")


def read_template(name: str = "llm") -> dict[str, Any]:
    """Return a template to start a catalog from. :raises FileNotFoundError: for an unknown name."""
    return _read(_FOLDER / "templates" / f"{name}.json")


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
