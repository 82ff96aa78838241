"""
Bank details issued to an account, with the reference that its payer quotes.

Source: contract chapter Bank transfers; ADR 0053.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from stdnum import bic, iban
from stdnum.exceptions import ValidationError

from accounts.models import Account
from accounts.services.account_locks import lock_open_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import FieldError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from invoicing.models import BankTransferInstruction, InstructionStatus, TransferType

_SHOWN: Final = 4
_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class BankDetails:
    """Where the account is to pay. The number is given whole and kept masked."""

    type: str
    bank_name: str
    account_number: str
    account_holder: str = ""
    routing_number: str = ""
    iban: str = ""
    bic: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def mask_number(number: str) -> str:
    """Return `****6789` of an account number; four characters or fewer stay as they are."""
    compact = "".join(number.split())
    return compact if len(compact) <= _SHOWN else f"****{compact[-_SHOWN:]}"


def normalise_reference(text: str) -> str:
    """Return a reference without case and spaces."""
    return "".join(text.split()).casefold()


@transaction.atomic
def issue_instruction(
    *, account: Account, currency: str, details: BankDetails, at: datetime, actor: Actor, reason: str = ""
) -> BankTransferInstruction:
    """
    Issue bank details with a new reference to an account, and return them.

    :raises ValidationFailed: for a type that is none, details that are missing, an IBAN or BIC that cannot be.
    :raises InvalidState: when the account is closed.
    """
    clean = _check_details(details)
    owner = lock_open_account(account.pk)
    instruction = _insert(
        BankTransferInstruction(
            org_id=owner.org_id,
            account=owner,
            currency=currency,
            type=clean.type,
            bank_name=clean.bank_name,
            account_holder=clean.account_holder,
            account_number=mask_number(clean.account_number),
            routing_number=clean.routing_number,
            iban=clean.iban,
            bic=clean.bic,
            metadata=dict(clean.metadata),
            livemode=owner.livemode,
        )
    )
    _emit("created", instruction, at=at, actor=actor, reason=reason)
    return instruction


@transaction.atomic
def expire_instruction(
    *, instruction_id: uuid.UUID, at: datetime, actor: Actor, reason: str = ""
) -> BankTransferInstruction:
    """
    End an instruction: transfers that quote its reference are matched by hand from now on.

    :raises NotFound: if there is none. :raises InvalidState: if it has expired.
    """
    rows = BankTransferInstruction.objects.select_for_update(of=("self",), no_key=True).select_related("account")
    instruction = rows.filter(pk=instruction_id).first()
    if instruction is None:
        raise NotFound("bank_transfer_instruction")
    if not instruction.can_become(InstructionStatus.EXPIRED):
        raise InvalidState("The instruction has expired already.", current_status=instruction.status)
    instruction.status, instruction.expired_at = InstructionStatus.EXPIRED, at
    instruction.save(update_fields=["status", "expired_at", "updated_at"])
    _emit("expired", instruction, at=at, actor=actor, reason=reason, previous={"status": InstructionStatus.ACTIVE})
    return instruction


def _insert(instruction: BankTransferInstruction) -> BankTransferInstruction:
    """Store it under a reference that no active one has. Of four thousand million, ten in a row are never taken."""
    for _ in range(_TRIES):
        instruction.reference = secrets.token_hex(4)
        try:
            with transaction.atomic():
                instruction.save(force_insert=True)
        except IntegrityError as error:
            if "bank_transfer_instructions_reference_once" not in str(error):
                raise
        else:
            return instruction
    raise RuntimeError("no free reference was found")


def _check_details(given: BankDetails) -> BankDetails:
    findings: list[FieldError] = []
    if given.type not in TransferType.values:
        findings.append(FieldError("/type", "invalid_choice", f"One of {', '.join(TransferType.values)}."))
    for name in ("bank_name", "account_number"):
        if not getattr(given, name).strip():
            findings.append(FieldError(f"/{name}", "required", "This is needed to pay."))
    numbers: dict[str, str] = {}
    for name, module in (("iban", iban), ("bic", bic)):
        text = getattr(given, name).strip()
        try:
            numbers[name] = module.validate(text) if text else ""
        except ValidationError:
            findings.append(FieldError(f"/{name}", "invalid", f"This is no {name.upper()}: it does not add up."))
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)
    return BankDetails(
        type=given.type,
        bank_name=given.bank_name.strip(),
        account_number=given.account_number,
        account_holder=given.account_holder.strip(),
        routing_number="".join(given.routing_number.split()),
        metadata=given.metadata,
        **numbers,
    )


def _emit(
    what: str,
    instruction: BankTransferInstruction,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        f"bank_transfer_instruction.{what}",
        subject=instruction,
        account_id=instruction.account_id,
        at=at,
        actor=actor,
        data={
            "id": instruction.public_id,
            "type": instruction.type,
            "status": instruction.status,
            "reference": instruction.reference,
            "currency": instruction.currency,
            "bank_name": instruction.bank_name,
            "account_number": instruction.account_number,
        },
        previous=previous,
        reason=reason,
    )
