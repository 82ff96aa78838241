"""Paths that machines call thousands of times a second; the site looks here first."""

from django.urls import path

from accounts.api.views.tiers import TierCheckView, answer_tier_check
from billing_site.api.lean import lean_view

urlpatterns = [path("api/v1/billing/tier-check", lean_view(TierCheckView.as_view(), get=answer_tier_check))]
