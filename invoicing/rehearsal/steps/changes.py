"""`change_plan` and `change_quantity`: other terms for a running subscription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from accounts.terms.changes import Effective, ProrationBehavior
from catalog.models import PriceInterval
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.changes import ChangeRequest, change_subscription

_WHEN: Final = {"now": "immediate", "period_end": "period_end"}
_BEHAVIORS: Final = ("always_invoice", "create_prorations", "none")


@dataclass(frozen=True, slots=True)
class Change:
    """Change plan, quantity or interval. Without `when` and `proration_behavior` the direction decides."""

    account: str
    subscription: str
    request: ChangeRequest

    @classmethod
    def read_plan(cls, fields: Fields, scope: Scope) -> Change:
        """Read `change_plan`: plan, and perhaps interval and quantity."""
        return cls._read(
            fields,
            scope,
            plan=fields.text("plan", required=True),
            interval=fields.choice("interval", PriceInterval.values),
            quantity=fields.integer("quantity", least=1),
        )

    @classmethod
    def read_quantity(cls, fields: Fields, scope: Scope) -> Change:
        """Read `change_quantity`: the new quantity."""
        return cls._read(fields, scope, quantity=fields.integer("quantity", least=1, required=True))

    @classmethod
    def _read(
        cls, fields: Fields, scope: Scope, *, plan: str = "", interval: str = "", quantity: int | None = None
    ) -> Change:
        subscription = scope.read_subscription(fields)
        when, behavior = fields.choice("when", tuple(_WHEN)), fields.choice("proration_behavior", _BEHAVIORS)
        request = ChangeRequest(
            plan_key=plan or None,
            quantity=quantity,
            interval=interval or None,
            effective=cast(Effective, _WHEN[when]) if when else None,
            proration_behavior=cast(ProrationBehavior, behavior) if behavior else None,
        )
        fields.finish()
        return cls(scope.subscriptions.get(subscription, ""), subscription, request)

    def describe(self) -> str:
        asked = self.request
        parts = [f"change {self.subscription}"]
        parts += [f"to {asked.plan_key}"] if asked.plan_key else []
        parts += [f"to {asked.quantity} units"] if asked.quantity is not None else []
        parts += [f"by the {asked.interval}"] if asked.interval else []
        return " ".join([*parts, asked.effective or ""]).rstrip()

    def play(self, world: World) -> list[str]:
        outcome = change_subscription(
            subscription_id=world.get_subscription(self.subscription).id,
            request=self.request,
            at=world.now,
            actor=world.actor,
        )
        plan = outcome.plan
        return ["nothing to change"] if plan is None else [f"{plan.direction}, {plan.when.replace('_', ' ')}"]
