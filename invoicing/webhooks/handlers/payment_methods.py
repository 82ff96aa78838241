"""Methods that come, change and go at a provider without us: in its portal, by its own people."""

from __future__ import annotations

from typing import Final

from accounts.models import PaymentMethod, PaymentMethodStatus
from invoicing.gateways.orders import MethodState
from invoicing.services.provider_mirror import mirror_attached_method, mirror_detached_method
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_method(provider: Provider, ref: str) -> MethodState:
    """Return a method; one that was detached belongs to no customer."""
    return provider.fetch_method(method_ref=ref)


def apply_method(call: Call, state: MethodState) -> Outcome:
    """Attach the method here too, follow what is shown of it, or detach it: as it is now, whichever event told."""
    if not state.customer_ref:
        return _detach(call, state)
    account = call.find_account(metadata_ref=state.account_id, customer_ref=state.customer_ref)
    if account is None:
        return call.unmatched(f"payment method {state.ref}", is_ours=bool(state.account_id))
    method = mirror_attached_method(
        account=account, provider=call.provider, state=state, at=call.now(account), actor=call.actor
    )
    return Outcome(f"{method} is {method.status}.", account)


def _detach(call: Call, state: MethodState) -> Outcome:
    attached = PaymentMethod.objects.select_related("account__test_clock").filter(
        provider_type=call.provider,
        provider_ref=state.ref,
        livemode=call.event.livemode,
        status=PaymentMethodStatus.ATTACHED,
    )
    owners = [method.account for method in attached.order_by("account_id")]
    for method in attached.order_by("account_id"):
        mirror_detached_method(method_id=method.pk, at=call.now(method.account), actor=call.actor)
    if not owners:
        return Outcome("No account has the method any more.")
    return Outcome("The method is detached.", owners[0])


_FOLLOW: Final = Handler(fetch_method, apply_method)
HANDLERS: Final[Handlers] = {
    "payment_method.attached": _FOLLOW,
    "payment_method.detached": _FOLLOW,
    "payment_method.updated": _FOLLOW,
    "payment_method.automatically_updated": _FOLLOW,  # a bank renewed the card
}
