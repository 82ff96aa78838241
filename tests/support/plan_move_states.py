"""State tables of plan moves; see `tests.support.state_tables`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from invoicing.models import PlanMove, PlanMoveItem
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.plan_moves import MoveRequest, start_move, work_move
from tests.support import world
from tests.support.states import StateTable

_MIDDLE: Final = world.NOVEMBER + timedelta(days=14)
_BY: Final[dict[str, Any]] = {"at": _MIDDLE, "actor": world.TESTER}


def _final(*states: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(states, frozenset())


def _start_move(*, fails: bool) -> PlanMove:
    world.publish()
    subscription = world.subscribe(world.open_account(), "pro")
    world.publish(at=_MIDDLE, fee=1500)
    move = start_move(request=MoveRequest("default", "pro", "now"), reason="new prices", **_BY)
    if fails:
        cancel_subscription(subscription_id=subscription.pk, at_period_end=False, **_BY)
    return move


def _arrange_move(state: str, to: str) -> PlanMove:
    move = _start_move(fails=(to if state == "running" else state) == "failed")
    if state != "running":
        work_move(move_id=move.pk, **_BY)
    return move


MOVES: Final = StateTable(
    model=PlanMove,
    transitions={"running": frozenset({"completed", "failed"}), **_final("completed", "failed")},
    arrange=_arrange_move,
    moves=dict.fromkeys(("completed", "failed"), lambda row: work_move(move_id=row.pk, **_BY)),
    quiet=frozenset((before, after) for before in ("completed", "failed") for after in ("completed", "failed")),
    held=lambda before, after: "plan_moves_finished_has_time" if (before == "running") != (after == "running") else "",
)


def _arrange_move_item(state: str, to: str) -> PlanMoveItem:
    move = _start_move(fails=(to if state == "pending" else state) == "failed")
    if state != "pending":
        work_move(move_id=move.pk, **_BY)
    return PlanMoveItem.objects.get(move=move)


MOVE_ITEMS: Final = StateTable(
    model=PlanMoveItem,
    transitions={"pending": frozenset({"applied", "failed"}), **_final("applied", "failed")},
    arrange=_arrange_move_item,
    moves=dict.fromkeys(("applied", "failed"), lambda row: work_move(move_id=row.move_id, **_BY)),
    quiet=frozenset((before, after) for before in ("applied", "failed") for after in ("applied", "failed")),
    held=lambda before, after: "plan_move_items_failed_has_error" if after == "failed" != before else "",
)
