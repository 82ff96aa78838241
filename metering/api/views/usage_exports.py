"""
The door for usage metrics that the payment provider is told.

It keeps its own idempotency: the provider is asked between two transactions, the row is tied to the request's key, and
a repeat, also after a crash, goes on with the same row.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from billing_site.api.idempotency import REPLAYED, mark_request
from billing_site.api.params import account_reference
from billing_site.api.permissions import internal
from billing_site.api.problems import map_constraint
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountRequired, NotFound
from invoicing.services.usage_exports import ExportAnswer, export_usage
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.usage_feed import UsageExportInput, UsageExportSerializer
from metering.api.views.usage_feed import read_numbers
from metering.queries.meters import MeterNotFound
from metering.services.usage_exports import ExportKeyReused, NewUsageExport, QuantityNotDerivable

map_constraint("usage_exports_request_once", lambda: ExportKeyReused("Use a new key for a different request."))


class UsageExportView(KeepsRefusals, BillingAPIView):
    """Usage for the payment provider, one metric at a time."""

    recording_actions = frozenset({"post"})
    idempotency = "own"
    scopes = {"post": internal("billing:usage:write")}
    problems = {"post": [QuantityNotDerivable, AccountRequired, NotFound, MeterNotFound]}
    operation_ids = {"post": "usage_export"}

    @extend_schema(request=UsageExportInput, responses={201: UsageExportSerializer, 200: UsageExportSerializer})
    def post(self, request: Request) -> Response:
        """
        Count one usage metric against quotas and tell the payment provider.

        A key seen before counts nothing. A report that fails is kept and tried again; what the provider has is never
        sent again. Without `event_id` the key is derived from account, meter and quantity, and the answer warns.
        """
        body = UsageExportInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        account = resolve_account(self.principal, account_reference(request))
        key, digest = mark_request(request, self.principal)
        answer = export_usage(
            account=account,
            new=NewUsageExport(
                event_id=(values.get("event_id") or "").strip(),
                event_type=values.get("event_type") or "",
                feature=values["feature"],
                meter=values["meter_event_name"],
                quantity=values.get("quantity"),
                data=values.get("data") or {},
                numbers=read_numbers(request),
                request_key=key,
                request_hash=digest,
            ),
            at=clock.now(account),
            now=clock.now(),
            actor=self.actor,
        )
        requested = answer.requested
        response = Response(_render(account, answer), status=201 if requested.created or requested.is_repeat else 200)
        if requested.is_repeat:
            response[REPLAYED] = "true"
        return response


def _render(account: Account, answer: ExportAnswer) -> dict[str, Any]:
    requested, export = answer.requested, answer.export
    shown: dict[str, Any] = {
        "account_id": account.public_id,
        "meter_event_name": requested.meter.event_name,
        "quantity": int(requested.quantity),
        "idempotency_key": requested.key,
        "status": answer.status,
        "exported": answer.is_exported,
        "provider": answer.provider,
    }
    if export is not None and export.provider_event_id:
        shown["provider_event_id"] = export.provider_event_id
    if not answer.is_exported:
        shown["reason"] = answer.reason
    if requested.warnings:
        shown["warning"] = " ".join(requested.warnings)
    return dict(UsageExportSerializer(shown).data)
