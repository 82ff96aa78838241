"""Paths of the usage API."""

from django.urls import path

from metering.api.hot_urls import TENANT_USAGE
from metering.api.views.cost_alerts import CostAlertViewSet, SpendAlertViewSet
from metering.api.views.dns import DnsUsageViewSet
from metering.api.views.meter_events import MeterEventViewSet
from metering.api.views.quotas import QuotaViewSet
from metering.api.views.realtime import RealtimeCostViewSet
from metering.api.views.rejected_usage import RejectedUsageViewSet
from metering.api.views.reservations import QuotaReservationViewSet
from metering.api.views.status import StatusViewSet
from metering.api.views.tenant_usage import TenantUsageViewSet
from metering.api.views.usage_charges import UsageChargeView
from metering.api.views.usage_exports import UsageExportView
from metering.api.views.usage_feed import UsageFeedViewSet
from metering.api.views.usage_imports import UsageImportViewSet
from metering.api.views.usage_records import UsageRecordViewSet
from metering.api.views.zap import ZapView

IMPORTS = "api/internal/billing/usage-imports"
QUOTAS = "api/v1/billing/quotas"
RECORDS = "api/internal/billing/usage-records"
RESERVATIONS = "api/internal/billing/quota-reservations"
REALTIME = "api/v1/billing/realtime-cost/tenants/<path:account_id>"

urlpatterns = [
    path("api/internal/usage-events", UsageFeedViewSet.as_view({"get": "list", "post": "create", "delete": "destroy"})),
    path("api/internal/billing/usage-exports", UsageExportView.as_view()),
    path(f"{REALTIME}/current", RealtimeCostViewSet.as_view({"get": "current"})),
    path(f"{REALTIME}/by-resource", RealtimeCostViewSet.as_view({"get": "by_resource"})),
    path(f"{REALTIME}/timeline", RealtimeCostViewSet.as_view({"get": "timeline"})),
    path(f"{TENANT_USAGE}/summary", TenantUsageViewSet.as_view({"get": "summary"})),
    path("api/v1/billing/status", StatusViewSet.as_view({"get": "own"})),
    path("api/internal/billing/accounts/<path:account_id>/status", StatusViewSet.as_view({"get": "of_account"})),
    path("api/internal/billing/rejected-usage", RejectedUsageViewSet.as_view({"get": "list"})),
    path("api/v1/dns/usage", DnsUsageViewSet.as_view({"post": "create"})),
    path("api/v1/dns/usage/summary", DnsUsageViewSet.as_view({"get": "summary"})),
    path(RESERVATIONS, QuotaReservationViewSet.as_view({"post": "create"})),
    path(f"{RESERVATIONS}/<str:reservation_id>", QuotaReservationViewSet.as_view({"get": "retrieve"})),
    path(f"{RESERVATIONS}/<str:reservation_id>/commit", QuotaReservationViewSet.as_view({"post": "commit"})),
    path(f"{RESERVATIONS}/<str:reservation_id>/release", QuotaReservationViewSet.as_view({"post": "release"})),
    path(IMPORTS, UsageImportViewSet.as_view({"get": "list", "post": "create"})),
    path(f"{IMPORTS}/<str:import_id>", UsageImportViewSet.as_view({"get": "retrieve"})),
    path(f"{IMPORTS}/<str:import_id>/cancel", UsageImportViewSet.as_view({"post": "cancel"})),
    path(f"{IMPORTS}/<str:import_id>/errors", UsageImportViewSet.as_view({"get": "errors"})),
    path(RECORDS, UsageRecordViewSet.as_view({"get": "list"})),
    path(f"{RECORDS}/<str:event_id>", UsageRecordViewSet.as_view({"get": "retrieve"})),
    path(f"{RECORDS}/<str:event_id>/void", UsageRecordViewSet.as_view({"post": "void"})),
    path(f"{RECORDS}/<str:event_id>/amend", UsageRecordViewSet.as_view({"post": "amend"})),
    path(QUOTAS, QuotaViewSet.as_view({"post": "create"})),
    path(f"{QUOTAS}/tenants/<path:account_id>/check", QuotaViewSet.as_view({"get": "check_quotas"})),
    path(f"{QUOTAS}/tenants/<path:account_id>", QuotaViewSet.as_view({"get": "list"})),
    path(f"{QUOTAS}/<str:quota_id>", QuotaViewSet.as_view({"put": "update", "delete": "destroy"})),
    path("api/v1/billing/usage", UsageChargeView.as_view()),
    path("api/v1/billing/meter-events", MeterEventViewSet.as_view({"post": "create"})),
    path("api/v1/billing/meter-events/summary", MeterEventViewSet.as_view({"get": "summary"})),
    path("api/v1/billing/zap", ZapView.as_view()),
    path(
        "api/v1/billing/realtime-cost/tenants/<path:account_id>/alerts",
        CostAlertViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path("api/v1/billing/realtime-cost/alerts/<str:alert_id>/dismiss", CostAlertViewSet.as_view({"post": "dismiss"})),
    path("api/v1/billing/spend-alerts", SpendAlertViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "api/v1/billing/spend-alerts/<str:alert_id>",
        SpendAlertViewSet.as_view({"patch": "partial_update", "delete": "destroy"}),
    ),
]
