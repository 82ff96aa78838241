"""Pages of work under way: a block that is fetched anew while it lasts; without a script the whole page reloads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import format_instant

_MINUTE, _HOUR = 60, 3600


class LivePageAdmin(BackOfficeAdmin):
    """An object whose page shows `live` (a field), and follows it while `is_live` holds."""

    change_form_template = "invoicing/live_page.html"

    def is_live(self, obj: Any) -> bool:
        """Tell whether the work is going on."""
        raise NotImplementedError

    def render_progress(self, obj: Any) -> SafeString:
        """Return the block as it is now."""
        raise NotImplementedError

    def show_live(self, obj: Any) -> SafeString:
        """Return the block with what the page's script needs to follow it."""
        meta = self.model._meta
        return format_html(
            '<div data-progress-url="{}" data-state="{}" data-live="{}" aria-live="polite">{}</div>',
            reverse(f"admin:{meta.app_label}_{meta.model_name}_progress", args=[obj.pk]),
            obj.status,
            "true" if self.is_live(obj) else "false",
            self.render_progress(obj),
        )

    def get_urls(self) -> list[URLPattern]:
        meta = self.model._meta
        name = f"{meta.app_label}_{meta.model_name}_progress"
        own = path("<path:object_id>/progress/", self.admin_site.admin_view(self.progress_view), name=name)
        return [own, *super().get_urls()]

    def progress_view(self, request: HttpRequest, object_id: str) -> JsonResponse:
        """Answer the state and the block of one object."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404("There is none.")
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        return JsonResponse({"state": obj.status, "html": self.render_progress(obj)})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Tell the template whether the page is to follow the work."""
        page = super().changeform_view(request, object_id, form_url, extra_context)
        context = getattr(page, "context_data", None)
        if context and context.get("original") is not None:
            context["is_live"] = self.is_live(context["original"])
        return page


def render_block(*, done: int, total: int, facts: list[tuple[str, SafeString | str]], note: str = "") -> SafeString:
    """Return a bar with numbers below it."""
    context = {
        "most": max(total, 1),
        "done": done if total else 1,
        "done_text": f"{done:,}",
        "total_text": f"{total:,}",
        "facts": facts,
        "note": note,
    }
    return mark_safe(render_to_string("invoicing/progress.html", context))  # noqa: S308 — escaped there


def describe_rest(left: timedelta | None, ends_at: datetime | None) -> str:
    """Return what is left of some work as a sentence; nothing where it is not known."""
    if left is None or ends_at is None:
        return ""
    seconds = left.days * 24 * _HOUR + left.seconds
    if seconds < _MINUTE:
        length = "less than a minute"
    elif seconds < _HOUR:
        length = _count(-(-seconds // _MINUTE), "minute")
    else:
        length = f"{_count(seconds // _HOUR, 'hour')} {_count(seconds % _HOUR // _MINUTE, 'minute')}"
    return f"At the present pace {length} left, until {format_instant(ends_at)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
