"""Reservations of quota: take room before work starts, count what was used, or give it back."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.params import account_reference
from billing_site.api.permissions import Scopes, internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountRequired, DomainError, InvalidState, NotFound
from metering.api.serializers.reservations import (
    NothingInput,
    ReservationCommitInput,
    ReservationInput,
    ReservationSerializer,
    render_reservation,
)
from metering.models import QuotaReservation
from metering.queries.account_quotas import get_reservation
from metering.queries.meters import MeterNotFound
from metering.services.reservations import (
    MeterNotReservable,
    QuotaExceeded,
    ReservationExpired,
    UsedFor,
    commit_reservation,
    release_reservation,
    reserve_quota,
)

_WRITE = internal("billing:usage:write")


class QuotaReservationViewSet(BillingViewSet):
    """Room under hard limits, for work that runs in parallel."""

    queryset = QuotaReservation.objects.none()
    serializer_class = ReservationSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": _WRITE,
        "retrieve": internal("billing:read"),
        "commit": _WRITE,
        "release": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [AccountRequired, NotFound, MeterNotFound, MeterNotReservable, QuotaExceeded, InvalidState],
        "retrieve": [NotFound],
        "commit": [NotFound, QuotaExceeded, ReservationExpired, InvalidState],
        "release": [NotFound, InvalidState],
    }
    operation_ids = {
        "create": "quota_reservation_create",
        "retrieve": "quota_reservation_get",
        "commit": "quota_reservation_commit",
        "release": "quota_reservation_release",
    }

    @extend_schema(request=ReservationInput, responses={201: ReservationSerializer})
    def create(self, request: Request) -> Response:
        """
        Set a quantity of a meter aside under every hard limit in force.

        Parallel callers together never get more than a limit leaves. The room is free again when it is released, when
        its end comes, or as far as less was used.
        """
        body = ReservationInput(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        account = resolve_account(self.principal, account_reference(request))
        at = clock.now(account)
        reservation = reserve_quota(
            account=account,
            resource=given["resource_type"],
            quantity=given["quantity"],
            unit=given.get("unit", ""),
            lifetime=timedelta(seconds=given["expires_in"]) if "expires_in" in given else None,
            metadata=given.get("metadata"),
            at=at,
        )
        return Response(render_reservation(reservation, at=at), status=201)

    @extend_schema(responses=ReservationSerializer)
    def retrieve(self, request: Request, reservation_id: str) -> Response:
        """Show a reservation as it stands now."""
        found = get_reservation(self.principal, reservation_id)
        return Response(render_reservation(found, at=clock.now(found.account)))

    @extend_schema(request=ReservationCommitInput, responses=ReservationSerializer)
    def commit(self, request: Request, reservation_id: str) -> Response:
        """
        Count what was really used, by default what was reserved.

        Up to what was reserved always counts; more, or anything after the end, while it fits. Of a refusal nothing is
        lost: the reservation stays as it was.
        """
        found = get_reservation(self.principal, reservation_id)
        body = ReservationCommitInput(data=request.data)
        body.is_valid(raise_exception=True)
        given = dict(body.validated_data)
        quantity, unit = given.pop("quantity", None), given.pop("unit", "")
        at = clock.now(found.account)
        reservation = commit_reservation(
            reservation_id=found.pk,
            quantity=quantity,
            unit=unit,
            used_for=UsedFor(**given),
            at=at,
            actor=self.actor,
        )
        return Response(render_reservation(reservation, at=at))

    @extend_schema(request=NothingInput, responses=ReservationSerializer)
    def release(self, request: Request, reservation_id: str) -> Response:
        """Give the room back; what holds nothing any more stays as it is."""
        found = get_reservation(self.principal, reservation_id)
        NothingInput(data=request.data).is_valid(raise_exception=True)
        at = clock.now(found.account)
        return Response(render_reservation(release_reservation(reservation_id=found.pk, at=at), at=at))
