"""`dunning`: by which terms unpaid invoices are asked for from now on."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.models import Plan
from invoicing.models import DunningEnd
from invoicing.rehearsal.fields import Fields, suggest
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.dunning_campaigns import CampaignValues, create_campaign


@dataclass(frozen=True, slots=True)
class SetDunning:
    """A campaign for `plans` and `accounts`; what it leaves out is as usual."""

    name: str
    delays_hours: tuple[int, ...]
    end: str
    messages: tuple[str, ...]
    on_overdue: bool
    plans: tuple[str, ...]
    accounts: tuple[str, ...]
    account: str = ""

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> SetDunning:
        delays = fields.texts("delays_hours")
        if not all(each.isdigit() for each in delays):
            fields.report("delays_hours", "`delays_hours` are whole hours, such as [24, 72, 168]")
            delays = []
        accounts = fields.texts("accounts")
        for name in accounts:
            if name not in scope.accounts:
                fields.report("accounts", f"the story has no account `{name}`{suggest(name, scope.accounts)}")
        found = cls(
            name=fields.text("name", default="Campaign"),
            delays_hours=tuple(int(each) for each in delays),
            end=fields.choice("end", DunningEnd.values, default=DunningEnd.UNPAID),
            messages=tuple(fields.texts("messages")),
            on_overdue=fields.flag("on_overdue") is True,
            plans=tuple(fields.texts("plans")),
            accounts=tuple(accounts),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"dunning of {', '.join((*self.plans, *self.accounts)) or 'nobody'}: {self.name}"

    def play(self, world: World) -> list[str]:
        values = CampaignValues(
            name=self.name,
            delays_hours=self.delays_hours,
            end_state=self.end,
            messages=self.messages,
            on_overdue=self.on_overdue,
            plans=list(Plan.objects.filter(org_id=world.org_id, key__in=self.plans)),
            accounts=[world.get_account(name) for name in self.accounts],
        )
        campaign = create_campaign(
            org_id=world.org_id, values=values, at=world.now, actor=world.actor, reason="Rehearsal"
        )
        return [f"{campaign}: {campaign.terms.attempts} attempts, then {campaign.get_end_state_display()}"]
