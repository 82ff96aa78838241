"""What a value looks like in the admin: money, status, links, periods, instants, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal as babel_format_decimal
from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from billing_site.kernel.money import format_decimal, get_exponent

NOTHING: Final = "–"
Column = Callable[..., Any]

TONES: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("active", "paid", "issued", "completed", "succeeded", "published", "finalized", "delivered"), "good"
    ),
    **dict.fromkeys(("open", "running", "pending", "processing", "trialing", "scheduled", "claimed"), "info"),
    **dict.fromkeys(
        ("past_due", "overdue", "paused", "partial", "completed_with_errors", "incomplete", "skipped"), "warning"
    ),
    **dict.fromkeys(("failed", "error", "uncollectible", "unpaid", "suspended", "disputed"), "bad"),
}


def format_money(amount: int, currency: str) -> str:
    """Return integer minor units as grouped text with the currency: `1,234.50 USD`."""
    return f"{format_amount(amount, currency)} {currency.upper()}"


def format_amount(amount: int, currency: str) -> str:
    """Return integer minor units as grouped text without the currency."""
    digits = get_exponent(currency)
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return babel_format_decimal(
        Decimal(format_decimal(amount, currency)), format=pattern, locale=locale(), decimal_quantization=False
    )


def format_quantity(value: Decimal | int | None) -> str:
    """Return a quantity grouped, with as many decimals as it has."""
    if value is None:
        return NOTHING
    return babel_format_decimal(
        Decimal(value), format="#,##0.############", locale=locale(), decimal_quantization=False
    )


def money(amount: int | None, currency: str | None) -> SafeString | str:
    """Return an amount for a table cell: tabular figures, currency in small type."""
    if amount is None or not currency:
        return NOTHING
    text = format_amount(amount, currency).replace("-", "\N{MINUS SIGN}")
    return format_html(
        '<span class="ch-money{}"><span class="ch-amount">{}</span> <span class="ch-currency">{}</span></span>',
        " ch-negative" if amount < 0 else "",
        text,
        currency.upper(),
    )


def money_display(
    field: str, currency: str = "currency", *, description: str = "", ordering: str | bool = True
) -> Column:
    """
    Return a column showing `field` (minor units) with the currency in `currency`; both may be paths.

    `ordering=False` makes it not sortable, a text names another column to sort by.
    """

    def column(*arguments: Any) -> SafeString | str:
        obj = arguments[-1]
        return money(_follow(obj, field), _follow(obj, currency))

    return _as_column(column, field, description, ordering)


def quantity_display(field: str, *, description: str = "", ordering: str | bool = True) -> Column:
    """Return a right-aligned column of a Decimal quantity or unit price."""

    def column(*arguments: Any) -> SafeString:
        return format_html('<span class="ch-number">{}</span>', format_quantity(_follow(arguments[-1], field)))

    return _as_column(column, field, description, ordering)


def status_badge(
    field: str = "status", *, tones: Mapping[str, str] | None = None, description: str = "", ordering: str | bool = True
) -> Column:
    """Return a column showing a choice as a badge: text always, colour and mark on top."""

    def column(*arguments: Any) -> SafeString | str:
        obj = arguments[-1]
        value = _follow(obj, field)
        if value in (None, ""):
            return NOTHING
        shown = getattr(obj, f"get_{field}_display", None)
        tone = (tones or {}).get(str(value)) or TONES.get(str(value), "neutral")
        return badge(_sentence_case(str(value), str(shown() if shown else value)), tone)

    return _as_column(column, field, description, ordering)


def _sentence_case(value: str, label: str) -> str:
    """Return a choice's label, without the capitals that Django derives from a value of several words."""
    return value.replace("_", " ") if label == value.replace("_", " ").title() else label


def badge(text: str, tone: str = "neutral") -> SafeString:
    """Return one badge; tones: good, info, warning, bad, neutral."""
    shown = text.replace("_", " ")
    return format_html('<span class="ch-badge ch-{}">{}</span>', tone, shown[:1].upper() + shown[1:])


def link_to(obj: Model | None, text: str = "") -> SafeString | str:
    """Return a link to the object's admin page; plain text where it has none."""
    if obj is None:
        return NOTHING
    shown = text or str(obj)
    try:
        url = reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])
    except NoReverseMatch:
        return shown
    return format_html('<a class="ch-link" href="{}">{}</a>', url, shown)


def link_to_id(public_id: str, text: str) -> SafeString | str:
    """Return `text` as a link to the page of the object with this public id; plain where it has none. No query."""
    prefix = public_id.rpartition("_")[0]
    for model in admin.site._registry:
        if prefix and getattr(model, "id_prefix", "") == prefix and (key := model.parse_id(public_id)):  # type: ignore[attr-defined]
            url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[key])
            return format_html('<a class="ch-link" href="{}">{}</a>', url, text)
    return text


