"""Routes of the catalog."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from catalog.api.views.capabilities import CapabilitiesView
from catalog.api.views.coupons import CouponViewSet
from catalog.api.views.meters import MeterViewSet
from catalog.api.views.plans import PlanViewSet
from catalog.api.views.pricing_rules import PricingRuleViewSet
from catalog.api.views.quotes import PriceQuoteView
from catalog.api.views.revisions import CatalogSchemaView, CatalogView, RevisionViewSet
from catalog.api.views.tax_rates import TaxRateViewSet


class CouponReference(StringConverter):
    """The id or code of a coupon; what is done with coupons in general has paths of its own."""

    regex = "(?!(?:validate|redeem)$)[^/]+"


register_converter(CouponReference, "coupon")

BILLING = "api/v1/billing"
INTERNAL = "api/internal/billing"

urlpatterns = [
    path(f"{BILLING}/plans", PlanViewSet.as_view({"get": "list"})),
    path(f"{BILLING}/plans/<str:plan_id>", PlanViewSet.as_view({"get": "retrieve"})),
    path("api/v1/dns/plans", PlanViewSet.as_view({"get": "list_dns"})),
    path(f"{BILLING}/capabilities", CapabilitiesView.as_view()),
    path(f"{BILLING}/meters", MeterViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/meters/<str:meter_id>", MeterViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/pricing-rules", PricingRuleViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/pricing-rules/<str:rule_id>", PricingRuleViewSet.as_view({"delete": "destroy"})),
    path(f"{BILLING}/coupons", CouponViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{BILLING}/coupons/<coupon:coupon_id>", CouponViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/coupons/<coupon:coupon_id>/deactivate", CouponViewSet.as_view({"post": "deactivate"})),
    path(f"{INTERNAL}/tax-rates", TaxRateViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{INTERNAL}/tax-rates/<str:tax_rate_id>", TaxRateViewSet.as_view({"delete": "destroy"})),
    path(f"{INTERNAL}/catalog", CatalogView.as_view()),
    path(f"{INTERNAL}/catalog/schema", CatalogSchemaView.as_view()),
    path(f"{INTERNAL}/catalog/revisions", RevisionViewSet.as_view({"get": "list"})),
    path(f"{INTERNAL}/catalog/revisions/compare", RevisionViewSet.as_view({"get": "compare"})),
    path(f"{INTERNAL}/catalog/revisions/<str:revision>/republish", RevisionViewSet.as_view({"post": "republish"})),
    path(f"{INTERNAL}/price-quote", PriceQuoteView.as_view()),
]
