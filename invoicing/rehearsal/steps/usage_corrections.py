"""`void_usage` and `amend_usage`: events taken back, or given another quantity."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from catalog.pricing.terms import to_text
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import StepRefused, World
from metering.models import UsageEvent
from metering.services.corrections import amend_usage_event, void_usage_event


@dataclass(frozen=True, slots=True)
class CorrectUsage:
    """Take back the event that was sent with `key`, or say that it was `quantity`."""

    account: str
    key: str
    quantity: Decimal | None = None

    @classmethod
    def read_void(cls, fields: Fields, scope: Scope) -> CorrectUsage:
        found = cls(account=scope.read_account(fields), key=fields.text("key", required=True))
        fields.finish()
        return found

    @classmethod
    def read_amend(cls, fields: Fields, scope: Scope) -> CorrectUsage:
        quantity = fields.decimal("quantity", required=True)
        found = cls(
            account=scope.read_account(fields),
            key=fields.text("key", required=True),
            quantity=Decimal(0) if quantity is None else quantity,
        )
        fields.finish()
        return found

    def describe(self) -> str:
        if self.quantity is None:
            return f"void usage {self.key} of {self.account}"
        return f"amend usage {self.key} of {self.account} to {to_text(self.quantity)}"

    def play(self, world: World) -> list[str]:
        account = world.get_account(self.account)
        events = UsageEvent.objects.select_related("account__test_clock", "meter", "cost_center")
        event = events.filter(account=account, idempotency_key=self.key).first()
        if event is None:
            raise StepRefused(f"no event of {self.account} was sent with the key {self.key}")
        if self.quantity is None:
            void_usage_event(event=event, at=world.now, actor=world.actor, reason="Rehearsal")
        else:
            amend_usage_event(event=event, quantity=self.quantity, at=world.now, actor=world.actor, reason="Rehearsal")
        return []
