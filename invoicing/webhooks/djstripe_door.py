"""
The second door: the addresses of webhook endpoints that dj-stripe made, checked with the secrets it keeps of them.

What comes goes to the same inbox. dj-stripe's own view is not used: it would believe a secret that comes with the
request in development, and its handlers read Stripe while the request waits. No rule of ours looks at its tables.
Source: ADR 0052.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from djstripe.models import WebhookEndpoint

from billing_site.api.problems import problem_response
from billing_site.api.views import read_body
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from invoicing.webhooks.adapters.port import WebhookDoor, read_envelope
from invoicing.webhooks.ingress import receive_event

_read = partial(read_envelope, provider="stripe")


@method_decorator(csrf_exempt, name="dispatch")
class EndpointView(View):
    """Takes an event for one of dj-stripe's endpoints."""

    def post(self, request: HttpRequest, uuid: UUID) -> HttpResponse:
        """Store an event as the other doors do."""
        endpoint = WebhookEndpoint.objects.filter(djstripe_uuid=uuid, livemode=settings.BILLING_LIVEMODE).first()
        if endpoint is None or not endpoint.secret:
            raise Http404
        door = WebhookDoor("stripe", "Stripe-Signature", (endpoint.secret,), _read)
        try:
            read_body(request, settings.BILLING_WEBHOOK_MAX_BYTES)
            receipt = receive_event(door=door, headers=request.headers, body=request.body, at=clock.now())
        except DomainError as refusal:
            return problem_response(request, refusal)
        answer = {"received": True, "type": receipt.type, "id": receipt.id, "duplicate": receipt.is_duplicate}
        return JsonResponse(answer)
