"""Limits: make, list, check, replace, remove."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from billing_site.api.bodies import DeletedSerializer
from billing_site.api.pagination import CursorPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    DomainError,
    InvalidState,
    NotFound,
    ValidationFailed,
)
from metering.api.pagination import SequencePages
from metering.api.serializers.quotas import (
    AccountQuotaSerializer,
    QuotaCheckQuery,
    QuotaCheckSerializer,
    QuotaCreateInput,
    QuotaListQuery,
    QuotaReplaceInput,
    render_check,
)
from metering.models import AccountQuota
from metering.queries.account_quotas import PlanQuotaReadOnly, get_account_quota
from metering.queries.quotas import QuotaUse, get_quota_use, list_quota_uses
from metering.queries.resources import UnknownResource, find_resource
from metering.services.quotas import QuotaExists, create_quota, delete_quota, update_quota

_WRITE: Final = internal("billing:quota:write")


class QuotaViewSet(BillingViewSet):
    """What accounts may use."""

    queryset = AccountQuota.objects.none()
    serializer_class = AccountQuotaSerializer
    pagination_class = CursorPages
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": _WRITE,
        "list": BOTH_READ,
        "check_quotas": BOTH_READ,
        "update": _WRITE,
        "destroy": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [AccountRequired, NotFound, QuotaExists, InvalidState],
        "list": [AccountForbidden, NotFound],
        "check_quotas": [AccountForbidden, NotFound],
        "update": [NotFound, PlanQuotaReadOnly, QuotaExists],
        "destroy": [NotFound, PlanQuotaReadOnly],
    }
    operation_ids = {
        "create": "quota_create",
        "list": "quota_list",
        "check_quotas": "quota_check",
        "update": "quota_update",
        "destroy": "quota_delete",
    }

    @extend_schema(request=QuotaCreateInput, responses={201: AccountQuotaSerializer})
    def create(self, request: Request) -> Response:
        """
        Set a limit for one account, on top of or instead of its plan's.

        It replaces the plan's quota of the same meter and window.
        """
        body = QuotaCreateInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request))
        values = {name: value for name, value in body.to_columns().items() if name != "account"}
        at = clock.now(account)
        quota = create_quota(account=account, **values, at=at, actor=self.actor)
        use = get_quota_use(account=account, quota_id=quota.pk, at=at)
        return Response(AccountQuotaSerializer(use).data, status=201)

    @extend_schema(parameters=[QuotaListQuery], responses=list_of(AccountQuotaSerializer))
    def list(self, request: Request, account_id: str) -> Response:
        """
        List the limits in force for an account, its own and those of its plans.

        Its own that are switched off are listed too; what they would replace applies.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(QuotaListQuery, request)
        uses = list_quota_uses(account=account, at=clock.now(account), with_inactive=True)
        if "service" in query:
            uses = _keep_resource(account, uses, "service", query["service"])
        kept = [
            use
            for use in uses
            if query.get("window", use.quota.window) == use.quota.window
            and query.get("source", use.quota.source) == use.quota.source
        ]
        return SequencePages().answer(
            kept, request, key=lambda use: use.quota.id, render=lambda use: AccountQuotaSerializer(use).data
        )

    @extend_schema(parameters=[QuotaCheckQuery], responses=QuotaCheckSerializer)
    def check_quotas(self, request: Request, account_id: str) -> Response:
        """
        Compare use with limits, optionally for a quantity about to be used; nothing is consumed.

        Always 200: `allowed` carries the decision. Open reservations count as used. Without a limit all is allowed.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(QuotaCheckQuery, request)
        uses = list_quota_uses(account=account, at=clock.now(account))
        unit = query.get("unit", "")
        for name in ("resource_type", "service"):
            if name in query:
                uses = _keep_resource(account, uses, name, query[name])
        if feature := query.get("feature"):
            named = "resource_type" in query or "service" in query
            uses = [use for use in uses if feature in use.quota.features or (named and not use.quota.features)]
        return Response(
            render_check(account, uses, requested=query["requested"], unit=unit, alerts_only=query["alerts_only"])
        )

    @extend_schema(request=QuotaReplaceInput, responses=AccountQuotaSerializer)
    def update(self, request: Request, quota_id: str) -> Response:
        """Replace a limit; what was counted is kept."""
        quota = get_account_quota(self.principal, quota_id)
        body = QuotaReplaceInput(data=request.data)
        body.is_valid(raise_exception=True)
        at = clock.now(quota.account)
        update_quota(quota_id=quota.pk, changes=body.to_columns(), at=at, actor=self.actor)
        return Response(AccountQuotaSerializer(get_quota_use(account=quota.account, quota_id=quota.pk, at=at)).data)

    @extend_schema(responses={200: DeletedSerializer})
    def destroy(self, request: Request, quota_id: str) -> Response:
        """Remove a limit of an account; its plan's applies again."""
        quota = get_account_quota(self.principal, quota_id)
        delete_quota(quota_id=quota.pk, at=clock.now(quota.account), actor=self.actor)
        return Response({"id": quota.public_id, "deleted": True})


def _keep_resource(account: Account, uses: Any, parameter: str, name: str) -> list[QuotaUse]:
    """
    Return the uses of what a caller calls by a name; none where nothing counts on it yet.

    :raises ValidationFailed: when it is neither a resource type nor a meter.
    """
    try:
        found = find_resource(org_id=account.org_id, name=name)
    except UnknownResource as error:
        raise ValidationFailed.of(parameter, "unknown_resource", f"{error}") from error
    return [] if found is None else [use for use in uses if use.quota.meter_id == found.meter.pk]
