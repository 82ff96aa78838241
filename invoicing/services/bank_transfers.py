"""
Transfers that arrive at the bank: every one is kept, and booked once as invoice credit of whose reference it quotes.

What quotes no active reference, or comes in another currency, waits for a person. Locks: account, subscriptions, the
account's ledger accounts, transfer, invoices. Source: contract chapter Bank transfers; ADR 0053.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction

from accounts.models import Account, LedgerKind
from accounts.services import ledger
from accounts.services.account_locks import lock_account
from accounts.services.prepaid import require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.platform.models import Approval
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from billing_site.platform.services.work_items import settle_work_item
from invoicing.models import (
    BankTransfer,
    BankTransferInstruction,
    BankTransferStatus,
    BankTransferUse,
    InstructionStatus,
    Mismatch,
    TransferSource,
)
from invoicing.queries.members import lock_subscriptions_of
from invoicing.queries.owed import list_owed_invoices
from invoicing.services.bank_instructions import mask_number, normalise_reference
from invoicing.services.bank_transfer_rows import UNMATCHED_KIND, ask_operators, emit_transfer, tell_difference
from invoicing.services.invoice_credit_payments import settle_from_invoice_credit

_SHOWN_REFERENCE: Final = 140


class ReferenceNotMatched(DomainError):
    """Member `bank_transfer_id` is the row that waits in the review list."""

    code, title, status = "reference_not_matched", "No active instruction has this reference", 404


class CurrencyMismatch(DomainError):
    """Members `expected`, the currency of the instruction, and `bank_transfer_id`."""

    code, title, status = "currency_mismatch", "The transfer is in another currency", 422


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    A transfer as the bank, or who reads its statements, tells of it: `amount` minor units of `currency`.

    `bank_transaction_id` is the bank's own name of it, the strongest guard against booking it twice.
    """

    reference: str
    amount: int
    currency: str
    bank_transaction_id: str = ""
    received_at: datetime | None = None
    payer_name: str = ""
    payer_account: str = ""
    text: str = ""
    source: str = TransferSource.API


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The transfer as it is kept. `is_duplicate`: it was booked before, and this told of it again."""

    transfer: BankTransfer
    is_duplicate: bool = False

    def require_match(self) -> None:
        """
        Refuse a transfer that was kept but not booked. To be called once it is committed.

        :raises ReferenceNotMatched, CurrencyMismatch: what kept it from being booked.
        """
        if self.transfer.status != BankTransferStatus.MATCHED:
            raise _explain(self.transfer)


@transaction.atomic
def receive_transfer(
    *,
    arrival: Arrival,
    at: datetime,
    actor: Actor,
    apply_to_invoices: bool = False,
    org_id: str | None = None,
    livemode: bool = False,
    mark: RequestMark | None = None,
) -> Reconciled:
    """
    Keep a transfer, book it as invoice credit when it quotes an active reference in its currency, and return it.

    What cannot be booked is kept for review: ask the outcome `require_match`, after commit. A transfer that is known by
    its bank transaction, or a request by its key, answers the first; one that waits is tried anew. `org_id` limits
    whose references count. With `apply_to_invoices` invoice credit then settles what is owed, oldest first. `at` is
    real time: an account on a test clock is booked by its own.
    :raises AmountNotPositive: for nothing. :raises RequestKeyReused: when the key came with another request.
    """
    require_amount(arrival.amount)
    mark = mark or RequestMark()
    if (repeated := find_repeated(mark)) is not None:
        return _repeat(_get_transfer(repeated))
    instruction = _find_instruction(arrival.reference, org_id=org_id, livemode=livemode)
    if instruction is not None:
        lock_account(instruction.account_id)
    transfer, is_new = _keep(arrival, at=at, org_id=org_id, livemode=livemode)
    if org_id is not None and transfer.org_id not in ("", org_id):
        raise ReferenceNotMatched  # known to another organization: nothing is told of it
    remember(mark, subject_id=transfer.public_id, at=at)
    if not is_new and not _is_same(transfer, arrival):
        tell_difference(
            transfer,
            amount=arrival.amount,
            currency=arrival.currency,
            reference=arrival.reference,
            at=at,
            actor=actor,
        )
        return _repeat(transfer)
    if transfer.status != BankTransferStatus.UNMATCHED:
        return _repeat(transfer)
    if not is_new:
        transfer.reference, transfer.reference_key = _clean_reference(arrival.reference)
    mismatch = _find_mismatch(transfer, instruction)
    if instruction is not None and not mismatch:
        book_transfer(
            transfer,
            account=instruction.account,
            instruction=instruction,
            at=at,
            actor=actor,
            apply_to_invoices=apply_to_invoices,
        )
    elif is_new:
        _keep_for_review(transfer, instruction, mismatch, at=at, actor=actor)
    return Reconciled(transfer)


def book_transfer(
    transfer: BankTransfer,
    *,
    account: Account,
    instruction: BankTransferInstruction | None,
    at: datetime,
    actor: Actor,
    apply_to_invoices: bool,
    reason: str = "",
    approval: Approval | None = None,
) -> None:
    """
    Book a locked transfer as invoice credit of a locked account: cash +, invoice credit -, type `bank_transfer`.

    A closed account gets it too: the money is its. With `apply_to_invoices` invoice credit settles what is owed then.
    """
    at = account.clock_time or at
    owed = list(list_owed_invoices(account_id=account.pk, currency=transfer.currency)) if apply_to_invoices else []
    lock_subscriptions_of([invoice.pk for invoice in owed])
    ledger.lock_pots(account_id=account.pk, currency=transfer.currency)  # it posts more than once
    kind = "" if instruction is None else f" ({instruction.get_type_display()})"
    transfer.entry = ledger.post_entry(
        key=f"bank_transfer:{transfer.public_id}",
        type="bank_transfer",
        account_id=account.pk,
        postings=[
            ledger.PostingSpec(LedgerKind.CASH, None, transfer.currency, transfer.amount),
            ledger.PostingSpec(LedgerKind.INVOICE_CREDIT, account.pk, transfer.currency, -transfer.amount),
        ],
        at=at,
        livemode=transfer.livemode,
        description=f"Bank transfer {transfer.reference or transfer.bank_transaction_id}{kind}".replace("  ", " "),
        metadata=_describe_movement(transfer, instruction),
    )
    transfer.account, transfer.instruction, transfer.approval = account, instruction, approval
    transfer.org_id, transfer.mismatch = account.org_id, ""
    transfer.status, transfer.matched_at = BankTransferStatus.MATCHED, at
    transfer.save(
        update_fields=[
            *("entry", "account", "instruction", "approval", "org_id", "mismatch", "reference", "reference_key"),
            *("status", "matched_at", "updated_at"),
        ]
    )
    paid = settle_from_invoice_credit(account=account, invoices=owed, at=at, actor=actor, reason=reason)
    BankTransferUse.objects.bulk_create(
        BankTransferUse(transfer=transfer, invoice=invoice, amount=amount) for invoice, amount in paid
    )
    emit_transfer(
        "matched",
        transfer,
        at=at,
        actor=actor,
        reason=reason,
        previous=BankTransferStatus.UNMATCHED,
        transaction_id=transfer.entry.public_id,
        settled={invoice.public_id: amount for invoice, amount in paid},
    )
    settle_work_item(kind=UNMATCHED_KIND, subject=transfer, at=at, actor=actor, comment=f"Booked for {account}")


def _get_transfer(public_id: str) -> BankTransfer:
    key = BankTransfer.parse_id(public_id)
    rows = BankTransfer.objects.select_related("account", "entry", "instruction")
    found = None if key is None else rows.filter(pk=key).first()
    if found is None:
        raise NotFound("bank_transfer")
    return found


def _find_instruction(reference: str, *, org_id: str | None, livemode: bool) -> BankTransferInstruction | None:
    rows = BankTransferInstruction.objects.select_related("account__test_clock").filter(
        reference=normalise_reference(reference), status=InstructionStatus.ACTIVE, livemode=livemode
    )
    return (rows if org_id is None else rows.filter(org_id=org_id)).first()


def _keep(arrival: Arrival, *, at: datetime, org_id: str | None, livemode: bool) -> tuple[BankTransfer, bool]:
    """Return the locked row of the transfer and whether it is new: the bank's own name of it is kept once."""
    bank_id = arrival.bank_transaction_id.strip()
    known = BankTransfer.objects.select_for_update(no_key=True, of=("self",)).select_related("account", "entry")
    known = known.filter(livemode=livemode, bank_transaction_id=bank_id)
    if bank_id and (first := known.first()) is not None:
        return first, False
    reference, reference_key = _clean_reference(arrival.reference)
    transfer = BankTransfer(
        org_id=org_id or "",
        source=arrival.source,
        reference=reference,
        reference_key=reference_key,
        amount=arrival.amount,
        currency=arrival.currency,
        bank_transaction_id=bank_id,
        received_at=arrival.received_at or at,
        payer_name=arrival.payer_name.strip()[:255],
        payer_account=mask_number(arrival.payer_account),
        text=arrival.text.strip(),
        livemode=livemode,
    )
    try:
        with transaction.atomic():
            transfer.save(force_insert=True)
    except IntegrityError as error:
        if "bank_transfers_bank_id_once" not in str(error):
            raise
        return known.get(), False  # somebody told of it at the same moment, and was first
    return transfer, True


