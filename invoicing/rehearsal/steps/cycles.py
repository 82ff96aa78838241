"""`run_cycle`: a billing run asked for by hand."""

from __future__ import annotations

from dataclasses import dataclass

from invoicing.rehearsal import clockwork
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World


@dataclass(frozen=True, slots=True)
class RunCycle:
    """Bill what is due now, of all accounts of the story or of one. The clock does so by itself on its way."""

    account: str = ""

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> RunCycle:
        found = cls(account=scope.read_account(fields, required=False))
        fields.finish()
        return found

    def describe(self) -> str:
        return f"run_cycle {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        return clockwork.run_cycle(world, account=self.account)
