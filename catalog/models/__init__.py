"""Tables of the catalog."""

from catalog.models.plan import (
    FEE_MODELS,
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
    "FEE_MODELS",
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
