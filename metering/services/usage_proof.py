"""Proving the totals of usage, and writing those anew that are wrong. Source: ADR 0030."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import Account
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.platform.services import events
from catalog.models import Meter
from metering.stores.proof import REPAIRABLE, Difference, ProofScope, Span, find_differences
from metering.stores.repair import rewrite_totals

logger = logging.getLogger(__name__)

_TOLD: Final = 100


@dataclass(slots=True)
class UsageProof:
    """How many differences there are by kind, and the first of them. `repaired` counts pairs of account and meter."""

    count: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    first: list[Difference] = field(default_factory=list)
    repaired: int = 0

    @property
    def holds(self) -> bool:
        return self.count == 0

    @property
    def unrepairable(self) -> int:
        """The number of differences that no recomputing mends: of events, keys, corrections and archived days."""
        return sum(count for kind, count in self.kinds.items() if kind not in REPAIRABLE)


@dataclass(slots=True)
class _Wrong:
    """What to write anew of one account and meter, and what is told of it."""

    days: set[date] = field(default_factory=set)
    longer: set[tuple[Span, datetime]] = field(default_factory=set)
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        self.count += 1
        if len(self.first) < _TOLD:
            self.first.append(str(difference))
        if difference.span in ("week", "month", "total"):
            self.longer.add((cast(Span, difference.span), difference.bucket))
        else:
            self.days.add(difference.bucket.date())


def prove_usage(scope: ProofScope, *, tell: Callable[[Difference], None] | None = None) -> UsageProof:
    """Recompute what lies within the scope and return what differs; `tell` is called with every difference."""
    proof = UsageProof()
    for difference in find_differences(scope):
        _note(proof, difference)
        if tell is not None:
            tell(difference)
    return proof


def repair_usage(
    scope: ProofScope, *, at: datetime, actor: Actor, tell: Callable[[Difference], None] | None = None
) -> UsageProof:
    """
    Write the totals within the scope that differ anew from the events, and return what differed before.

    One transaction for each account and meter, with an event that says what was wrong. Writers of usage wait for each.
    What is no total is told only.
    """
    proof = UsageProof()
    wrong: dict[tuple[UUID, UUID], _Wrong] = {}
    for difference in find_differences(scope):
        _note(proof, difference)
        if tell is not None:
            tell(difference)
        if difference.kind in REPAIRABLE and difference.account_id and difference.meter_id:
            wrong.setdefault((difference.account_id, difference.meter_id), _Wrong()).add(difference)
    for account_id, meter_id in sorted(wrong):
        _repair(account_id, meter_id, wrong[account_id, meter_id], at=at, actor=actor)
        proof.repaired += 1
    return proof


@transaction.atomic
def _repair(account_id: UUID, meter_id: UUID, wrong: _Wrong, *, at: datetime, actor: Actor) -> None:
    rewrite_totals(account_id=account_id, meter_id=meter_id, days=wrong.days, longer=wrong.longer)
    events.emit(
        "usage.totals_repaired",
        subject=Meter(id=meter_id),
        account_id=account_id,
        at=at,
        actor=actor,
        data={
            "account": Account(id=account_id).public_id,
            "days": sorted(map(str, wrong.days)),
            "buckets": sorted(f"{span} {bucket:%Y-%m-%d}" for span, bucket in wrong.longer),
            "count": wrong.count,
            "differences": wrong.first,
        },
        reason="the totals were not those of the events",
    )


def check_usage(*, at: datetime, actor: Actor = SYSTEM) -> UsageProof:
    """Prove the usage of the last `BILLING_USAGE_PROOF_DAYS` days; what differs is logged and written as an event."""
    scope = ProofScope(at=at)
    if days := settings.BILLING_USAGE_PROOF_DAYS:
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        scope = ProofScope(at=at, start=midnight - timedelta(days=days - 1), end=midnight + timedelta(days=1))
    proof = prove_usage(scope)
    if not proof.holds:
        logger.error("the totals of usage do not hold: %d differences, first: %s", proof.count, proof.first[0])
        first = proof.first[0]
        with transaction.atomic():
            data: dict[str, Any] = {"count": proof.count, "kinds": proof.kinds, "first": list(map(str, proof.first))}
            subject = Account(id=first.account_id) if first.account_id else Meter(id=first.meter_id or UUID(int=0))
            events.emit("usage.difference_found", subject=subject, account_id=None, at=at, actor=actor, data=data)
    return proof


def _note(proof: UsageProof, difference: Difference) -> None:
    proof.count += 1
    proof.kinds[difference.kind] = proof.kinds.get(difference.kind, 0) + 1
    if len(proof.first) < _TOLD:
        proof.first.append(difference)
