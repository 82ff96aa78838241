"""
Where usage events live. Every read and write of them goes through this package, so that a second store can be added.

Nothing here prices, converts or refuses: callers hand over checked rows.
"""

from metering.stores.events import Claim, EventRow, StoredEvent, find_events, insert_events, list_events
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

__all__ = [
    "Bucket",
    "BucketQuantity",
    "Claim",
    "EventRow",
    "MeterTotal",
    "Quantity",
    "QuantityRequest",
    "StoredEvent",
    "find_events",
    "insert_events",
    "list_events",
    "sum_buckets",
    "sum_over_accounts",
    "sum_quantities",
]
