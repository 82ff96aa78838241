"""Routes of the local provider's pages."""

from django.urls import path

from invoicing.api.local_pages.views import CheckoutPage, DonePage, PortalPage

urlpatterns = [
    path("pay/done", DonePage.as_view(), name="pay-done"),
    path("pay/checkout/<str:signed>", CheckoutPage.as_view(), name="pay-checkout"),
    path("pay/portal/<str:signed>", PortalPage.as_view(), name="pay-portal"),
]
