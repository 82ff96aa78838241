"""`cancel` and `reactivate`: ending a subscription, and taking that back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast, get_args

from accounts.terms.cancellations import UnusedTime
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.cancellations import CANCELLATION_REASONS, cancel_subscription, reactivate_subscription

_WHEN: Final = ("period_end", "now")
_UNUSED: Final = get_args(UnusedTime)


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a subscription with its period, or now; unused time is forfeited, credited or refunded."""

    account: str
    subscription: str
    when: str
    reason: str
    unused: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Cancel:
        subscription = scope.read_subscription(fields)
        found = cls(
            account=scope.subscriptions.get(subscription, ""),
            subscription=subscription,
            when=fields.choice("when", _WHEN) or "period_end",
            reason=fields.choice("reason", CANCELLATION_REASONS) or "",
            unused=fields.choice("unused", _UNUSED),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"cancel {self.subscription} " + ("now" if self.when == "now" else "at the end of its period")

    def play(self, world: World) -> list[str]:
        cancel_subscription(
            subscription_id=world.get_subscription(self.subscription).id,
            at=world.now,
            actor=world.actor,
            at_period_end=self.when == "period_end",
            reason=self.reason,
            unused=cast(UnusedTime, self.unused) if self.unused else None,
        )
        return []


@dataclass(frozen=True, slots=True)
class Reactivate:
    """Take back a scheduled cancellation."""

    account: str
    subscription: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Reactivate:
        subscription = scope.read_subscription(fields)
        found = cls(account=scope.subscriptions.get(subscription, ""), subscription=subscription)
        fields.finish()
        return found

    def describe(self) -> str:
        return f"reactivate {self.subscription}"

    def play(self, world: World) -> list[str]:
        reactivate_subscription(
            subscription_id=world.get_subscription(self.subscription).id, at=world.now, actor=world.actor
        )
        return []
