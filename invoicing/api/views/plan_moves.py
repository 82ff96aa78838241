"""
Plan moves: preview, start, follow.

Starting keeps its own idempotency, like the billing cycle: the move is a row tied to the request's key, and a repeat
answers that move as far as it is by then. Additions to the contract: without them a new price would reach running
subscriptions only one by one.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Subscription
from billing_site.api.idempotency import REPLAYED, mark_request
from billing_site.api.params import query_serializer
from billing_site.api.permissions import Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, FieldError, NotFound, ValidationFailed
from invoicing.api.organizations import choose_org
from invoicing.api.previews import count_versions, render_move_plan
from invoicing.api.serializers.plan_moves import (
    PlanMoveInput,
    PlanMoveItemQuery,
    PlanMoveItemSerializer,
    PlanMovePreviewInput,
    PlanMovePreviewSerializer,
    PlanMoveQuery,
    PlanMoveSerializer,
)
from invoicing.models import PlanMove
from invoicing.queries.move_progress import get_move, list_move_items, list_moves
from invoicing.queries.plan_moves import get_target, preview_move
from invoicing.services.plan_moves import MoveInProgress, MoveRequest, NothingToMove, resolve_move, start_move

_READ = internal("billing:catalog:read")
# Whoever may change what plans cost may take subscriptions along; services that subscribe customers may not.
_WRITE = internal("billing:catalog:write")


class PlanMoveViewSet(BillingViewSet):
    """Taking running subscriptions to another version of their plan."""

    queryset = PlanMove.objects.none()
    serializer_class = PlanMoveSerializer
    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "preview": _WRITE,
        "create": _WRITE,
        "list": _READ,
        "retrieve": _READ,
        "items": _READ,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "preview": [NotFound],
        "create": [NotFound, NothingToMove, MoveInProgress, "idempotency_key_reused"],
        "list": [],
        "retrieve": [NotFound],
        "items": [NotFound],
    }
    operation_ids = {
        "preview": "plan_move_preview",
        "create": "plan_move_create",
        "list": "plan_move_list",
        "retrieve": "plan_move_get",
        "items": "plan_move_items",
    }

    @extend_schema(request=PlanMovePreviewInput, responses=PlanMovePreviewSerializer)
    def preview(self, request: Request) -> Response:
        """
        Say what a move would change, for all concerned and for each. Nothing is written.

        Amounts come from the code that bills, with the usage so far.
        """
        body = PlanMovePreviewInput(data=request.data)
        body.is_valid(raise_exception=True)
        move = self._read_request(body.validated_data)
        version, subscriptions = resolve_move(move)
        plan = preview_move(subscriptions, target=get_target(version), timing=move.timing)
        found = {each.id for each in subscriptions}
        answer = {
            "plan_id": version.plan.key,
            "version": version.version,
            "when": move.timing,
            "subscriptions": len(subscriptions),
            "movable": plan.movable,
            "versions": count_versions(subscriptions),
            "left_out": [Subscription(id=key).public_id for key in move.subscription_ids or () if key not in found],
            **render_move_plan(plan, limit=body.validated_data["limit"]),
        }
        return Response(PlanMovePreviewSerializer(answer).data)

    @extend_schema(request=PlanMoveInput, responses={201: PlanMoveSerializer})
    def create(self, request: Request) -> Response:
        """
        Move subscriptions to a version of their plan, in the background.

        Answers at once; follow it by its id. Those that cannot be moved stay as they are, each with its reason.
        """
        body = PlanMoveInput(data=request.data)
        body.is_valid(raise_exception=True)
        key, digest = mark_request(request, self.principal)
        move_request = self._read_request(body.validated_data, key=key, hash=digest)
        begun = bool(key) and PlanMove.objects.filter(request_key=key, org_id=move_request.org_id).exists()
        move = start_move(request=move_request, at=clock.now(), actor=self.actor, reason=body.validated_data["reason"])
        response = Response(PlanMoveSerializer(get_move(reference=move.public_id)).data, status=201)
        if begun:
            response[REPLAYED] = "true"
        return response

    @extend_schema(parameters=[PlanMoveQuery], responses=list_of(PlanMoveSerializer))
    def list(self, request: Request) -> Response:
        """List moves, newest first, with how far each is."""
        query = query_serializer(PlanMoveQuery, request)
        moves = list_moves(org_id=self.principal.org)
        if "plan_id" in query:
            moves = moves.filter(plan__key=query["plan_id"])
        if "status" in query:
            moves = moves.filter(status=query["status"])
        return self.page(moves, PlanMoveSerializer)

    @extend_schema(responses=PlanMoveSerializer)
    def retrieve(self, request: Request, move_id: str) -> Response:
        """Show one move and how far it is."""
        return Response(PlanMoveSerializer(get_move(reference=move_id, org_id=self.principal.org)).data)

    @extend_schema(parameters=[PlanMoveItemQuery], responses=list_of(PlanMoveItemSerializer))
    def items(self, request: Request, move_id: str) -> Response:
        """List the subscriptions of a move with what became of each, and why some could not be moved."""
        move = get_move(reference=move_id, org_id=self.principal.org)
        items = list_move_items(move, accounts_of=self.principal.org)
        query = query_serializer(PlanMoveItemQuery, request)
        if "status" in query:
            items = items.filter(status=query["status"])
        return self.page(items, PlanMoveItemSerializer)

    def _read_request(self, values: dict[str, Any], **mark: str) -> MoveRequest:
        return MoveRequest(
            org_id=choose_org(self.principal, values.get("org_id")),
            plan_key=values["plan_id"],
            timing=values["when"],
            version=values.get("version"),
            from_versions=values.get("from_versions"),
            subscription_ids=_read_ids(values.get("subscription_ids")),
            accounts_of=self.principal.org,
            **mark,
        )


def _read_ids(texts: list[str] | None) -> list[uuid.UUID] | None:
    """Return the keys of subscriptions. :raises ValidationFailed: naming every text that is none."""
    if texts is None:
        return None
    keys = [Subscription.parse_id(text) for text in texts]
    wrong = [index for index, key in enumerate(keys) if key is None]
    if wrong:
        raise ValidationFailed(
            "These are not ids of subscriptions.",
            errors=[FieldError(f"/subscription_ids/{index}", "invalid", "No id of a subscription.") for index in wrong],
        )
    return [key for key in keys if key is not None]
