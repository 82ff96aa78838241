"""The product's site for benchmarks/entitlement.py, with a bare view and the door without its short way beside."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")

from billing_site.wsgi import application

# isort: split
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

from billing_site.kernel.statements import prepared_cursor
from billing_site.urls import handler400, handler404, handler500
from billing_site.urls import urlpatterns as site_patterns
from metering.api.views.entitlements import EntitlementCheckView

__all__ = ["application", "handler400", "handler404", "handler500", "urlpatterns"]


def answer_barely(_request: HttpRequest, account_id: str) -> HttpResponse:
    """One prepared query, and nothing that the product adds."""
    with prepared_cursor() as cursor:
        cursor.execute("SELECT status FROM accounts WHERE id = %s::uuid", [account_id])
        [status] = cursor.fetchone()
    return HttpResponse(b'{"status":"%s"}' % status.encode(), content_type="application/json")


urlpatterns = [
    path("bare/<str:account_id>", answer_barely),
    path("by-rest-framework", EntitlementCheckView.as_view()),
    *site_patterns,
]
settings.ROOT_URLCONF = "benchmarks.entitlement_site"
