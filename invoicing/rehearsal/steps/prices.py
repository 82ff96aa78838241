"""`override_price` and `move_price`: other prices than those a subscription began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.services.price_overrides import set_price_override
from invoicing.models import MoveOutcome, MoveStatus, MoveTiming, PlanMove, PlanMoveItem
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import Refused, World
from invoicing.services.plan_moves import MoveRequest, count_items, start_move, work_move

_REASON = "Rehearsal"


@dataclass(frozen=True, slots=True)
class OverridePrice:
    """Agree on another price with an account, for billing periods that start in `[starts_at, ends_at)`."""

    account: str
    lookup_key: str
    price: Mapping[str, Any]
    starts_at: datetime | None
    ends_at: datetime | None
    reason: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> OverridePrice:
        account = scope.read_account(fields)
        fields.node_of("price", required=True)
        found = cls(
            account=account,
            lookup_key=fields.text("lookup_key", required=True),
            price=fields.mapping("price"),
            starts_at=scope.read_moment(fields, "from", account),
            ends_at=scope.read_moment(fields, "until", account),
            reason=fields.text("reason", default=_REASON),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"override_price {self.lookup_key} for {self.account}"

    def play(self, world: World) -> list[str]:
        set_price_override(
            account=world.get_account(self.account),
            lookup_key=self.lookup_key,
            price=self.price,
            effective_from=self.starts_at or world.now,
            effective_until=self.ends_at,
            at=world.now,
            actor=world.actor,
            reason=self.reason,
        )
        return []


@dataclass(frozen=True, slots=True)
class MovePrice:
    """
    Move subscriptions to another version of their plan.

    Either the named ones, or all of a plan (with `from_versions` only those on one of them). `version` None is the one
    on sale.
    """

    subscriptions: tuple[str, ...]
    plan: str
    from_versions: tuple[int, ...]
    version: int | None
    when: str
    reason: str
    account: str = ""

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> MovePrice:
        key = "subscription" if fields.has("subscription") else "subscriptions"
        names = scope.read_subscriptions(fields, key)
        plan = fields.text("plan")
        if bool(names) == bool(plan):
            fields.mistakes.add(fields.line, "`move_price` takes `subscriptions`, or a `plan`")
        version: int | None = None
        if fields.text("to", default="current") != "current":
            version = fields.integer("to", least=1)
        found = cls(
            subscriptions=names,
            plan=plan,
            from_versions=_read_versions(fields),
            version=version,
            when=fields.choice("when", MoveTiming.values, default=MoveTiming.NOW.value),
            reason=fields.text("reason", default=_REASON),
            account=scope.subscriptions.get(names[0], "") if names else "",
        )
        fields.finish()
        return found

    def describe(self) -> str:
        what = ", ".join(self.subscriptions) or f"all of {self.plan}"
        target = f"version {self.version}" if self.version else "the version on sale"
        return f"move_price {what} to {target}, {self.when}"

    def play(self, world: World) -> list[str]:
        remarks: list[str] = []
        rows = [world.get_subscription(name) for name in self.subscriptions]
        plans = list(dict.fromkeys(row.plan_version.plan.key for row in rows)) or [self.plan]
        for plan in plans:
            request = MoveRequest(
                org_id=world.org_id,
                plan_key=plan,
                timing=self.when,
                version=self.version,
                from_versions=self.from_versions or None,
                subscription_ids=[row.id for row in rows if row.plan_version.plan.key == plan] or None,
            )
            move = start_move(request=request, at=world.now, actor=world.actor, reason=self.reason)
            remarks += _report(world, work_move(move_id=move.id, at=world.now, actor=world.actor))
        return remarks


def _read_versions(fields: Fields) -> tuple[int, ...]:
    key = "from_version" if fields.has("from_version") else "from_versions"
    words = fields.texts(key)
    if not all(word.isdigit() and int(word) for word in words):
        fields.report(key, f"`{key}` is the number of a version, or several")
        return ()
    return tuple(map(int, words))


def _report(world: World, move: PlanMove) -> list[str]:
    """:raises Refused: when not one subscription could be moved; a few that could not are remarks."""
    failed = list(PlanMoveItem.objects.filter(move=move, status=MoveOutcome.FAILED).order_by("id"))
    if move.status == MoveStatus.FAILED and failed:
        raise Refused(failed[0].error_code, failed[0].error_detail)
    applied = count_items(move)[MoveOutcome.APPLIED]
    return [
        f"{move.plan.key}: {applied} moved to version {move.to_version.version}",
        *(
            f"{world.name_subscription(item.subscription_id)}: {item.error_code}: {item.error_detail}"
            for item in failed
        ),
    ]
