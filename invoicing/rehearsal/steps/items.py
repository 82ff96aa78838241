"""`add_item`, `change_item` and `remove_item`: parts beside the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

from accounts.models import SubscriptionItem
from accounts.queries.part_prices import NewPart
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import StepRefused, World
from invoicing.services.subscription_items import (
    ItemProration,
    add_subscription_item,
    remove_subscription_item,
    update_subscription_item,
)

_BEHAVIORS: Final = ("create_prorations", "none")


@dataclass(frozen=True, slots=True)
class ChangeParts:
    """Add, change or take off the part that has a plan's fee, or its price for a meter."""

    account: str
    what: Literal["add", "change", "remove"]
    subscription: str
    plan: str
    meter: str
    quantity: int | None
    behavior: ItemProration

    @classmethod
    def read_add(cls, fields: Fields, scope: Scope) -> ChangeParts:
        """Read `add_item`."""
        return cls._read("add", fields, scope, quantity=fields.integer("quantity", least=1))

    @classmethod
    def read_change(cls, fields: Fields, scope: Scope) -> ChangeParts:
        """Read `change_item`: another quantity."""
        return cls._read("change", fields, scope, quantity=fields.integer("quantity", least=1, required=True))

    @classmethod
    def read_remove(cls, fields: Fields, scope: Scope) -> ChangeParts:
        """Read `remove_item`."""
        return cls._read("remove", fields, scope, quantity=None)

    @classmethod
    def _read(
        cls, what: Literal["add", "change", "remove"], fields: Fields, scope: Scope, *, quantity: int | None
    ) -> ChangeParts:
        subscription = scope.read_subscription(fields)
        behavior = fields.choice("proration_behavior", _BEHAVIORS, default="create_prorations")
        found = cls(
            account=scope.subscriptions.get(subscription, ""),
            what=what,
            subscription=subscription,
            plan=fields.text("plan", required=True),
            meter=fields.text("meter"),
            quantity=quantity,
            behavior=cast(ItemProration, behavior),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        parts = [self.what, self.plan, *([f"for {self.meter}"] if self.meter else [])]
        parts += [f"× {self.quantity}"] if self.quantity is not None else []
        return " ".join([*parts, "to" if self.what == "add" else "of", self.subscription])

    def play(self, world: World) -> list[str]:
        subscription_id = world.get_subscription(self.subscription).id
        if self.what == "add":
            part = NewPart(plan_key=self.plan, meter_id=self.meter or None, quantity=self.quantity)
            add_subscription_item(
                subscription_id=subscription_id,
                part=part,
                at=world.now,
                actor=world.actor,
                proration_behavior=self.behavior,
            )
            return []
        rows = SubscriptionItem.objects.filter(
            subscription_id=subscription_id, ended_at__isnull=True, price__plan_version__plan__key=self.plan
        )
        found = rows.filter(meter__event_name=self.meter) if self.meter else rows.filter(meter__isnull=True)
        item = found.first()
        if item is None:
            raise StepRefused(f"{self.subscription} has no part of {self.plan}.")
        if self.what == "change":
            update_subscription_item(
                item_id=item.pk,
                quantity=self.quantity,
                at=world.now,
                actor=world.actor,
                proration_behavior=self.behavior,
            )
        else:
            remove_subscription_item(item_id=item.pk, at=world.now, actor=world.actor, proration_behavior=self.behavior)
        return []
