"""The calendar of dunning: what will be tried when, and what was tried."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_day,
    format_instant,
    format_money,
    link_to,
    status_badge,
)
from billing_site.backoffice.navigation import NavPage
from billing_site.kernel import clock
from billing_site.kernel.periods import Period
from invoicing.gateways.declines import describe_decline
from invoicing.models import DunningAttempt
from invoicing.queries.dunning_calendar import CalendarDay, PlannedAttempt, load_calendar

PERMISSION: Final = "invoicing.view_dunningcase"
CALENDAR_PAGE: Final = NavPage("Dunning calendar", "event_upcoming", "admin:invoicing_dunning_calendar")
_DAYS: Final = 28
_BEFORE: Final = 7
_ZONE: Final = "UTC"
_state = status_badge("outcome", tones={"failed": "bad", "not_tried": "neutral", "paid": "good"})


class CalendarPage:
    """Puts the calendar beside a model's list."""

    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.show_calendar)
        return [path("calendar/", page, name="invoicing_dunning_calendar"), *super().get_urls()]  # type: ignore[misc]

    def show_calendar(self, request: HttpRequest) -> TemplateResponse:
        """Answer four weeks, from the day `from` on; without one from a week ago."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        today = clock.now().date()
        first = _read_day(request.GET.get("from", "")) or today - timedelta(days=_BEFORE)
        last = first + timedelta(days=_DAYS)
        found = load_calendar(Period(_begin(first), _begin(last)))
        known = {each.day: each for each in found.days}
        tiles = [_describe_tile(first + timedelta(days=number), known, today) for number in range(_DAYS)]
        context = {
            **self.admin_site.each_context(request),
            "title": "Dunning calendar",
            "content_title": "Dunning",
            "first": first,
            "earlier": first - timedelta(days=_DAYS),
            "later": last,
            "tiles": tiles,
            "days": [_describe_day(each, today) for each in found.days],
            "is_cut": found.is_cut,
        }
        return TemplateResponse(request, "invoicing/dunning_calendar.html", context)


def _begin(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _describe_tile(day: date, known: dict[date, CalendarDay], today: date) -> dict[str, Any]:
    found = known.get(day)
    return {
        "day": day,
        "is_today": day == today,
        "planned": len(found.planned) if found is not None else 0,
        "paid": sum(each.outcome == "paid" for each in found.tried) if found is not None else 0,
        "failed": sum(each.outcome != "paid" for each in found.tried) if found is not None else 0,
    }


def _describe_day(found: CalendarDay, today: date) -> dict[str, Any]:
    return {
        "day": found.day,
        "name": format_day(found.day),
        "is_today": found.day == today,
        "planned": [_describe_planned(each) for each in found.planned],
        "tried": [_describe_tried(each) for each in found.tried],
    }


def _describe_planned(each: PlannedAttempt) -> list[SafeString | str]:
    invoice = each.invoice
    return [
        format_instant(each.at, _ZONE),
        link_to(invoice.account),
        link_to(each.case, str(invoice)) if each.case is not None else link_to(invoice),
        format_money(invoice.amount_remaining, invoice.currency),
        f"attempt {each.step} of {each.attempts}" if each.case is not None else "first attempt",
        str(each.method) if each.method is not None else "stored money only",
        badge("planned", "info"),
    ]


def _describe_tried(attempt: DunningAttempt) -> list[SafeString | str]:
    case = attempt.case
    return [
        format_instant(attempt.made_at, _ZONE),
        link_to(case.invoice.account),
        link_to(case, str(case.invoice)),
        format_money(attempt.amount, case.invoice.currency) if attempt.amount else NOTHING,
        f"attempt {attempt.step} of {len(case.delays_hours) + 1}" if attempt.step else "out of turn",
        str(attempt.method) if attempt.method is not None else NOTHING,
        _state(attempt),
    ]


def explain_outcome(attempt: DunningAttempt) -> str:
    """Return why an attempt did not pay, as a sentence; a dash where nothing was declined."""
    return describe_decline(attempt.decline_reason) if attempt.decline_reason else NOTHING
