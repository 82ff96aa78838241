"""
Where usage events live. Every read and write of them goes through this package, so that a second store can be added.

Nothing here prices, converts or refuses: callers hand over checked rows.
"""

from metering.stores.activity import list_active_accounts
from metering.stores.centers import CenterQuantity, CenterRequest, sum_centers
from metering.stores.charge_clients import delete_clients_before, insert_client
from metering.stores.charged import ChargedDay, ChargedTotal, sum_charged, sum_charged_days
from metering.stores.corrections import insert_voiding, make_voiding
from metering.stores.counters import CounterRequest, CounterUse, read_counters
from metering.stores.events import find_event, find_events, list_events
from metering.stores.finding import (
    EventSearch,
    find_by_keys,
    find_within_account,
    list_voidings,
    locate_events,
    search_events,
)
from metering.stores.gauges import read_last_values
from metering.stores.groups import GroupRequest, QuantityGroup, StreamedEvent, stream_events, sum_groups
from metering.stores.months import MonthTotal, sum_months
from metering.stores.quantities import (
    Bucket,
    BucketQuantity,
    MeterTotal,
    Quantity,
    QuantityRequest,
    sum_buckets,
    sum_over_accounts,
    sum_quantities,
)
from metering.stores.rows import Claim, EventRow, StoredEvent, hash_claims, make_event_id, project_dimensions
from metering.stores.series import SeriesPoint, SeriesRequest, stream_series, sum_series
from metering.stores.steps import (
    EventStepRequest,
    StepEvents,
    StepQuantity,
    StepRequest,
    list_event_steps,
    sum_steps,
)
from metering.stores.watermarks import Watermark, read_watermarks
from metering.stores.writing import insert_events

__all__ = [
    "Bucket",
    "BucketQuantity",
    "CenterQuantity",
    "CenterRequest",
    "ChargedDay",
    "ChargedTotal",
    "Claim",
    "CounterRequest",
    "CounterUse",
    "EventRow",
    "EventSearch",
    "EventStepRequest",
    "GroupRequest",
    "MeterTotal",
    "MonthTotal",
    "Quantity",
    "QuantityGroup",
    "QuantityRequest",
    "SeriesPoint",
    "SeriesRequest",
    "StepEvents",
    "StepQuantity",
    "StepRequest",
    "StoredEvent",
    "StreamedEvent",
    "Watermark",
    "delete_clients_before",
    "find_by_keys",
    "find_event",
    "find_events",
    "find_within_account",
    "hash_claims",
    "insert_client",
    "insert_events",
    "insert_voiding",
    "list_active_accounts",
    "list_event_steps",
    "list_events",
    "list_voidings",
    "locate_events",
    "make_event_id",
    "make_voiding",
    "project_dimensions",
    "read_counters",
    "read_last_values",
    "read_watermarks",
    "search_events",
    "stream_events",
    "stream_series",
    "sum_buckets",
    "sum_centers",
    "sum_charged",
    "sum_charged_days",
    "sum_groups",
    "sum_months",
    "sum_over_accounts",
    "sum_quantities",
    "sum_series",
    "sum_steps",
]
