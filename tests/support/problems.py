"""Assertions about problem documents (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol


class Answer(Protocol):
    """What is read of a response, whether of Django's client or of httpx."""

    @property
    def status_code(self) -> int: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


def problem(response: Any, code: str, status: int | None = None) -> dict[str, Any]:
    """
    Return the problem document of `response` after checking that it is one and carries `code`.

    Checked: media type, `status` equal to the response's (and to `status` when given), title and detail for people.
    """
    answer: Answer = response
    text = answer.content.decode()
    media_type = answer.headers.get("Content-Type", "").split(";")[0]
    assert media_type == "application/problem+json", f"{answer.status_code} {media_type}: {text[:500]}"
    body: dict[str, Any] = json.loads(text)
    assert body["code"] == code, f"expected {code}: {text[:1000]}"
    assert body["status"] == answer.status_code
    if status is not None:
        assert answer.status_code == status, text[:500]
    assert body["title"], text
    assert body["detail"], text
    return body


def findings(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (pointer, code) of every field error of a problem document, in order."""
    return [(error["pointer"], error["code"]) for error in body.get("errors", [])]
