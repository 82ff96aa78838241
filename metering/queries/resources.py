"""
What quotas may be set on by a fixed name: the meter it means, its unit, and whether it is a gauge.

Source: contract chapter Quotas (Resource types, Gauges).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from catalog.models import Aggregation, Meter
from metering.queries.meters import METRIC_TYPES, ResolvedMeter, load_meters
from metering.rating.units import UnitNotConvertible, get_conversion_factor


@dataclass(frozen=True, slots=True)
class ResourceType:
    """
    A resource by its fixed name. It is counted on `meter`, in `unit`; a meter made for it aggregates by `aggregation`.

    Of a gauge the last reported value counts, whenever that was.
    """

    meter: str
    unit: str
    aggregation: str = Aggregation.SUM

    @property
    def is_gauge(self) -> bool:
        return self.aggregation == Aggregation.LAST


def _name(name: str, unit: str, aggregation: str = Aggregation.SUM) -> tuple[str, ResourceType]:
    metric = METRIC_TYPES.get(name)
    return name, ResourceType(name if metric is None else metric.meter, unit, aggregation)


RESOURCE_TYPES: Final[dict[str, ResourceType]] = dict(
    (
        _name("cpu_cores", "cores", Aggregation.LAST),
        _name("memory_gb", "GB", Aggregation.LAST),
        _name("gpu_units", "GPUs", Aggregation.LAST),
        _name("storage_gb", "GB", Aggregation.LAST),
        _name("object_storage_gb", "GB", Aggregation.LAST),
        _name("concurrent_connections", "connections", Aggregation.LAST),
        _name("dashboard_count", "dashboards", Aggregation.LAST),
        _name("data_transfer_gb", "GB"),
        _name("query_executions", "queries"),
        _name("rows_scanned", "rows"),
        _name("api_calls", "requests"),
        _name("ml_training_hours", "hours"),
        _name("ml_inference_requests", "requests"),
        _name("ai_tokens", "tokens"),
        _name("pipeline_runs", "runs"),
        _name("connector_syncs", "syncs"),
        _name("report_executions", "reports"),
        _name("active_users", "users", Aggregation.UNIQUE),
    )
)
_GAUGES: Final = frozenset(resource.meter for resource in RESOURCE_TYPES.values() if resource.is_gauge)


def is_gauge(*, event_name: str, aggregation: str) -> bool:
    """Tell whether the last reported value of a meter counts against a quota, and not what a window adds up."""
    return aggregation == Aggregation.LAST or event_name in _GAUGES


class UnknownResource(ValueError):
    """A name that is neither a resource type nor a meter."""


@dataclass(frozen=True, slots=True)
class FoundResource:
    """The meter a name means, and the unit in which quantities under that name are given."""

    meter: Meter
    unit: str


def find_resource(*, org_id: str, name: str) -> FoundResource | None:
    """
    Return the meter that a resource type, service name, event name or meter id means. One query.

    None for a fixed resource type that nothing counts on yet.
    :raises UnknownResource: for any other name.
    """
    key = name.strip().lower()
    resource = RESOURCE_TYPES.get(key)
    names = [name, resource.meter] if resource else [name]
    book = load_meters(org_ids=[org_id], references=names)
    found = next((meter for each in names if (meter := book.get(org_id=org_id, reference=each))), None)
    if found is None and resource is None:
        raise UnknownResource(f"{name.strip()[:100]!r} is neither a resource type nor a meter.")
    return None if found is None else FoundResource(found.meter, _choose_unit(found, resource))


def _choose_unit(found: ResolvedMeter, resource: ResourceType | None) -> str:
    """Return the unit that the name implies where that is another than the meter's, else the meter's."""
    implied = found.implied_unit or (resource.unit if resource else "")
    if not implied:
        return found.meter.unit
    try:
        factor = get_conversion_factor(unit=implied, target=found.meter.unit)
    except UnitNotConvertible:
        return found.meter.unit
    return found.meter.unit if factor == 1 else implied
