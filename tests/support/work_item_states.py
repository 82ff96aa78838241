"""The state table of work items; see `tests.support.state_tables`."""

from __future__ import annotations

from typing import Final

from billing_site.platform.models import WorkItem
from billing_site.platform.models.work_items import WORK_ITEM_TRANSITIONS
from billing_site.platform.services.work_items import close_work_item
from tests.factories.platform import AT
from tests.factories.work_items import BOB, call_plumber, report
from tests.support.states import StateTable


def _arrange(state: str, _to: str) -> WorkItem:
    call_plumber()
    item = report()
    if state != "open":
        WORK_ITEMS.moves[state](item)
    return item


def _hold(before: str, after: str) -> str:
    if before != "open":
        return "work_items_kept"
    return "" if after == "open" else "work_items_closed_by_status"


WORK_ITEMS: Final = StateTable(
    model=WorkItem,
    transitions=WORK_ITEM_TRANSITIONS,
    arrange=_arrange,
    moves={
        "done": lambda row: close_work_item(item_id=row.pk, at=AT, actor=BOB),
        "dismissed": lambda row: close_work_item(
            item_id=row.pk, at=AT, actor=BOB, status="dismissed", comment="nothing to do"
        ),
    },
    held=_hold,
    allows=WorkItem.can_become,
)
