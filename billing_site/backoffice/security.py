"""
Content-Security-Policy: the strictest each part of the site can live with.

- API and everything else: nothing may be loaded, framed or run.
- Admin: own files only. Unfold's Alpine evaluates expressions, hence `unsafe-eval`, and sets style attributes; inline
  scripts stay refused.
- Swagger UI: own files (the sidecar) and the page's one inline script, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse

HEADER: Final = "Content-Security-Policy"
CLOSED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
ADMIN: Final = PAGE.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)
_INLINE_SCRIPT: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def docs_policy(page: bytes) -> str:
    """Return the policy of the API documentation page: its own inline scripts are named by hash."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page)
    ]
    scripts = " ".join(["script-src 'self'", *hashes])
    return PAGE.replace("script-src 'self'", scripts).replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


def admin_prefix() -> str:
    """Return the path under which the admin lives."""
    try:
        return reverse("admin:index")
    except NoReverseMatch:
        return "/admin/"


class ContentSecurityPolicyMiddleware:
    """Set the policy by what is answered; a view that sets its own keeps it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if HEADER not in response:
            response[HEADER] = self.choose_policy(request, response)
        return response

    def choose_policy(self, request: HttpRequest, response: HttpResponse) -> str:
        """Return the policy for one answer."""
        is_page = response.get("Content-Type", "").startswith("text/html")
        if request.path_info.startswith(admin_prefix()):
            return ADMIN if is_page else CLOSED
        if is_page and not response.streaming and b'id="swagger-ui"' in response.content:
            return docs_policy(response.content)
        return CLOSED
