"""Answers that are files, written while they are sent; the renderers only let a client ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer


class CsvRenderer(BaseRenderer):
    """Lets a client ask for CSV by its Accept header; the rows are streamed past it, problems stay JSON."""

    media_type, format = "text/csv", "csv"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        """Return what is there already."""
        return data


class ZipRenderer(CsvRenderer):
    """The same for ZIP archives."""

    media_type, format = "application/zip", "zip"


def stream_file(content: Iterable[str] | Iterable[bytes], *, name: str, media_type: str) -> StreamingHttpResponse:
    """Answer `content` as a file to keep, as it is made."""
    response = StreamingHttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
