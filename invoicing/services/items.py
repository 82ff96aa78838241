"""Storing what billing made of subscription items: those it needed first, and those another plan version changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accounts.models import SubscriptionItem
from accounts.queries.plan_items import PlanItems
from billing_site.platform.models.bulk import copy_rows, update_rows
from invoicing.queries.billables import Billables
from invoicing.services.drafting import DraftToWrite


def store_items(taken_over: Iterable[PlanItems], drafts: Sequence[DraftToWrite], billables: Billables) -> None:
    """
    Store the items that changed with a plan version, and every new item that a line is about to claim a period with.

    Runs in the transaction of billing, before the lines are written. `billables` then knows the new items too.
    """
    changes = list(taken_over)
    added = {item.id: item for planned in changes for item in planned.added}
    for draft in drafts:
        for line in draft.draft.lines:
            item = draft.items.get(line.charge.item_id)
            if item is not None and item._state.adding and item.id not in added:
                added[item.id] = item
                billables.items.setdefault(item.subscription_id, []).append(item)
    store_changed_items(changes, added.values())


def store_changed_items(changes: Sequence[PlanItems], added: Iterable[SubscriptionItem]) -> None:
    """Store `added` items, and those that the changes repriced, ended or settled. At most three statements."""
    new = list(added)
    # What ends makes room for what takes its place.
    update_rows(
        [item for planned in changes for item in (*planned.ended, *planned.settled)],
        {"ended_at": "timestamptz", "unbilled_from": "timestamptz"},
    )
    update_rows([item for planned in changes for item in planned.repriced], {"price_id": "uuid", "quantity": "integer"})
    copy_rows(new)
    for item in new:
        item._state.adding = False
