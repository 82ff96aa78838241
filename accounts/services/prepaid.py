"""
Prepaid balances under their locks: what may be spent, what ends, and how a change is written.

Money comes in as lots. It is spent from lots by earliest end date, given away before paid, oldest first; then from
undated lots, then from money outside lots. What pending holds need does not expire before they end. The caller holds
the lock of the account; locks follow in the order account, ledger account, hold, lot. A transaction writes one
`PrepaidChange`, as late as possible, because it locks the platform's busy ledger accounts.
Source: contract chapter Ledger; policies, rule 23; ADR 0021.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import F

from accounts.models import Account, CreditLot, Hold, HoldStatus, LedgerAccount, LedgerEntry, LedgerKind, LotTaking
from accounts.services.ledger import NewEntry, PostingSpec, post_entries
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, ValidationFailed
from billing_site.platform.models.bulk import copy_rows, update_rows
from billing_site.platform.services import events

MAX_AMOUNT: Final = 10**15
_SPENDING_ORDER: Final = (F("expires_at").asc(nulls_last=True), "-promotional", "created_at", "id")

Parts = list[tuple[CreditLot, int]]


class InsufficientBalance(DomainError):
    """Members `available` and `required` are minor units."""

    code, title, status = "insufficient_balance", "There is not enough available money", 402


def require_amount(amount: int) -> None:
    """:raises AmountNotPositive: for zero or less. :raises ValidationFailed: beyond what is moved at once."""
    if amount <= 0:
        raise AmountNotPositive
    if amount > MAX_AMOUNT:
        raise ValidationFailed.of("/amount", "max_value", f"At most {MAX_AMOUNT} minor units at once.")


@dataclass(slots=True)
class PrepaidBalance:
    """
    One account's prepaid money in one currency at `at`, minor units, changed in memory as a change is planned.

    `posted` is below zero when usage was charged past it. `lots` have something left and are in spending order.
    """

    account: Account
    currency: str
    at: datetime
    posted: int
    held: int
    lots: list[CreditLot]

    @property
    def available(self) -> int:
        """Posted less pending holds, never below zero."""
        return max(0, self.posted - self.held)

    @property
    def withdrawable(self) -> int:
        """What is available and was neither given away nor has ended."""
        kept = sum(lot.remaining for lot in self.lots if lot.promotional or self.has_ended(lot))
        return max(0, min(self.available, self.posted - kept))

    def has_ended(self, lot: CreditLot) -> bool:
        return lot.expires_at is not None and lot.expires_at <= self.at

    def take(self, amount: int, *, paid_only: bool = False, held: bool = False) -> Parts:
        """
        Take `amount` and return which lots give how much of it.

        `paid_only` leaves what was given away; `held` spends ended lots, which only holds keep, first instead of last.
        What no lot gives is money outside lots, or becomes debt.
        """
        outside = max(0, self.posted - sum(lot.remaining for lot in self.lots))
        open_amount, parts = amount, []
        running = [lot for lot in self.lots if held or not self.has_ended(lot)]
        for lot in [*running, None, *(lot for lot in self.lots if lot not in running)]:
            if lot is None:
                open_amount -= min(outside, open_amount)
            elif not (paid_only and lot.promotional) and (part := min(lot.remaining, open_amount)):
                lot.remaining -= part
                open_amount -= part
                parts.append((lot, part))
        self.posted -= amount
        return parts

    def pay_debt(self, amount: int) -> int:
        """Add `amount` to the balance and return how much of it an earlier debt takes."""
        paid = min(amount, max(0, -self.posted))
        self.posted += amount
        return paid

    def find_expiry(self) -> Parts:
        """Take what ended and no pending hold needs, and return it by lot."""
        parts: Parts = []
        for lot in self.lots:
            if self.has_ended(lot) and (part := min(lot.remaining, self.available)):
                lot.remaining -= part
                self.posted -= part
                parts.append((lot, part))
        return parts


def lock_balances(
    accounts: Iterable[Account], *, at: Mapping[UUID, datetime], currency: str | None = None
) -> list[PrepaidBalance]:
    """
    Lock the prepaid money of accounts whose rows the caller has locked, and return it, in one currency or in all.

    With a currency there is one balance per account, at zero where it never held any. The number of statements does
    not depend on the number of accounts.
    """
    return _read_balances(accounts, at=at, currency=currency, lock=True)


def read_balances(accounts: Iterable[Account], *, at: Mapping[UUID, datetime]) -> list[PrepaidBalance]:
    """Return the prepaid money of accounts in all currencies without locking anything, for previews."""
    return _read_balances(accounts, at=at, currency=None, lock=False)


def _read_balances(
    accounts: Iterable[Account], *, at: Mapping[UUID, datetime], currency: str | None, lock: bool
) -> list[PrepaidBalance]:
    owners = {account.pk: account for account in accounts}
    only = {} if currency is None else {"currency": currency}
    pots = LedgerAccount.objects.filter(account_id__in=owners, kind=LedgerKind.PREPAID, **only).order_by("id")
    pots = pots.select_for_update(no_key=True) if lock else pots
    posted = {(pot.account_id, pot.currency): -pot.balance for pot in pots}
    if currency is not None:
        posted = {(pk, currency): posted.get((pk, currency), 0) for pk in owners}
    holds = Hold.objects.filter(account_id__in=owners, status=HoldStatus.PENDING, **only)
    held: dict[tuple[UUID, str], int] = defaultdict(int)
    for owner, code, amount, ends_at in holds.values_list("account_id", "currency", "amount", "expires_at"):
        held[owner, code] += amount if ends_at > at[owner] else 0
    lots: dict[tuple[UUID, str], list[CreditLot]] = defaultdict(list)
    left = CreditLot.objects.filter(account_id__in=owners, remaining__gt=0, **only).order_by(*_SPENDING_ORDER)
    for lot in left.select_for_update(no_key=True) if lock else left:
        lots[lot.account_id, lot.currency].append(lot)
    return [
        PrepaidBalance(owners[owner], code, at[owner], amount, held[owner, code], lots[owner, code])
        for (owner, code), amount in posted.items()
        if owner is not None
    ]


def lock_balance(account: Account, *, currency: str, at: datetime) -> PrepaidBalance:
    """Lock the prepaid money of an account, whose row the caller has locked, in one currency."""
    return lock_balances([account], at={account.pk: at}, currency=currency)[0]


@dataclass(slots=True)
class PrepaidChange:
    """What one transaction does to prepaid balances: entries, lots, and what happened. Nothing is written before."""

    entries: list[NewEntry] = field(default_factory=list)
    opened: list[tuple[str, CreditLot]] = field(default_factory=list)
    takings: list[tuple[str, CreditLot, int]] = field(default_factory=list)
    announced: list[tuple[str, NewEntry, dict[str, Any], str]] = field(default_factory=list)

    def add(self, entry: NewEntry, parts: Parts, *, event: str, data: dict[str, Any], reason: str = "") -> None:
        """Plan an entry, what it takes from lots (below zero: gives back), and the event that tells of it."""
        self.entries.append(entry)
        self.takings += [(entry.key, lot, part) for lot, part in parts if part]
        self.announced.append((event, entry, data, reason))

    def open_lot(
        self, entry: NewEntry, balance: PrepaidBalance, *, amount: int, remaining: int, promotional: bool
    ) -> None:
        """Plan a lot for money that `entry` brings; what is not `remaining` pays a debt at once."""
        lot = CreditLot(
            account_id=balance.account.pk,
            currency=balance.currency,
            amount=amount,
            remaining=remaining,
            promotional=promotional,
            expires_at=entry.expires_at,
            created_at=entry.at,
        )
        self.opened.append((entry.key, lot))
        if remaining < amount:
            self.takings.append((entry.key, lot, amount - remaining))

    def expire(self, balance: PrepaidBalance) -> int:
        """Plan the return of what ended in `balance`; answers from how many lots."""
        parts = balance.find_expiry()
        for lot, part in parts:
            entry = NewEntry(
                # What a hold kept ends later, in an entry of its own: by then less is left of the lot.
                key=f"expiry:{lot.public_id}:{lot.remaining + part}",
                type="expiry",
                account_id=lot.account_id,
                postings=[
                    PostingSpec(LedgerKind.PREPAID, lot.account_id, lot.currency, part),
                    PostingSpec(LedgerKind.PROMOTIONS, None, lot.currency, -part),
                ],
                at=balance.at,
                livemode=balance.account.livemode,
                description="Expired deposit",
                tags="expired",
                metadata={"lot_id": lot.public_id},
            )
            data = {"lot_id": lot.public_id, "amount": part, "currency": lot.currency}
            self.add(entry, [(lot, part)], event="balance.expired", data=data)
        return len(parts)

    def write(self, *, actor: Actor, along: Sequence[NewEntry] = ()) -> dict[str, LedgerEntry]:
        """
        Write everything in the caller's transaction and return the entries by key.

        `along` are further entries of the transaction that are posted in the same batch.
        """
        entries = [*along, *self.entries]
        if not entries:
            return {}
        written = dict(zip([entry.key for entry in entries], post_entries(entries), strict=True))
        for key, lot in self.opened:
            lot.entry = written[key]
        copy_rows([lot for _, lot in self.opened])
        copy_rows([LotTaking(lot=lot, entry=written[key], amount=part) for key, lot, part in self.takings])
        fresh = {lot.pk for _, lot in self.opened}
        touched = {lot.pk: lot for _, lot, _ in self.takings if lot.pk not in fresh}
        update_rows(touched.values(), {"remaining": "bigint"})
        events.emit_many(
            [
                events.NewEvent(
                    type=event,
                    subject=written[entry.key],
                    account_id=entry.account_id,
                    at=entry.at,
                    actor=actor,
                    data={"transaction_id": written[entry.key].public_id, **data},
                    reason=reason,
                )
                for event, entry, data, reason in self.announced
            ]
        )
        return written
