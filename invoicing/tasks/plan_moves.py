"""Plan moves in the background."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from invoicing.models import PlanMove
from invoicing.services.plan_moves import dispatch_move, list_unfinished_moves, work_move


@shared_task(name="invoicing.work_plan_move")
def work_plan_move(move_id: str) -> str:
    """Work on one move until nothing in it can be claimed; returns its status."""
    return work_move(move_id=uuid.UUID(move_id), at=clock.now(), actor=SYSTEM).status


@shared_task(name="invoicing.sweep_plan_moves")
def sweep_plan_moves() -> int:
    """Send a worker to every unfinished move: a lost message or a dead worker costs a minute, nothing else."""
    moves = PlanMove.objects.filter(id__in=list_unfinished_moves())
    for move in moves:
        dispatch_move(move)
    return len(moves)
