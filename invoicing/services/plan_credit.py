"""Storing the credit that comes with plans, many at once. Source: contract chapter Credits; ADR 0023."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from accounts.services.credit_grants import new_grant_event, release_ended, save_grants
from billing_site.kernel.actors import Actor
from billing_site.platform.services import events
from invoicing.queries.plan_credit import PlanCredit


def store_plan_credit(credit: PlanCredit, *, times: Mapping[UUID, datetime], actor: Actor) -> None:
    """
    Release the credit that ended and book what was given; the accounts are locked. `times` is now, by account.

    The number of statements does not depend on how many there are; nothing is asked when there is none.
    """
    if credit.ended:
        release_ended(credit.ended, times=times, actor=actor)
    if credit.given:
        save_grants(credit.given)
        events.emit_many(
            [new_grant_event("created", grant, at=grant.created_at, actor=actor) for grant in credit.given]
        )
