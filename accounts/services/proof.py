"""The nightly proof of the ledger. Source: contract chapter Ledger."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction

from accounts.queries.proof import LedgerProof, prove_ledger
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.platform.services import events

logger = logging.getLogger(__name__)


@transaction.atomic
def check_ledger(*, at: datetime, actor: Actor = SYSTEM) -> LedgerProof:
    """Prove the ledger and return the proof; the first row that is wrong is logged and written as an event."""
    proof = prove_ledger()
    if proof.fault is not None:
        logger.error("the ledger does not hold: %s", proof.fault)
        events.emit(
            "ledger.fault_found",
            subject=proof.fault.model(id=proof.fault.pk),
            account_id=None,
            at=at,
            actor=actor,
            data={"row": proof.fault.row, "what": proof.fault.what},
        )
    return proof
