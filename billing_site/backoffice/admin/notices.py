"""Messages out: what was sent to whom, what waits, and what failed and why."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    instant,
    link_to,
    link_to_id,
    status_badge,
    timestamp_display,
)
from billing_site.platform.models import Notice, NoticeStatus

_SHOWN = 20
_TONES = {NoticeStatus.SENT.value: "good", NoticeStatus.FAILED.value: "bad", NoticeStatus.PENDING.value: "info"}


def render_notices(about: str, *, zone: str | None = None) -> SafeString | str:
    """Return the newest messages about the object with this public id: to whom, what became of each, and why not."""
    notices = list(Notice.objects.filter(about=about).order_by("-id")[:_SHOWN])
    if not notices:
        return NOTHING
    rows = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                link_to(notice, notice.recipient or notice.get_channel_display()),
                badge(notice.status, _TONES[notice.status]),
                instant(notice.sent_at, zone),
                notice.error or NOTHING,
            )
            for notice in notices
        ),
    )
    return format_html(
        '<div class="ch-scroll"><table class="ch-table"><thead><tr><th>To</th><th>State</th>'
        "<th>Sent</th><th>Why not</th></tr></thead><tbody>{}</tbody></table></div>",
        rows,
    )


@admin.register(Notice)
class NoticeAdmin(BackOfficeAdmin):
    """Mail and chat messages."""

    financial = True
    nav_title = "Messages out"
    nav_icon = "outgoing_mail"
    nav_order = 30
    empty_title = "No message yet"
    empty_text = "Alerts that ask for mail or chat write one when they fire; sellers that mail invoices, one for each."
    list_display = ("subject", "channel", "recipient", "state", "attempts", "written", "sent")
    list_filter = ("status", "channel")
    search_fields = ("=recipient", "=about", "subject")
    search_help_text = "An exact mail address, the id of what it is about, or words of the subject"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("subject", "state"),
                    ("channel", "recipient"),
                    ("about_link", "attempts"),
                    ("written", "sent"),
                    ("next_attempt", "error"),
                    "text",
                    "public_id",
                )
            },
        ),
    )
    readonly_fields = ("state", "about_link", "text", "written", "sent", "next_attempt", "public_id")
    state = status_badge(tones=_TONES, description="State")
    written = timestamp_display("created_at", description="Written")
    sent = timestamp_display("sent_at", description="Sent")
    next_attempt = timestamp_display("due_at", description="Next attempt")

    @admin.display(description="Text")
    def text(self, notice: Notice) -> SafeString | str:
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in notice.body.splitlines())) or NOTHING

    @admin.display(description="About")
    def about_link(self, notice: Notice) -> str:
        return link_to_id(notice.about, notice.about) if notice.about else NOTHING
