"""`schedule`: the phases that a subscription goes through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.models import EndBehavior, PhaseProration
from accounts.services.schedule_phases import NewItem, NewPhase
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.schedules import create_schedule


@dataclass(frozen=True, slots=True)
class PlanPhases:
    """Make a schedule over a running subscription, or for one that its first phase starts, which `name` then names."""

    account: str
    subscription: str
    name: str
    start: datetime | None
    end_behavior: str
    phases: tuple[NewPhase, ...]

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> PlanPhases:
        subscription = scope.read_subscription(fields) if fields.has("subscription") else ""
        if subscription:
            account = scope.subscriptions.get(subscription, "")
            if fields.has("account") and scope.read_account(fields) != account:
                fields.report("account", f"`{subscription}` is a subscription of `{account}`")
            if fields.has("as"):
                fields.report("as", f"the subscription is called `{subscription}` already")
            name = ""
        else:
            account = scope.read_account(fields)
            name = scope.name_subscription(fields, account)
        found = cls(
            account=account,
            subscription=subscription,
            name=name,
            start=scope.read_moment(fields, "start_date", account),
            end_behavior=fields.choice("end_behavior", EndBehavior.values) or EndBehavior.RELEASE.value,
            phases=tuple(
                _read_phase(phase, scope, account) for phase in fields.blocks("phases", "phase", required=True)
            ),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        plans = ", ".join(phase.plan_key for phase in self.phases)
        shown = f"schedule {self.subscription or self.account}: {plans}"
        return f"{shown} as {self.name}" if self.name else shown

    def play(self, world: World) -> list[str]:
        schedule = create_schedule(
            account=world.get_account(self.account),
            subscription=world.get_subscription(self.subscription) if self.subscription else None,
            phases=self.phases,
            start_date=self.start,
            end_behavior=self.end_behavior,
            at=world.now,
            actor=world.actor,
            reason="Rehearsal",
        )
        if self.name:
            world.schedules[self.name] = schedule.id
            world.name_scheduled()
        return []


def _read_phase(fields: Fields, scope: Scope, account: str) -> NewPhase:
    quantity = fields.integer("quantity", least=1)
    found = NewPhase(
        plan_key=fields.text("plan", required=True),
        items=None if quantity is None else [NewItem(quantity=quantity)],
        start=scope.read_moment(fields, "start_date", account),
        end=scope.read_moment(fields, "end_date", account),
        trial_end=scope.read_moment(fields, "trial_end", account),
        proration_behavior=fields.choice("proration_behavior", PhaseProration.values),
    )
    fields.finish()
    return found
