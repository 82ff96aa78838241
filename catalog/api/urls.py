"""Routes of the catalog."""

from django.urls import path

from catalog.api.views.meters import MeterViewSet
from catalog.api.views.plans import PlanViewSet
from catalog.api.views.revisions import CatalogView

BILLING = "api/v1/billing"

urlpatterns = [
    path(f"{BILLING}/plans", PlanViewSet.as_view({"get": "list"})),
    path(f"{BILLING}/plans/<str:plan_id>", PlanViewSet.as_view({"get": "retrieve"})),
    path(f"{BILLING}/meters", MeterViewSet.as_view({"get": "list"})),
    path(f"{BILLING}/meters/<str:meter_id>", MeterViewSet.as_view({"get": "retrieve"})),
    path("api/internal/billing/catalog", CatalogView.as_view()),
]
