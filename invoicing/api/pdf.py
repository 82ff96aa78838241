"""Documents as PDF over HTTP."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.renderers import BaseRenderer


class PdfRenderer(BaseRenderer):
    """Lets callers ask for `application/pdf`; the view answers the bytes itself, problems stay JSON."""

    media_type = "application/pdf"
    format = "pdf"
    charset = None
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        """Return the bytes as they are."""
        return data


def answer_pdf(content: bytes, name: str) -> HttpResponse:
    """Return a document as a file to keep; `name` is without its ending."""
    response = HttpResponse(content, content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{name}.pdf"'
    return response
