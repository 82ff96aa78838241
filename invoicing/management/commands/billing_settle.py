"""`manage.py billing_settle`: ask the provider about what it never answered, in this process."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from invoicing.services.payout_sending import sweep_payouts
from invoicing.services.refund_sending import sweep_refunds
from invoicing.services.settling_sweep import settle_unanswered
from invoicing.services.setup_sweep import list_unsettled, settle_setup

_LIMIT = 200


class Command(BaseCommand):
    help = (
        "Ask the provider about payments, top-ups, setups, refunds and payouts that have been open for ten minutes."
        " The schedule does the same; running both settles each once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor("system", "billing_settle")
        payments = settle_unanswered(at=clock.now(), actor=actor, limit=_LIMIT)
        setups = sum(
            settle_setup(setup_intent_id=key, at=clock.now(), actor=actor)
            for key in list_unsettled(at=clock.now(), limit=_LIMIT)
        )
        refunds = sweep_refunds(at=clock.now(), limit=_LIMIT)
        payouts = sweep_payouts(at=clock.now(), actor=actor, limit=_LIMIT)
        self.stdout.write(f"settled: payments {payments}, setups {setups}, refunds {refunds}, payouts {payouts}")
