"""The local provider bills nothing by itself; a charge of it is a payment."""

from __future__ import annotations

from billing_site.kernel.money import Money
from invoicing.gateways import local_store as store
from invoicing.gateways.billed import BilledInvoiceState, ChargeState, SubscriptionState
from invoicing.gateways.port import ObjectUnknown
from invoicing.models import LocalProviderObject


class LocalBilled:
    """See `invoicing.gateways.billed`."""

    def fetch_subscription(self, *, subscription_ref: str) -> SubscriptionState:
        """Refuse: there are none."""
        raise ObjectUnknown("The local provider bills no subscriptions.")

    def fetch_billed_invoice(self, *, invoice_ref: str) -> BilledInvoiceState:
        """Refuse: there are none."""
        raise ObjectUnknown("The local provider issues no invoices.")

    def fetch_charge(self, *, charge_ref: str) -> ChargeState:
        """Return a payment as a charge, with its refunds."""
        payment = store.get(charge_ref, "payment")
        refunds = LocalProviderObject.objects.filter(kind="refund", parent=charge_ref).order_by("id")
        return ChargeState(
            ref=charge_ref,
            amount=Money(payment.data["amount"], payment.data["currency"]),
            payment_ref=charge_ref,
            refund_refs=tuple(refunds.values_list("ref", flat=True)),
        )
