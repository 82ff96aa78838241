"""Admin pages of the catalog."""

from catalog.admin.draft import CatalogDraftAdmin
from catalog.admin.meter import MeterAdmin
from catalog.admin.plan import PlanAdmin, PlanVersionAdmin
from catalog.admin.price import PriceAdmin, QuotaRuleAdmin
from catalog.admin.product import FeatureAdmin, ProductAdmin
from catalog.admin.revision import CatalogRevisionAdmin

__all__ = [
    "CatalogDraftAdmin",
    "CatalogRevisionAdmin",
    "FeatureAdmin",
    "MeterAdmin",
    "PlanAdmin",
    "PlanVersionAdmin",
    "PriceAdmin",
    "ProductAdmin",
    "QuotaRuleAdmin",
]
