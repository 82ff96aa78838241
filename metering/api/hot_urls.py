"""Paths that machines call thousands of times a second; the site looks here first."""

from django.urls import path

from billing_site.api.lean import lean_view
from metering.api.views.entitlements import EntitlementCheckView, answer_check
from metering.api.views.tenant_usage import TenantUsageViewSet, record_batch, record_one

TENANT_USAGE = "api/v1/billing/tenants/<path:account_id>/usage"

urlpatterns = [
    path("api/internal/billing/entitlement-check", lean_view(EntitlementCheckView.as_view(), post=answer_check)),
    path(TENANT_USAGE, lean_view(TenantUsageViewSet.as_view({"get": "list", "post": "create"}), post=record_one)),
    path(f"{TENANT_USAGE}/batch", lean_view(TenantUsageViewSet.as_view({"post": "batch"}), post=record_batch)),
]
