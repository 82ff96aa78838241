"""`release` and `discard`: what a person decides on an invoice that a billing run held back."""

from __future__ import annotations

from dataclasses import dataclass

from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.reviews import discard_review, release_review


@dataclass(frozen=True, slots=True)
class Decide:
    """Release the oldest held invoice of an account, or discard it."""

    account: str
    releases: bool
    reason: str

    @classmethod
    def read_release(cls, fields: Fields, scope: Scope) -> Decide:
        return cls._read(fields, scope, releases=True)

    @classmethod
    def read_discard(cls, fields: Fields, scope: Scope) -> Decide:
        return cls._read(fields, scope, releases=False)

    @classmethod
    def _read(cls, fields: Fields, scope: Scope, *, releases: bool) -> Decide:
        found = cls(scope.read_account(fields), releases, fields.text("reason", default="Rehearsal"))
        fields.finish()
        return found

    def describe(self) -> str:
        return f"{'release' if self.releases else 'discard'} {self.account}"

    def play(self, world: World) -> list[str]:
        review = world.get_waiting_review(account=self.account)
        act = release_review if self.releases else discard_review
        invoice = act(review_id=review.pk, at=world.now, actor=world.actor, reason=self.reason)
        return [f"{invoice.number_text} is issued" if self.releases else "the draft is void"]
