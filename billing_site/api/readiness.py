"""`GET /readyz`: can this process take traffic?"""

from __future__ import annotations

import logging
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.views import BillingAPIView
from billing_site.kernel.errors import DomainError
from billing_site.platform.services.readiness import OK, check_readiness

logger = logging.getLogger(__name__)


class NotReady(DomainError):
    code, title, status, retryable = "not_ready", "This process cannot take traffic", 503, True


class ReadinessSerializer(serializers.Serializer[dict[str, Any]]):
    ok = serializers.BooleanField(help_text="Always true here; 503 otherwise.")


class ReadinessView(BillingAPIView):
    """Open to anyone and free of account data."""

    authentication_classes = []
    permission_classes = [AllowAny]
    problems = {"get": [NotReady]}
    operation_ids = {"get": "readyz"}

    @extend_schema(responses=ReadinessSerializer)
    def get(self, request: Request) -> Response:
        """Tell load balancers whether this process can take traffic."""
        checks = check_readiness()
        if failed := {name: outcome for name, outcome in checks.items() if outcome != OK}:
            logger.error("not ready: %s", failed)
            names = " and ".join(sorted(failed))
            raise NotReady(f"Not ready: {names}.", ok=False, checks=checks)
        return Response({"ok": True})
