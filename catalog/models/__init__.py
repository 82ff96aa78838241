"""Tables of the catalog."""

from catalog.models.coupon import Coupon, DiscountType
from catalog.models.plan import (
    AMOUNT_MODELS,
    FEE_MODELS,
    BillingTiming,
    Enforcement,
    Plan,
    PlanVersion,
    PlanVersionFeature,
    Price,
    PriceInterval,
    PriceModel,
    ProrationBasis,
    ProrationUnit,
    QuotaRule,
    QuotaWindow,
)
from catalog.models.pricing_rule import PricingRule, RuleModel
from catalog.models.product import Aggregation, Feature, ManagedBy, Meter, Product
from catalog.models.revision import CatalogDraft, CatalogRevision, DraftStatus
from catalog.models.tax_rate import TaxRate

__all__ = [
    "AMOUNT_MODELS",
    "FEE_MODELS",
    "Aggregation",
    "BillingTiming",
    "CatalogDraft",
    "CatalogRevision",
    "Coupon",
    "DiscountType",
    "DraftStatus",
    "Enforcement",
    "Feature",
    "ManagedBy",
    "Meter",
    "Plan",
    "PlanVersion",
    "PlanVersionFeature",
    "Price",
    "PriceInterval",
    "PriceModel",
    "PricingRule",
    "Product",
    "ProrationBasis",
    "ProrationUnit",
    "QuotaRule",
    "QuotaWindow",
    "RuleModel",
    "TaxRate",
]
