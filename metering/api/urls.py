"""Paths of the usage API."""

from django.urls import path

from metering.api.views.meter_events import MeterEventViewSet
from metering.api.views.tenant_usage import TenantUsageViewSet

TENANT = "api/v1/billing/tenants/<path:account_id>/usage"

urlpatterns = [
    path(TENANT, TenantUsageViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{TENANT}/batch", TenantUsageViewSet.as_view({"post": "batch"})),
    path(f"{TENANT}/summary", TenantUsageViewSet.as_view({"get": "summary"})),
    path("api/v1/billing/meter-events", MeterEventViewSet.as_view({"post": "create"})),
    path("api/v1/billing/meter-events/summary", MeterEventViewSet.as_view({"get": "summary"})),
]
