"""Tables of the catalog."""

from catalog.models.plan import (
    BillingTiming,
    Enforcement,
    Plan,
    PlanVersion,
    PlanVersionFeature,
    Price,
    PriceInterval,
    PriceModel,
    QuotaRule,
    QuotaWindow,
)
from catalog.models.product import Aggregation, Feature, Meter, Product
from catalog.models.revision import CatalogDraft, CatalogRevision, DraftStatus

__all__ = [
    "Aggregation",
    "BillingTiming",
    "CatalogDraft",
    "CatalogRevision",
    "DraftStatus",
    "Enforcement",
    "Feature",
    "Meter",
    "Plan",
    "PlanVersion",
    "PlanVersionFeature",
    "Price",
    "PriceInterval",
    "PriceModel",
    "Product",
    "QuotaRule",
    "QuotaWindow",
]
