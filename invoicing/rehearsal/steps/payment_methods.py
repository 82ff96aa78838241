"""`payment_method`: a test card is attached, made the default, or taken away."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.services.payment_methods import NewPaymentMethod, set_default_payment_method
from accounts.services.starter_credit import grant_after_verification
from invoicing.gateways.local import TEST_CARDS, LocalGateway
from invoicing.rehearsal.fields import Fields, suggest
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.payment_methods import attach_payment_method, detach_payment_method


@dataclass(frozen=True, slots=True)
class PaymentMethodStep:
    """Attach the test card `card` and call it `name`; or, with `default` or `remove`, do that to the card called so."""

    account: str
    card: str
    name: str
    default: str
    remove: str
    new_default: str
    force: bool

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> PaymentMethodStep:
        account = scope.read_account(fields)
        found = cls(
            account=account,
            card=fields.text("card").replace("_", "").replace("-", "").lower(),
            name=scope.name_payment_method(fields),
            default=scope.read_payment_method(fields, "default"),
            remove=scope.read_payment_method(fields, "remove"),
            new_default=scope.read_payment_method(fields, "new_default"),
            force=fields.flag("force") is True,
        )
        if [bool(found.card), bool(found.default), bool(found.remove)].count(True) != 1:
            fields.mistakes.add(fields.line, "`payment_method` needs one of `card`, `default` and `remove`")
        if found.card and found.card not in TEST_CARDS:
            fields.report("card", f"there is no test card `{found.card}`{suggest(found.card, TEST_CARDS)}")
        if found.name and not found.card:
            fields.report("as", "`as` goes with `card`")
        if (found.new_default or found.force) and not found.remove:
            fields.report("new_default" if found.new_default else "force", "`new_default` and `force` go with `remove`")
        fields.finish()
        return found

    def describe(self) -> str:
        if self.remove:
            return f"take the payment method {self.remove} from {self.account}"
        if self.default:
            return f"make {self.default} the default payment method of {self.account}"
        return f"attach the test card {self.card} to {self.account}{f' as {self.name}' if self.name else ''}"

    def play(self, world: World) -> list[str]:
        if self.remove:
            detached = detach_payment_method(
                method_id=world.get_payment_method(self.remove),
                new_default_id=world.get_payment_method(self.new_default) if self.new_default else None,
                force=self.force,
                at=world.now,
                actor=world.actor,
                reason="Rehearsal",
            )
            return [f"{detached} is taken away"]
        if self.default:
            method = set_default_payment_method(
                method_id=world.get_payment_method(self.default), at=world.now, actor=world.actor, reason="Rehearsal"
            )
            return [f"{method} is the default"]
        return self._attach(world)

    def _attach(self, world: World) -> list[str]:
        # A rehearsal never asks a real provider, whichever the site is configured with.
        method = attach_payment_method(
            account=world.get_account(self.account),
            new=NewPaymentMethod(provider_ref=f"tok_{self.card}"),
            at=world.now,
            actor=world.actor,
            gateway=LocalGateway(),
            reason="Rehearsal",
        ).method
        if self.name:
            world.payment_methods[self.name] = method.pk
        # Jobs of a rehearsal are dropped; what this one does happens right away.
        granted = grant_after_verification(account_id=method.account_id, at=world.now, actor=world.actor)
        return [f"{method} is attached", *(["starter credit given"] if granted is not None else [])]
