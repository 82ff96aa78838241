"""The states of reservations of quota."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from metering.models import QuotaReservation
from metering.models.quota_reservation import RESERVATION_TRANSITIONS
from metering.services.reservations import (
    commit_reservation,
    expire_reservations,
    release_reservation,
    reserve_quota,
)
from tests.support import world
from tests.support.states import StateTable

MIDDLE: Final = world.NOVEMBER + timedelta(days=14)


def _arrange_reservation(state: str, _to: str) -> QuotaReservation:
    world.publish()
    account = world.open_account()
    reservation = reserve_quota(account=account, resource="input_tokens", quantity=Decimal(5), at=MIDDLE)
    if state != "open":
        RESERVATIONS.moves[state](reservation)
    return reservation


def _hold_reservation(before: str, after: str) -> str:
    if before in ("committed", "released") or (before == "expired" and after != "committed"):
        return "quota_reservations_final"
    return {
        "open": "",
        "committed": "quota_reservations_committed_has_quantity",
    }.get(after, "quota_reservations_ended_has_time")


RESERVATIONS: Final = StateTable(
    model=QuotaReservation,
    transitions=RESERVATION_TRANSITIONS,
    arrange=_arrange_reservation,
    moves={
        "committed": lambda row: commit_reservation(reservation_id=row.pk, at=MIDDLE, actor=world.TESTER),
        "released": lambda row: release_reservation(reservation_id=row.pk, at=MIDDLE),
        "expired": lambda row: expire_reservations(at=row.expires_at),
    },
    # What holds nothing any more has nothing to give back; what has ended does not end again.
    quiet=frozenset(
        {
            ("committed", "committed"),
            ("released", "released"),
            ("expired", "released"),
            *((before, "expired") for before in ("committed", "released", "expired")),
        }
    ),
    held=_hold_reservation,
    allows=QuotaReservation.can_become,
)
