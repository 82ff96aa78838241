"""
Moving subscriptions to another version of their plan: previewed, planned as rows, worked off by any number of workers.

A crash loses nothing: rows are claimed with SKIP LOCKED inside the transaction that moves them.
Source: ADR 0016; contract chapter Catalog document (Publishing).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now

from accounts.models import Subscription
from accounts.queries.plan_items import PlanItems, plan_items
from accounts.queries.snapshots import describe_subscription
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound, ValidationFailed
from billing_site.platform.models.bulk import copy_rows, update_rows
from billing_site.platform.services import events
from billing_site.platform.services.keyed_requests import RequestKeyReused
from catalog.models import Plan, PlanVersion
from catalog.queries.revisions import find_catalog_org
from invoicing.models import MoveOutcome, MoveStatus, MoveTiming, PlanMove, PlanMoveItem
from invoicing.queries.billables import load_billables
from invoicing.queries.plan_moves import (
    MoveNotPossible,
    Target,
    get_target,
    require_movable,
    select_subscriptions,
)
from invoicing.queries.sellers import get_sellers

logger = logging.getLogger(__name__)
_CHUNK: Final = 200


class NothingToMove(DomainError):
    code, title, status = "nothing_to_move", "No subscription would change", 409


class MoveInProgress(DomainError):
    code, title, status, retryable = "move_in_progress", "A move of this plan is not finished", 409, True


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """
    What is to be moved, to where and when.

    `version` is a version's number, None for the one on sale. Without `from_versions` and `subscription_ids` every
    running subscription of the plan is meant, in every organization that buys from this catalog; with `accounts_of`
    those of one organization only. `key` and `hash` recognise a repeat of the same request (or are empty).
    """

    org_id: str
    plan_key: str
    timing: str
    version: int | None = None
    from_versions: Collection[int] | None = None
    subscription_ids: Collection[uuid.UUID] | None = None
    accounts_of: str | None = None
    key: str = ""
    hash: str = ""


def resolve_move(request: MoveRequest) -> tuple[PlanVersion, list[Subscription]]:
    """
    Return the version to move to, with its plan, and the subscriptions that would move, oldest first.

    :raises NotFound: if there is no such plan or version. :raises ValidationFailed: for an unknown timing.
    """
    if request.timing not in MoveTiming.values:
        choices = ", ".join(MoveTiming.values)
        raise ValidationFailed.of("/when", "choice_unknown", f"{request.timing!r} is not one of: {choices}.")
    owner = find_catalog_org(org_id=request.org_id)
    plan = Plan.objects.filter(org_id=owner, key=request.plan_key).select_related("current_version").first()
    if plan is None:
        raise NotFound("plan")
    versions = PlanVersion.objects.filter(plan=plan).select_related("plan__product")
    number = request.version or (plan.current_version.version if plan.current_version else None)
    version = versions.filter(version=number).first() if number is not None else None
    if version is None:
        raise NotFound("plan_version")
    chosen = select_subscriptions(
        plan=plan,
        to_version=version,
        from_versions=request.from_versions,
        subscription_ids=request.subscription_ids,
        timing=request.timing,
        accounts_of=request.org_id if request.org_id != owner else request.accounts_of,
    )
    return version, list(chosen)


@transaction.atomic
def start_move(*, request: MoveRequest, at: datetime, actor: Actor, reason: str) -> PlanMove:
    """
    Write the move and one pending row per subscription, send a worker, and return it.

    A repeat of the request returns the first move.
    :raises NothingToMove: if no subscription is concerned. :raises MoveInProgress: if one of the plan is not finished.
    :raises RequestKeyReused: if the key was used for a different request. :raises: as `resolve_move`.
    """
    if request.key and (found := _find_repeat(request)) is not None:
        return found
    if not reason.strip():
        raise ValidationFailed.of("/reason", "blank", "Say why: it is kept with every subscription that moves.")
    version, subscriptions = resolve_move(request)
    if not subscriptions:
        raise NothingToMove(f"No running subscription of {request.plan_key} is on another version.")
    move = PlanMove(
        org_id=request.org_id,
        plan=version.plan,
        to_version=version,
        timing=request.timing,
        requested_by=str(actor),
        reason=reason.strip(),
        request_key=request.key,
        request_hash=request.hash,
        requested_at=at,
    )
    try:
        with transaction.atomic():
            move.save(force_insert=True)
    except IntegrityError as error:
        if "plan_moves_request_once" in str(error) and (found := _find_repeat(request)) is not None:
            return found
        if "plan_moves_one_running_per_plan" in str(error):
            raise MoveInProgress from error
        raise
    copy_rows(
        [
            PlanMoveItem(move=move, subscription=each, account_id=each.account_id, from_version_id=each.plan_version_id)
            for each in subscriptions
        ]
    )
    events.emit(
        "plan_move.started",
        subject=move,
        account_id=None,
        at=at,
        actor=actor,
        data=describe_move(move) | {"subscriptions": len(subscriptions)},
        reason=move.reason,
    )
    dispatch_move(move)
    return move


def describe_move(move: PlanMove) -> dict[str, object]:
    """Return what events say of a move."""
    return {
        "id": move.public_id,
        "org_id": move.org_id,
        "plan_id": move.plan.key,
        "version": move.to_version.version,
        "when": move.timing,
    }


def dispatch_move(move: PlanMove) -> None:
    """Ring for a worker."""
    jobs.enqueue("invoicing.work_plan_move", move_id=str(move.id))


def _find_repeat(request: MoveRequest) -> PlanMove | None:
    found = PlanMove.objects.filter(request_key=request.key, org_id=request.org_id).first()
    if found is not None and found.request_hash != request.hash:
        raise RequestKeyReused
    return found


def work_move(*, move_id: uuid.UUID, at: datetime, actor: Actor) -> PlanMove:
    """
    Work on a move until no row can be claimed, then finish it if nothing is left anywhere, and return it.

    Any number of processes may do this at the same time.
    """
    move = PlanMove.objects.select_related("plan", "to_version__plan").get(id=move_id)
    if move.status != MoveStatus.RUNNING:
        return move
    target = get_target(move.to_version)
    while _work_some(move, target, at, actor):
        pass
    return finish_move(move_id=move.id, at=at, actor=actor)


def _work_some(move: PlanMove, target: Target, at: datetime, actor: Actor) -> bool:
    """Move a chunk, or what an unexpected failure in it leaves, one by one; False when there was nothing to claim."""
    try:
        return _work_chunk(move, target, at, actor, _CHUNK)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("a chunk of %s failed; its subscriptions are moved one by one", move.public_id)
    first = PlanMoveItem.objects.filter(move=move, status=MoveOutcome.PENDING).order_by("id").first()
    try:
        return _work_chunk(move, target, at, actor, 1)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("a subscription of %s could not be moved", move.public_id)
        if first is not None:
            detail = f"Unexpected failure ({type(error).__name__}); the log has the details."
            PlanMoveItem.objects.filter(id=first.id, status=MoveOutcome.PENDING).update(
                status=MoveOutcome.FAILED, error_code="internal_error", error_detail=detail, finished_at=Now()
            )
    return True


@transaction.atomic
def _work_chunk(move: PlanMove, target: Target, at: datetime, actor: Actor, size: int) -> bool:
    rows = list(
        PlanMoveItem.objects.select_for_update(skip_locked=True)
        .filter(move=move, status=MoveOutcome.PENDING)
        .order_by("id")[:size]
    )
    if not rows:
        return False
    subscriptions = {
        each.id: each
        for each in Subscription.objects.select_for_update(of=("self",))
        .select_related("account__test_clock", "plan_version__plan", "pending_plan_version__plan")
        .filter(id__in=[row.subscription_id for row in rows])
        .order_by("id")
    }
    sellers = get_sellers([each.account for each in subscriptions.values()])
    items = load_billables(list(subscriptions.values()), sellers=sellers).items
    planned: list[PlanItems] = []
    changes: list[events.NewEvent] = []
    for row in rows:
        subscription = subscriptions[row.subscription_id]
        before = _describe(subscription)
        now = subscription.account.clock_time or at
        try:
            if subscription.plan_version.plan_id != move.plan_id:
                raise MoveNotPossible(f"The subscription is on {subscription.plan_version.plan.key} meanwhile.")
            require_movable(subscription, move.timing)
            found = plan_items(subscription, items.get(subscription.id, ()), target.prices, at=now)
        except DomainError as error:
            row.status, row.error_code, row.error_detail = MoveOutcome.FAILED, error.code, error.detail
            continue
        if move.timing == MoveTiming.NOW:
            for item in found.added:
                item.started_at = subscription.current_period_start  # the running period is rated anew
            subscription.plan_version, subscription.pending_plan_version = move.to_version, None
            planned.append(found)
        else:
            subscription.pending_plan_version = move.to_version
        row.status = MoveOutcome.APPLIED
        changes.append(
            events.NewEvent(
                "subscription.updated",
                subject=subscription,
                account_id=subscription.account_id,
                at=now,
                actor=actor,
                data=_describe(subscription) | {"plan_move": move.public_id},
                previous=before,
                reason=move.reason,
            )
        )
    _store(rows, list(subscriptions.values()), planned)
    events.emit_many(changes)
    return True


def _describe(subscription: Subscription) -> dict[str, object]:
    pending = subscription.pending_plan_version
    return describe_subscription(subscription) | {"pending_plan_version": pending.version if pending else None}


def _store(rows: Sequence[PlanMoveItem], subscriptions: Sequence[Subscription], planned: Sequence[PlanItems]) -> None:
    update_rows(subscriptions, {"plan_version_id": "uuid", "pending_plan_version_id": "uuid"})
    update_rows([item for each in planned for item in each.ended], {"ended_at": "timestamptz"})
    update_rows([item for each in planned for item in each.repriced], {"price_id": "uuid"})
    copy_rows([item for each in planned for item in each.added])
    update_rows(rows, {"status": "text", "error_code": "text", "error_detail": "text"})
    PlanMoveItem.objects.filter(id__in=[row.id for row in rows]).update(finished_at=Now())


@transaction.atomic
def finish_move(*, move_id: uuid.UUID, at: datetime, actor: Actor) -> PlanMove:
    """
    Close the move when no row is left: completed, or failed when not one subscription could be moved. Idempotent.
    """
    move = PlanMove.objects.select_for_update(of=("self",)).select_related("plan", "to_version").get(id=move_id)
    if move.status != MoveStatus.RUNNING:
        return move
    counts = count_items(move)
    if counts[MoveOutcome.PENDING]:
        return move
    move.status = MoveStatus.COMPLETED if counts[MoveOutcome.APPLIED] else MoveStatus.FAILED
    move.finished_at = at
    move.save(update_fields=["status", "finished_at", "updated_at"])
    events.emit(
        f"plan_move.{move.status}",
        subject=move,
        account_id=None,
        at=at,
        actor=actor,
        data=describe_move(move) | counts,
        reason=move.reason,
    )
    return move


def count_items(move: PlanMove) -> dict[str, int]:
    """Return how many subscriptions of the move have each outcome. One query."""
    found: dict[str, int] = PlanMoveItem.objects.filter(move=move).aggregate(
        **{status.value: Count("id", filter=Q(status=status)) for status in MoveOutcome}
    )
    return found


def list_unfinished_moves() -> list[uuid.UUID]:
    """Return the moves that the sweep has to look at, oldest first."""
    return list(PlanMove.objects.filter(status=MoveStatus.RUNNING).order_by("id").values_list("id", flat=True))
