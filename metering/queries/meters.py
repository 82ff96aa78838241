"""Meters by any name a caller of usage doors may use. Source: contract chapter Meters and usage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from billing_site.kernel.model_rows import ModelRows
from billing_site.kernel.statements import prepared_cursor
from catalog.models import Meter
from catalog.queries.meters import MeterNotFound

DEFAULT_ORG: Final = "default"
_ROWS: Final = ModelRows(Meter, "m")
_BY_NAME: Final = f"""
SELECT {_ROWS.columns} FROM meters m
WHERE org_id = ANY($1::text[]) AND (event_name = ANY($2::text[]) OR id = ANY($3::uuid[]))
"""  # noqa: S608 - columns of the model
# What calls with a known price are counted on. Only events of this meter are ever charged when they happen.
CHARGED_METER: Final = "api-usage"


@dataclass(frozen=True, slots=True)
class MetricType:
    """A fixed metric name: the meter it counts on where the catalog has it, and the unit it is given in."""

    meter: str
    unit: str


METRIC_TYPES: Final[dict[str, MetricType]] = {
    "api_calls": MetricType("api", "count"),
    "query_executions": MetricType("database", "count"),
    "storage_bytes": MetricType("storage_bytes", "bytes"),
    "compute_seconds": MetricType("compute", "seconds"),
    "data_transfer_bytes": MetricType("bandwidth", "bytes"),
    "data_transfer_gb": MetricType("bandwidth", "GB"),
    "ai_tokens": MetricType("llm_tokens", "tokens"),
    "active_users": MetricType("active_users", "count"),
    "ml_inference_requests": MetricType("ml_inference_requests", "count"),
    "dashboard_views": MetricType("dashboard_views", "count"),
    "pipeline_runs": MetricType("pipeline_runs", "count"),
    "connector_syncs": MetricType("connector_syncs", "count"),
}


@dataclass(frozen=True, slots=True)
class ResolvedMeter:
    """A meter, and the unit the name itself implies (empty: the meter's own)."""

    meter: Meter
    implied_unit: str = ""


class MeterBook:
    """Meters of some organizations by id and name. An organization's own meter comes before the shared one."""

    def __init__(self, meters: Iterable[Meter]) -> None:
        self._meters = {(meter.org_id, meter.event_name): meter for meter in meters}
        self._by_id = {meter.id: meter for meter in self._meters.values()}

    def get(self, *, org_id: str, reference: str) -> ResolvedMeter | None:
        """
        Return the meter `reference` means for an organization, or None.

        In order: public id, event name as written, metric type in any case, event name in lower case.
        """
        name = reference.strip()
        if (key := Meter.parse_id(name)) is not None:
            meter = self._by_id.get(key)
            return ResolvedMeter(meter) if meter is not None and meter.org_id in (org_id, DEFAULT_ORG) else None
        if meter := self._find(org_id, name):
            return ResolvedMeter(meter)
        metric = METRIC_TYPES.get(name.lower())
        if metric and (meter := self._find(org_id, metric.meter)):
            return ResolvedMeter(meter, metric.unit)
        meter = self._find(org_id, name.lower())
        return ResolvedMeter(meter) if meter else None

    def _find(self, org_id: str, event_name: str) -> Meter | None:
        return self._meters.get((org_id, event_name)) or self._meters.get((DEFAULT_ORG, event_name))


def load_meters(*, org_ids: Iterable[str], references: Iterable[str]) -> MeterBook:
    """Return every meter that one of `references` may mean for one of the organizations. One query."""
    keys, names = set(), set()
    for reference in references:
        name = reference.strip()
        if (key := Meter.parse_id(name)) is not None:
            keys.add(key)
            continue
        names |= {name, name.lower()}
        if metric := METRIC_TYPES.get(name.lower()):
            names.add(metric.meter)
    owners = {*org_ids, DEFAULT_ORG}
    with prepared_cursor(numbered=True) as cursor:
        cursor.execute(_BY_NAME, [list(owners), list(names), list(keys)])
        return MeterBook(map(_ROWS.read, cursor.fetchall()))


def get_meter(*, org_id: str | None, reference: str) -> Meter:
    """
    Return the meter a caller of this organization (None: of all) means: id, event name, metric type or service name.

    :raises MeterNotFound: if there is none.
    """
    if org_id is None and (key := Meter.parse_id(reference)) is not None:
        meter = Meter.objects.filter(pk=key).first()
    else:
        owner = org_id or DEFAULT_ORG
        found = load_meters(org_ids=[owner], references=[reference]).get(org_id=owner, reference=reference)
        meter = found.meter if found else None
    if meter is None:
        raise MeterNotFound(f"There is no meter {reference.strip()[:100]!r}.")
    return meter


def list_meters(*, org_id: str) -> list[Meter]:
    """Return the meters an organization's accounts may have used, retired ones included, by name."""
    return list(Meter.objects.filter(org_id__in={org_id, DEFAULT_ORG}).order_by("event_name", "id"))


__all__ = [
    "CHARGED_METER",
    "METRIC_TYPES",
    "MeterBook",
    "MeterNotFound",
    "ResolvedMeter",
    "get_meter",
    "list_meters",
    "load_meters",
]
