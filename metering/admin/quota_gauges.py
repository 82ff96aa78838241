"""Quotas as gauges: how much of each is used, how near that is to its limit, and what happens there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from billing_site.backoffice.display import format_instant, format_quantity
from catalog.models import Meter
from metering.queries.quotas import QuotaUse

_TONES: Final = {"ok": "good", "warning": "warning", "critical": "warning", "exceeded": "bad"}


@dataclass(frozen=True, slots=True)
class Gauge:
    """One quota. `filled` is the percent that is drawn, at most 100, or None for what has no limit."""

    name: str
    window: str
    used: str
    limit: str
    percent: int
    filled: int | None
    level: str
    tone: str
    note: str


def build_gauges(uses: Iterable[QuotaUse], *, meters: Sequence[Meter], zone: str) -> list[Gauge]:
    """Return the quotas in the order given; `meters` name what they count."""
    names = {meter.event_name: meter.display_name for meter in meters}
    return [_build_gauge(use, names.get(use.quota.meter_event_name, use.quota.meter_event_name), zone) for use in uses]


def _build_gauge(use: QuotaUse, name: str, zone: str) -> Gauge:
    quota = use.quota
    limit = "unlimited" if quota.limit is None else f"of {format_quantity(quota.limit)} {quota.unit}".strip()
    return Gauge(
        name=name,
        window="as it stands" if quota.is_gauge else f"per {quota.window.replace('_', ' ')}",
        used=format_quantity(use.used),
        limit=limit,
        percent=use.percent,
        filled=None if quota.limit is None else min(100, use.percent),
        level=use.level,
        tone=_TONES[use.level],
        note=", ".join(_list_notes(use, zone)),
    )


def _list_notes(use: QuotaUse, zone: str) -> list[str]:
    notes = []
    if use.reserved:
        notes.append(f"{format_quantity(use.reserved)} reserved")
    if use.quota.limit is not None:
        notes.append("stops above it" if use.quota.is_hard else "goes on above it")
    if use.quota.source == "account":
        notes.append("the account's own")
    if use.resets_at is not None:
        notes.append(f"resets {format_instant(use.resets_at, zone)}")
    return notes
