"""dj-stripe's own webhook view, which the product does not serve: its door stores first and asks later."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
