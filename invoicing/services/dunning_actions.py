"""
What people do about an invoice in dunning: hold it for a while, let it go on, or end it.

Nothing here talks to a provider: what is due at once is due for the sweep, and the caller rings for it.
Source: contract chapter Dunning; ADR 0056.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from invoicing.models import DunningCase, DunningStatus, Invoice
from invoicing.queries.collection import is_collected_by_itself
from invoicing.queries.dunning import list_chargeable
from invoicing.services.dunning import COLUMNS, describe_case, emit_case, end_case, plan_attempt
from invoicing.services.invoices import lock_invoice, lock_parties


@transaction.atomic
def hold_case(
    *, case_id: uuid.UUID, until: datetime | None, at: datetime, actor: Actor, reason: str = ""
) -> DunningCase:
    """
    Let nothing be tried or mailed for an invoice until `until`, or until it is resumed, and return its case.

    Holding one that is held changes until when. The steps keep their order; one that is due meanwhile is made then.
    :raises NotFound: if there is no such case. :raises InvalidState: if it has ended.
    :raises ValidationFailed: for an `until` that is not after `at`.
    """
    if until is not None and until <= at:
        raise ValidationFailed.of("/until", "in_past", "It is held until a time that is still to come.")
    case, invoice = lock_case(case_id)
    if not case.is_open:
        raise InvalidState("The dunning of this invoice has ended.", current_status=case.status)
    before = describe_case(case)
    case.status, case.held_until = DunningStatus.HELD.value, until
    case.save(update_fields=COLUMNS)
    plan_attempt(case, invoice)
    emit_case("held", case, invoice, at=at, actor=actor, previous=_changed(before, case), reason=reason)
    return case


@transaction.atomic
def resume_case(*, case_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> DunningCase:
    """
    Let dunning go on that was held, or try the payment method again that was given up, and return the case.

    A step that was due meanwhile is due at once.
    :raises NotFound: if there is no such case. :raises InvalidState: if it is neither held nor stopped, or if there is
        no method to try.
    """
    case, invoice = lock_case(case_id)
    return resume_locked(case, invoice, at=at, actor=actor, reason=reason)


def resume_locked(case: DunningCase, invoice: Invoice, *, at: datetime, actor: Actor, reason: str = "") -> DunningCase:
    """Do what `resume_case` does for a case that is locked already, with its parties."""
    if case.status not in (DunningStatus.HELD, DunningStatus.STOPPED):
        raise InvalidState("Only dunning that is held or stopped can go on.", current_status=case.status)
    before = describe_case(case)
    if case.status == DunningStatus.STOPPED:
        if not _has_method(invoice):
            raise InvalidState("There is no payment method to try.", current_status=case.status)
        case.stop_reason = ""
    case.status = DunningStatus.STOPPED.value if case.stop_reason else DunningStatus.RUNNING.value
    case.held_until = None
    case.next_step_at = at if case.next_step_at is None else max(case.next_step_at, at)
    case.save(update_fields=COLUMNS)
    plan_attempt(case, invoice)
    emit_case("resumed", case, invoice, at=at, actor=actor, previous=_changed(before, case), reason=reason)
    return case


@transaction.atomic
def cancel_case(*, case_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> DunningCase:
    """
    End the dunning of an invoice that stays open, and return the case: nothing is tried or mailed of itself any more.

    Its subscription stays as it is. :raises NotFound: if there is no such case. :raises InvalidState: if it has ended.
    """
    case, invoice = lock_case(case_id)
    if not case.is_open:
        raise InvalidState("The dunning of this invoice has ended.", current_status=case.status)
    before = describe_case(case)
    end_case(case, DunningStatus.CANCELED, at=at)
    plan_attempt(case, invoice)
    emit_case("ended", case, invoice, at=at, actor=actor, previous=_changed(before, case), reason=reason)
    return case


def lock_case(case_id: uuid.UUID) -> tuple[DunningCase, Invoice]:
    """
    Lock account, subscriptions, invoice and case, in this order, and return the last two.

    :raises NotFound: if there is no such case.
    """
    invoice_id = DunningCase.objects.filter(pk=case_id).values_list("invoice_id", flat=True).first()
    if invoice_id is None:
        raise NotFound("dunning_case")
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    case = DunningCase.objects.select_for_update(of=("self",)).get(pk=case_id)
    case.invoice = invoice
    return case, invoice


def _has_method(invoice: Invoice) -> bool:
    return is_collected_by_itself(invoice) and list_chargeable(invoice.account_id).exists()


def _changed(before: dict[str, object], case: DunningCase) -> dict[str, object]:
    after = describe_case(case)
    return {name: value for name, value in before.items() if after[name] != value}
