"""
Overcharges corrected: the prepaid balance gets back a part of what a movement took.

A correction leaves the lots as if the movement had been smaller: what was taken last comes back first, into the lot it
came from while that runs, else as a new undated lot. So money that was given away never comes back as paid money.
Source: contract chapter Ledger; ADR 0021.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Sum

from accounts.models import Account, CreditLot, LedgerEntry, LedgerKind, LotTaking, Posting
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account, lock_open_account
from accounts.services.ledger import NewEntry, PostingSpec
from accounts.services.prepaid import Parts, PrepaidBalance, PrepaidChange, lock_balance, require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from billing_site.kernel.ids import encode_id, new_uuid

REFUND_TYPE = "billing-correction"
# What paid an invoice comes back when the invoice is voided, never by itself: the document would say something else.
_OF_DOCUMENTS = ("invoice_payment",)


class AmountExceedsRefundable(DomainError):
    """Member `refundable` is minor units."""

    code, title, status = "amount_exceeds_refundable", "More than the movement took", 422


class CurrencyMismatch(DomainError):
    code, title, status = "currency_mismatch", "The movement is in another currency", 422


@dataclass(frozen=True, slots=True)
class _Original:
    """The movement to correct: what it took, what came back already, and where the money went."""

    entry: LedgerEntry
    taken: int
    corrected: int
    counter: tuple[str, bool]

    @property
    def refundable(self) -> int:
        return max(0, self.taken - self.corrected)


@transaction.atomic
def correct_movement(
    *,
    account: Account,
    amount: int,
    currency: str,
    original_transaction_id: str,
    at: datetime,
    actor: Actor,
    notes: str = "",
    key: str | None = None,
    reason: str = "",
) -> LedgerEntry:
    """
    Give `amount` minor units of what a movement took back to the prepaid balance and return the new entry.

    It is linked to the original (`reverses`), and the money comes from where the original put it. All corrections of
    one movement stay within its amount; a movement that took nothing, such as a deposit, has nothing to correct. A
    `key` seen before answers the first entry.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises NotFound: when the account has no such movement. :raises CurrencyMismatch: when it is in another currency.
    :raises AmountExceedsRefundable: when all corrections together would pass it.
    :raises InvalidState: when the account is closed, or the movement paid an invoice.
    """
    require_amount(amount)
    currency = require_currency(currency)
    account = lock_open_account(account.pk)
    key = key or f"correction:{encode_id(LedgerEntry.id_prefix, new_uuid())}"
    if first := LedgerEntry.objects.filter(key=key).first():
        return first
    balance = lock_balance(account, currency=currency, at=at)
    original = _find_original(account, original_transaction_id, currency)
    if original.entry.type in _OF_DOCUMENTS:
        raise InvalidState("The movement paid an invoice; void the invoice instead.", current_status="invoice_payment")
    if amount > original.refundable:
        raise AmountExceedsRefundable(
            f"{original.refundable} of {max(0, original.taken)} can be corrected.", refundable=original.refundable
        )
    metadata = {"refund_type": REFUND_TYPE, "original_transaction_id": original.entry.public_id}
    entry = _new_entry(original, balance, amount, key=key, tags="refund", notes=notes, metadata=metadata)
    return _give_back(original, balance, entry, amount, actor=actor, reason=reason)


@transaction.atomic
def give_back_prepaid(*, entry: LedgerEntry, at: datetime, actor: Actor, reason: str = "") -> LedgerEntry:
    """
    Undo a payment out of the prepaid balance and return the entry that does; doing it again answers the first.

    The lots are left as if nothing had been spent; what came from a lot that ended since becomes an undated one. Also
    on a closed account. For payments of documents that are voided.
    :raises NotFound: when the entry took no prepaid money.
    """
    if entry.account_id is None:
        raise NotFound("transaction")
    account = lock_account(entry.account_id)
    key = f"giveback:{entry.public_id}"
    if first := LedgerEntry.objects.filter(key=key).first():
        return first
    legs = Posting.objects.filter(entry=entry, ledger_account__kind=LedgerKind.PREPAID, amount__gt=0)
    leg = legs.values_list("currency", "amount").first()
    if leg is None:
        raise NotFound("transaction")
    balance = lock_balance(account, currency=leg[0], at=at)
    original = _find_original(account, entry.public_id, leg[0])
    metadata = {**entry.metadata, "original_transaction_id": entry.public_id}
    notes = reason.strip() or "Prepaid money given back"
    back = _new_entry(original, balance, leg[1], key=key, tags="", notes=notes, metadata=metadata)
    return _give_back(original, balance, back, leg[1], actor=actor, reason=reason)


def _new_entry(
    original: _Original,
    balance: PrepaidBalance,
    amount: int,
    *,
    key: str,
    tags: str,
    notes: str,
    metadata: dict[str, Any],
) -> NewEntry:
    account, currency = balance.account, balance.currency
    kind, is_own = original.counter
    return NewEntry(
        key=key,
        type="refund",
        account_id=account.pk,
        postings=[
            PostingSpec(kind, account.pk if is_own else None, currency, amount),
            PostingSpec(LedgerKind.PREPAID, account.pk, currency, -amount),
        ],
        at=balance.at,
        livemode=account.livemode,
        description=notes,
        tags=tags,
        metadata=metadata,
        reverses_id=original.entry.pk,
    )


def _give_back(
    original: _Original, balance: PrepaidBalance, entry: NewEntry, amount: int, *, actor: Actor, reason: str
) -> LedgerEntry:
    """Put the money back into the lots it came from, or into a new one, and write `entry`."""
    data = {
        "amount": amount,
        "currency": balance.currency,
        "notes": entry.description,
        "tags": entry.tags,
        **entry.metadata,
    }
    change = PrepaidChange()
    back, fresh, promotional = _share_out(original, balance, amount)
    change.add(entry, back, event="balance.deposited", data=data, reason=reason)
    if fresh:
        change.open_lot(entry, balance, amount=fresh, remaining=fresh, promotional=promotional)
    return change.write(actor=actor)[entry.key]


def _find_original(account: Account, public_id: str, currency: str) -> _Original:
    """Return the movement, read under the account's lock, so that no other correction comes between."""
    pk = LedgerEntry.parse_id(public_id)
    legs = list(Posting.objects.filter(entry=pk).select_related("entry", "ledger_account")) if pk else []
    own = [leg for leg in legs if leg.ledger_account.kind == "prepaid" and leg.ledger_account.account_id == account.pk]
    if not own:
        raise NotFound("transaction")
    leg = next((leg for leg in own if leg.currency == currency), None)
    if leg is None:
        raise CurrencyMismatch(f"The movement is in {own[0].currency.upper()}.")
    given = Posting.objects.filter(entry__reverses=pk, ledger_account=leg.ledger_account).aggregate(total=Sum("amount"))
    counters = [other for other in legs if other.currency == currency and other.amount < 0]
    pot = counters[0].ledger_account if len(counters) == 1 else None
    counter = (LedgerKind.REVENUE.value, False) if pot is None else (pot.kind, pot.account_id is not None)
    return _Original(leg.entry, taken=leg.amount, corrected=-(given["total"] or 0), counter=counter)


