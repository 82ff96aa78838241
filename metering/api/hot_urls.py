"""Paths that machines call thousands of times a second; the site looks here first."""

from django.urls import path

from billing_site.api.lean import lean_view
from metering.api.views.entitlements import EntitlementCheckView, answer_check

urlpatterns = [
    path("api/internal/billing/entitlement-check", lean_view(EntitlementCheckView.as_view(), post=answer_check)),
]