def _clean_reference(text: str) -> tuple[str, str]:
    """Return a reference as it is shown and as it is compared, both no longer than they are kept."""
    return " ".join(text.split())[:_SHOWN_REFERENCE], normalise_reference(text)[:_SHOWN_REFERENCE]


def _is_same(transfer: BankTransfer, arrival: Arrival) -> bool:
    """Tell whether what is told again of a waiting transfer can be its money: the reference may be another."""
    return (transfer.amount, transfer.currency) == (arrival.amount, arrival.currency)


def _repeat(transfer: BankTransfer) -> Reconciled:
    return Reconciled(transfer, is_duplicate=transfer.status == BankTransferStatus.MATCHED)


def _find_mismatch(transfer: BankTransfer, instruction: BankTransferInstruction | None) -> str:
    if instruction is None:
        return Mismatch.NO_REFERENCE
    return "" if instruction.currency == transfer.currency else Mismatch.CURRENCY


def _keep_for_review(
    transfer: BankTransfer,
    instruction: BankTransferInstruction | None,
    mismatch: str,
    *,
    at: datetime,
    actor: Actor,
) -> None:
    transfer.mismatch, transfer.instruction = mismatch, instruction
    transfer.org_id = transfer.org_id if instruction is None else instruction.org_id
    transfer.save(update_fields=["mismatch", "instruction", "org_id", "updated_at"])
    emit_transfer("unmatched", transfer, at=at, actor=actor)
    ask_operators(transfer, at=at, actor=actor)


def _describe_movement(transfer: BankTransfer, instruction: BankTransferInstruction | None) -> dict[str, Any]:
    found = {
        "bank_transfer_id": transfer.public_id,
        "reference": transfer.reference,
        "transfer_type": "" if instruction is None else instruction.type,
        "bank_transaction_id": transfer.bank_transaction_id,
    }
    return {name: value for name, value in found.items() if value}


def _explain(transfer: BankTransfer) -> DomainError:
    waits = "It is kept for review."
    if transfer.status == BankTransferStatus.DISMISSED:
        waits = "It was looked at and dismissed."
    if transfer.mismatch == Mismatch.CURRENCY and transfer.instruction is not None:
        expected = transfer.instruction.currency
        return CurrencyMismatch(
            f"The instruction is in {expected.upper()}, the transfer in {transfer.currency.upper()}. {waits}",
            expected=expected,
            bank_transfer_id=transfer.public_id,
        )
    return ReferenceNotMatched(
        f"No active instruction has this reference. {waits}", bank_transfer_id=transfer.public_id
    )