def _share_out(original: _Original, balance: PrepaidBalance, amount: int) -> tuple[Parts, int, bool]:
    """
    Return what goes back into lots (below zero), how much becomes a new lot, and whether that one is promotional.

    What the balance owes is paid off first and goes nowhere. Lots change in memory.
    """
    # The original, backwards: what no lot gave was taken last. Earlier corrections used up the front of this row.
    takings = list(LotTaking.objects.filter(entry=original.entry, amount__gt=0).order_by("-id"))
    locked = CreditLot.objects.select_for_update(no_key=True).in_bulk([taking.lot_id for taking in takings])
    known = {lot.pk: lot for lot in balance.lots}
    sources: list[tuple[CreditLot | None, int]] = [(None, original.taken - sum(taking.amount for taking in takings))]
    sources += [(known.get(taking.lot_id, locked[taking.lot_id]), taking.amount) for taking in takings]
    skipped = original.corrected + balance.pay_debt(amount)
    open_amount = original.corrected + amount - skipped
    back: Parts = []
    fresh, promotional = 0, False
    for lot, given in sources:
        passed = min(skipped, given)
        part = min(given - passed, open_amount)
        skipped, open_amount = skipped - passed, open_amount - part
        if lot is not None and not balance.has_ended(lot) and part <= lot.amount - lot.remaining:
            lot.remaining += part
            back.append((lot, -part))
        else:
            fresh, promotional = fresh + part, promotional or (lot is not None and lot.promotional and part > 0)
    return back, fresh, promotional
