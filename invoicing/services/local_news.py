"""
What happens at the local provider of itself: a card holder disputes a payment a day later.

A real provider tells by webhook; the local one is asked for its news, which go the same way through `record_dispute`.
"""

from __future__ import annotations

from datetime import datetime

from billing_site.kernel.actors import SYSTEM
from invoicing.gateways.local import LocalGateway
from invoicing.models import LocalProviderObject, PaymentIntent
from invoicing.services.disputes import record_dispute


def tell_local_news(*, at: datetime, limit: int = 200) -> int:
    """Let what is due at the local provider happen, and record it; return how many things were news."""
    rows = LocalProviderObject.objects.filter(kind="payment", due_at__isnull=False).order_by("due_at")
    told = 0
    for payment in rows[:limit]:
        told += _dispute(payment, at)
    return told


def _dispute(payment: LocalProviderObject, at: datetime) -> bool:
    """Dispute one payment when its time has come by the clock of the account that paid."""
    rows = PaymentIntent.objects.select_related("account__test_clock")
    intent = rows.filter(provider_type=LocalGateway.name, provider_ref=payment.ref).first()
    now = (intent and intent.account.clock_time) or at
    if payment.due_at is None or payment.due_at > now:
        return False
    state = LocalGateway().open_dispute(payment_ref=payment.ref)
    record_dispute(state=state, provider_type=LocalGateway.name, at=now, actor=SYSTEM)
    LocalProviderObject.objects.filter(pk=payment.pk).update(due_at=None)
    return True
