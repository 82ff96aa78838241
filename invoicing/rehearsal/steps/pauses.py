"""`pause`, `resume` and `extend_trial`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.trials import extend_subscription_trial


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause a subscription, until it is resumed or until `resume_at`."""

    account: str
    subscription: str
    resume_at: datetime | None

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Pause:
        subscription = scope.read_subscription(fields)
        found = cls(scope.subscriptions.get(subscription, ""), subscription, fields.instant("resume_at"))
        fields.finish()
        return found

    def describe(self) -> str:
        return f"pause {self.subscription}" + (f" until {self.resume_at:%Y-%m-%d}" if self.resume_at else "")

    def play(self, world: World) -> list[str]:
        pause_subscription(
            subscription_id=world.get_subscription(self.subscription).id,
            at=world.now,
            actor=world.actor,
            resume_at=self.resume_at,
        )
        return []


@dataclass(frozen=True, slots=True)
class Resume:
    """End a pause."""

    account: str
    subscription: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Resume:
        subscription = scope.read_subscription(fields)
        found = cls(scope.subscriptions.get(subscription, ""), subscription)
        fields.finish()
        return found

    def describe(self) -> str:
        return f"resume {self.subscription}"

    def play(self, world: World) -> list[str]:
        resume_subscription(
            subscription_id=world.get_subscription(self.subscription).id, at=world.now, actor=world.actor
        )
        return []


@dataclass(frozen=True, slots=True)
class ExtendTrial:
    """Let a trial last longer."""

    account: str
    subscription: str
    days: int

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> ExtendTrial:
        subscription = scope.read_subscription(fields)
        days = fields.integer("days", least=1, required=True)
        found = cls(scope.subscriptions.get(subscription, ""), subscription, days or 0)
        fields.finish()
        return found

    def describe(self) -> str:
        return f"extend the trial of {self.subscription} by {self.days} days"

    def play(self, world: World) -> list[str]:
        extend_subscription_trial(
            subscription_id=world.get_subscription(self.subscription).id,
            days=self.days,
            at=world.now,
            actor=world.actor,
        )
        return []
