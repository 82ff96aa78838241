"""The states of dunning cases, and the services that lead from one to another."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, PaymentMethod
from accounts.services.payment_methods import NewPaymentMethod
from invoicing.gateways.local import LocalGateway
from invoicing.models import DunningCase, Invoice
from invoicing.models.dunning import DUNNING_TRANSITIONS
from invoicing.services.balance_payments import add_payment
from invoicing.services.dunning import record_failed_attempt
from invoicing.services.dunning_actions import cancel_case, hold_case, resume_case
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.payment_methods import attach_payment_method
from tests.support import world
from tests.support.states import StateTable

DAY: Final = timedelta(days=1)
SOFT, HARD = "insufficient_funds", "expired_card"


def attach_card(account: Account, card: str = "visa", *, at: datetime = world.OCTOBER) -> PaymentMethod:
    """Attach a test card; the first one is the default."""
    return attach_payment_method(
        account=account,
        new=NewPaymentMethod(provider_ref=f"tok_{card}"),
        at=at,
        actor=world.TESTER,
        gateway=LocalGateway(),
    ).method


def fail(invoice: Invoice, *, at: datetime, reason: str = SOFT, actor: Any = world.TESTER) -> DunningCase | None:
    """Let an attempt to collect an invoice fail, as the transaction that settles it does."""
    lock_parties(invoice.pk)
    locked = lock_invoice(invoice.pk)
    locked.attempt_count += 1
    locked.last_attempt_at = at
    locked.save(update_fields=["attempt_count", "last_attempt_at", "updated_at"])
    return record_failed_attempt(locked, decline_reason=reason, at=at, actor=actor)


def pay(invoice: Invoice, *, at: datetime) -> Invoice:
    """Let an invoice be paid in full; the money is booked elsewhere."""
    with transaction.atomic():
        lock_parties(invoice.pk)
        locked = lock_invoice(invoice.pk)
        add_payment(locked, amount=locked.amount_remaining, at=at, actor=world.TESTER, method="bank_transfer")
    return locked


def open_invoice(handle: str = "acme", *, card: str = "visa") -> Invoice:
    """Return the open invoice of a subscription whose account has a card."""
    world.publish()
    account = world.open_account(handle)
    attach_card(account, card)
    world.subscribe(account, "pro")
    return Invoice.objects.get(account=account)


def open_case(invoice: Invoice | None = None, *, reason: str = SOFT) -> DunningCase:
    """Return the case of an invoice whose first attempt failed on 1 November."""
    case = fail(invoice or open_invoice(), at=world.NOVEMBER, reason=reason)
    assert case is not None
    return case


def _arrange(state: str, _to: str) -> DunningCase:
    case = open_case(reason=HARD if state == "stopped" else SOFT)
    if state not in ("running", "stopped"):
        CASES.moves[state](case)
    return case


def _run(row: DunningCase) -> object:
    row.refresh_from_db()
    return resume_case(case_id=row.pk, at=world.NOVEMBER + DAY, actor=world.TESTER)


def _stop(row: DunningCase) -> object:
    """A card that will always be declined stops it; what was stopped before it was held is stopped again."""
    row.refresh_from_db()
    if row.status == "held":
        DunningCase.objects.filter(pk=row.pk).update(stop_reason=HARD)
        return _run(row)
    return fail(row.invoice, at=world.NOVEMBER, reason=HARD)


def _exhaust(row: DunningCase) -> None:
    """Fail at every time that is planned; for what is held, or over, none is."""
    row.refresh_from_db()
    for _ in range(4):
        if row.next_step_at is not None:
            fail(row.invoice, at=row.next_step_at)
            row.refresh_from_db()


def _settle(row: DunningCase) -> object:
    row.refresh_from_db()
    if row.invoice.amount_remaining:
        return pay(row.invoice, at=world.NOVEMBER + DAY)
    return None


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in DUNNING_TRANSITIONS[before]:
        return "dunning_cases_ends_once"
    if after in ("paid", "exhausted", "canceled"):
        return "dunning_cases_ended_has_time"
    return "dunning_cases_stopped_has_reason" if "stopped" in (before, after) and after != "held" else ""


_ENDS: Final = ("paid", "exhausted", "canceled")
CASES: Final = StateTable(
    model=DunningCase,
    transitions=DUNNING_TRANSITIONS,
    arrange=_arrange,
    moves={
        "running": _run,
        "stopped": _stop,
        "held": lambda row: hold_case(case_id=row.pk, until=None, at=world.NOVEMBER, actor=world.TESTER),
        "paid": _settle,
        "exhausted": _exhaust,
        "canceled": lambda row: cancel_case(case_id=row.pk, at=world.NOVEMBER + DAY, actor=world.TESTER),
    },
    quiet=frozenset(
        {
            ("held", "exhausted"),
            *((before, after) for before in _ENDS for after in ("stopped", "paid", "exhausted") if before != after),
            *((before, before) for before in ("paid", "exhausted")),
            ("stopped", "stopped"),
            ("held", "held"),
        }
    ),
    held=_hold,
    allows=DunningCase.can_become,
)
