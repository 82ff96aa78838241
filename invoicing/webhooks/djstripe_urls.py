"""The address of dj-stripe's endpoints, under the name that dj-stripe looks for."""

from django.urls import path

from invoicing.webhooks.djstripe_door import EndpointView

app_name = "djstripe"
urlpatterns = [path("stripe/webhook/<uuid:uuid>/", EndpointView.as_view(), name="djstripe_webhook_by_uuid")]
