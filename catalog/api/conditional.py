"""ETag, If-None-Match and If-Match of catalog answers; the tag is the revision."""

from __future__ import annotations

import re
from typing import Final

from django.http import HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from rest_framework.request import Request

from catalog.services.publishing import RevisionConflict

_REVISION: Final = re.compile(r'"?([0-9]{1,9})"?', re.ASCII)


def find_unchanged(request: Request, etag: str) -> HttpResponseBase | None:
    """Return the 304 for a caller that has this version already, or None."""
    answer = get_conditional_response(request._request, etag=etag)
    return answer if isinstance(answer, HttpResponseNotModified) else None


def tag_response(response: HttpResponseBase, *, etag: str, cache_control: str) -> None:
    """Name the version; the answer depends on who asks and in which spelling."""
    response["ETag"] = etag
    response["Cache-Control"] = cache_control
    patch_vary_headers(response, ["Accept", "Authorization"])


def read_if_match(request: Request) -> list[int] | None:
    """
    Return the revisions If-Match names, or None when it is absent or `*`.

    :raises RevisionConflict: when it names something that cannot be a revision.
    """
    header = request.headers.get("If-Match", "").strip()
    if header in ("", "*"):
        return None
    matches = [_REVISION.fullmatch(part.strip()) for part in header.split(",")]
    if not all(matches):
        raise RevisionConflict('If-Match names a revision as its ETag does: "7".')
    return [int(match[1]) for match in matches if match]