def link_display(field: str, *, description: str = "", ordering: str | bool = True) -> Column:
    """Return a column linking to the object that `field` (a path) leads to."""

    def column(*arguments: Any) -> SafeString | str:
        return link_to(_follow(arguments[-1], field))

    return _as_column(column, field, description, ordering)


def json_block(value: Any) -> SafeString | str:
    """Return a value as indented JSON in a scrolling block."""
    if value in (None, {}, []):
        return NOTHING
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre class="ch-json" tabindex="0">{}</pre>', text)


def json_display(field: str, *, description: str = "") -> Column:
    """Return a read-only field showing JSON."""

    def column(*arguments: Any) -> SafeString | str:
        return json_block(_follow(arguments[-1], field))

    return _as_column(column, field, description, ordering=False)


def period_display(
    start: str = "period_start", end: str = "period_end", *, zone: str = "account.timezone", description: str = "Period"
) -> Column:
    """Return a column for a half-open period: whole local days as first and last day, else instants."""

    def column(*arguments: Any) -> SafeString | str:
        obj = arguments[-1]
        return format_period(_follow(obj, start), _follow(obj, end), _follow(obj, zone))

    return _as_column(column, start, description, ordering=True)


def format_period(start: datetime | None, end: datetime | None, zone: str | None = None) -> SafeString | str:
    """Return `1 Feb 2026 – 28 Feb 2026`; the tooltip has the exact half-open instants."""
    if start is None or end is None:
        return NOTHING if start is None else instant(start, zone)
    exact = (
        f"{start.astimezone(UTC):%Y-%m-%d %H:%M:%S} to {end.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, end not included"
    )
    shown = format_period_text(start, end, zone)
    return format_html('<span class="ch-period" title="{}">{}</span>', exact, shown)


def format_period_text(start: datetime, end: datetime, zone: str | None = None) -> str:
    """Return a half-open period as text: whole local days as first and last day, else instants."""
    local = [moment.astimezone(_zone(zone)) for moment in (start, end)]
    if all((moment.hour, moment.minute, moment.second) == (0, 0, 0) for moment in local) and end > start:
        first, last = local[0].date(), local[1].date().fromordinal(local[1].date().toordinal() - 1)
        texts = [format_day(day) for day in (first, last)]
    else:
        texts = [format_datetime(moment, "d MMM y HH:mm", locale=locale()) for moment in local]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} – {texts[1]}"


def format_day(day: date) -> str:
    """Return a date as text: `1 Feb 2026`."""
    return format_date(day, "d MMM y", locale=locale())


def format_instant(moment: datetime, zone: str | None = None) -> str:
    """Return an instant as local time of `zone` (UTC without one) and the zone's name: `1 Feb 2026 09:30 CET`."""
    local = moment.astimezone(_zone(zone))
    return f"{format_datetime(local, 'd MMM y HH:mm', locale=locale())} {local.tzname() or ''}".strip()


def timestamp_display(
    field: str, *, zone: str = "account.timezone", description: str = "", ordering: str | bool = True
) -> Column:
    """Return a column of an instant in the account's zone; the tooltip has it in UTC."""

    def column(*arguments: Any) -> SafeString | str:
        obj = arguments[-1]
        return instant(_follow(obj, field), _follow(obj, zone))

    return _as_column(column, field, description, ordering)


def instant(moment: datetime | None, zone: str | None = None) -> SafeString | str:
    """Return an instant as local time of `zone` (UTC without one)."""
    if moment is None:
        return NOTHING
    local = moment.astimezone(_zone(zone))
    return format_html(
        '<time class="ch-time" datetime="{}" title="{}">{} <span class="ch-zone">{}</span></time>',
        moment.astimezone(UTC).isoformat(),
        f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        format_datetime(local, "d MMM y HH:mm", locale=locale()),
        local.tzname() or "",
    )


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or settings.TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def locale() -> str:
    """Return the language of the person's page, as babel names it."""
    return (get_language() or settings.LANGUAGE_CODE).replace("-", "_")


def _follow(obj: Any, path: str) -> Any:
    for name in path.replace("__", ".").split("."):
        if obj is None:
            return None
        obj = getattr(obj, name, None)
    return obj() if callable(obj) and not isinstance(obj, type) else obj


def _as_column(column: Column, field: str, description: str, ordering: str | bool) -> Column:
    path = field.replace(".", "__")
    column.__name__ = path
    label = description or field.replace("__", ".").rsplit(".", 1)[-1].replace("_", " ").capitalize()
    order = path if ordering is True else ordering or None
    if order:
        return admin.display(description=label, ordering=order)(column)
    return admin.display(description=label)(column)
