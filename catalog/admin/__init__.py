"""Admin pages of the catalog."""

from catalog.admin.coupon import CouponAdmin
from catalog.admin.draft import CatalogDraftAdmin
from catalog.admin.meter import MeterAdmin
from catalog.admin.plan import PlanAdmin, PlanVersionAdmin
from catalog.admin.price import PriceAdmin, QuotaRuleAdmin
from catalog.admin.pricing_rule import PricingRuleAdmin
from catalog.admin.product import FeatureAdmin, ProductAdmin
from catalog.admin.revision import CatalogRevisionAdmin
from catalog.admin.tax_rate import TaxRateAdmin

__all__ = [
    "CatalogDraftAdmin",
    "CatalogRevisionAdmin",
    "CouponAdmin",
    "FeatureAdmin",
    "MeterAdmin",
    "PlanAdmin",
    "PlanVersionAdmin",
    "PriceAdmin",
    "PricingRuleAdmin",
    "ProductAdmin",
    "QuotaRuleAdmin",
    "TaxRateAdmin",
]
