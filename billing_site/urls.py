"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts.api.views.renewals import RenewalView
from billing_site.api.readiness import ReadinessView
from billing_site.api.views import UnknownPathView
from invoicing.api.serializers.invoice import InvoiceSerializer

urlpatterns: list[URLPattern | URLResolver] = [
    # A path is found by trying one after the other, so what is asked most stands first.
    path("", include("metering.api.hot_urls")),
    path("", include("accounts.api.hot_urls")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("admin/", admin.site.urls),
    path("readyz", ReadinessView.as_view(), name="readyz"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("", include("catalog.api.urls")),
    # Its answer holds a subscription and an invoice; only here are both known.
    path(
        "api/v1/billing/subscriptions/<str:subscription_id>/renew",
        RenewalView.as_view(invoice_serializer=InvoiceSerializer),
    ),
    path("", include("accounts.api.urls")),
    path("", include("metering.api.urls")),
    path("", include("invoicing.api.urls")),
    path("", include("invoicing.webhooks.djstripe_urls", namespace="djstripe")),
    path("api/<path:rest>", UnknownPathView.as_view()),
]

handler400 = "billing_site.api.problems.handle_bad_request"
handler404 = "billing_site.api.problems.handle_not_found"
handler500 = "billing_site.api.problems.handle_server_error"
