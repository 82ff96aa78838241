"""
The second door: dj-stripe's own webhook view, for endpoints that it made and keeps the secrets of.

It checks the signature and hands the event to the same inbox; its handlers, which read Stripe while the request waits,
do not run, and no rule of ours looks at its tables. Source: ADR 0052.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from djstripe.models import WebhookEventTrigger
from djstripe.views import ProcessWebhookView

from billing_site.kernel import clock
from invoicing.webhooks.adapters.port import read_envelope
from invoicing.webhooks.ingress import keep_event

_OVERRIDE = "HTTP_X_DJSTRIPE_WEBHOOK_SECRET"


def take_event(trigger: WebhookEventTrigger, **_: object) -> None:
    """What dj-stripe calls with a request whose signature it has checked (`DJSTRIPE_WEBHOOK_EVENT_CALLBACK`)."""
    keep_event(read_envelope(trigger.body.encode(), provider="stripe"), at=clock.now())
    trigger.processed = True


class MirrorWebhookView(ProcessWebhookView):  # type: ignore[misc] - the library has no types
    """dj-stripe's view without its way out: in development it would believe a secret that comes with the request."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.META.pop(_OVERRIDE, None)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > settings.BILLING_WEBHOOK_MAX_BYTES:
            return HttpResponse(status=413)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response
