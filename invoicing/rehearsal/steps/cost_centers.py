"""`cost_center`: a center that usage may name."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import CostCenter
from accounts.services.cost_centers import create_cost_center
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World


@dataclass(frozen=True, slots=True)
class AddCostCenter:
    """Add a cost center to an account, at the top or below another one; `budget` is minor units a month."""

    account: str
    code: str
    name: str
    parent: str
    budget: int | None

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> AddCostCenter:
        account = scope.read_account(fields)
        currency = scope.accounts[account].currency if account else "usd"
        code = fields.text("code", required=True)
        found = cls(
            account=account,
            code=code,
            name=fields.text("name", default=code.title()),
            parent=fields.text("parent"),
            budget=fields.money("budget", currency) if fields.has("budget") else None,
        )
        fields.finish()
        return found

    def describe(self) -> str:
        below = f" below {self.parent}" if self.parent else ""
        return f"cost center {self.code} of {self.account}{below}"

    def play(self, world: World) -> list[str]:
        account = world.get_account(self.account)
        parent_id = None
        if self.parent:
            parent_id = CostCenter.objects.values_list("pk", flat=True).get(account=account, code__iexact=self.parent)
        create_cost_center(
            account=account,
            name=self.name,
            code=self.code,
            parent_id=parent_id,
            budget=self.budget,
            at=world.now,
            actor=world.actor,
        )
        return []
