"""Plan moves as people follow them: how far they are, and what became of each subscription."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from billing_site.kernel.errors import NotFound
from invoicing.models import MoveOutcome, PlanMove, PlanMoveItem


def with_progress(moves: QuerySet[PlanMove]) -> QuerySet[PlanMove]:
    """Annotate each move with `pending_count`, `applied_count` and `failed_count`."""
    counts = {f"{status.value}_count": Count("items", filter=Q(items__status=status)) for status in MoveOutcome}
    return moves.annotate(**counts).select_related("plan", "to_version")


def list_moves(*, org_id: str | None = None) -> QuerySet[PlanMove]:
    """Return the moves that were asked for in an organization, or all, with their progress."""
    moves = PlanMove.objects.all() if org_id is None else PlanMove.objects.filter(org_id=org_id)
    return with_progress(moves)


def get_move(*, reference: str, org_id: str | None = None) -> PlanMove:
    """
    Return a move by its public id, with its progress.

    :raises NotFound: if there is none in that organization.
    """
    key = PlanMove.parse_id(reference)
    move = None if key is None else list_moves(org_id=org_id).filter(pk=key).first()
    if move is None:
        raise NotFound("plan_move")
    return move


def list_move_items(move: PlanMove, *, accounts_of: str | None = None) -> QuerySet[PlanMoveItem]:
    """Return the subscriptions of a move, or those of one organization's accounts, with what became of them."""
    rows = PlanMoveItem.objects.filter(move=move).select_related("subscription", "account", "from_version")
    return rows if accounts_of is None else rows.filter(account__org_id=accounts_of)
