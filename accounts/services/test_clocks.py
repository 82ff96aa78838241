"""Test clocks: time that stands still until it is advanced by hand. They exist in test mode only."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import TestClock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.services import events


@transaction.atomic
def create_test_clock(*, name: str, now_at: datetime, at: datetime, actor: Actor, reason: str = "") -> TestClock:
    """
    Start a clock at `now_at` and return it.

    :raises InvalidState: in live mode.
    """
    _require_test_mode()
    clock = TestClock.objects.create(name=name.strip(), now_at=now_at)
    events.emit(
        "test_clock.created",
        subject=clock,
        account_id=None,
        at=at,
        actor=actor,
        data={"name": clock.name, "now_at": clock.now_at},
        reason=reason,
    )
    return clock


@transaction.atomic
def advance_test_clock(*, clock_id: UUID, to: datetime, at: datetime, actor: Actor, reason: str = "") -> TestClock:
    """
    Move a clock forward to `to` and return it. What becomes due is found by the next sweeps.

    :raises InvalidState: in live mode.
    :raises ValidationFailed: when `to` is not later than the clock.
    """
    _require_test_mode()
    clock = TestClock.objects.select_for_update().get(pk=clock_id)
    if to <= clock.now_at:
        raise ValidationFailed.of("/to", "not_later", "A test clock only moves forward.")
    previous, clock.now_at = clock.now_at, to
    clock.save(update_fields=["now_at", "updated_at"])
    events.emit(
        "test_clock.advanced",
        subject=clock,
        account_id=None,
        at=at,
        actor=actor,
        data={"name": clock.name, "now_at": clock.now_at},
        previous={"now_at": previous},
        reason=reason,
    )
    return clock


def _require_test_mode() -> None:
    if settings.BILLING_LIVEMODE:
        raise InvalidState("Test clocks exist in test mode only.", current_status="livemode")
