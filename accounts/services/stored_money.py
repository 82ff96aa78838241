"""
The stored money of accounts that are being billed: invoice credit, credit grants, prepaid balance.

It is read once for all accounts of a billing pass, under the locks of the accounts that have any, and spent in memory,
so that the documents of one account see what the ones before them took. `write_payments` then books everything in one
batch. Read without locks it serves previews, which spend the same way and write nothing.
Source: policies, rules 22 to 24; contract chapters Credits and Collection; ADR 0023.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Account, CreditBurn, CreditGrant, LedgerAccount, LedgerEntry, LedgerKind
from accounts.queries.credit_grants import list_usable
from accounts.services.credit_burning import renew_locked_grants
from accounts.services.credit_grants import new_grant_event
from accounts.services.ledger import NewEntry, PostingSpec
from accounts.services.prepaid import Parts, PrepaidBalance, PrepaidChange, lock_balances, read_balances
from accounts.terms.burning import BurnableGrant, Charge
from accounts.terms.settling import Settlement, settle
from billing_site.kernel.actors import Actor
from billing_site.platform.models.bulk import copy_rows, update_rows
from billing_site.platform.services import events

_STORED_KINDS = (LedgerKind.PREPAID, LedgerKind.INVOICE_CREDIT, LedgerKind.CREDIT_GRANTS)


@dataclass(slots=True)
class Wallet:
    """What one account has at `at`, minor units by currency, changed in memory as it is spent."""

    account: Account
    at: datetime
    invoice_credit: dict[str, int] = field(default_factory=dict)
    balances: dict[str, PrepaidBalance] = field(default_factory=dict)
    grants: dict[str, CreditGrant] = field(default_factory=dict)
    burnable: dict[str, BurnableGrant] = field(default_factory=dict)

    def add_grant(self, grant: CreditGrant, facts: BurnableGrant) -> None:
        """Put a grant in: its row, and what decides whether it pays."""
        self.grants[grant.public_id] = grant
        self.burnable[grant.public_id] = facts

    def drop_grant(self, grant: CreditGrant) -> None:
        """Take a grant out that pays no more."""
        del self.grants[grant.public_id], self.burnable[grant.public_id]


@dataclass(frozen=True, slots=True)
class Payment:
    """What an account's stored money pays of one bill: `parts` is what the prepaid lots gave."""

    wallet: Wallet
    currency: str
    settlement: Settlement
    parts: Parts


@dataclass(frozen=True, slots=True)
class PaymentToWrite:
    """
    A payment with what is booked of it.

    `key` makes it happen once: the entries are `credit:{key}`, `burn:{key}` and `balance:{key}`. `metadata` and
    `description` name the document.
    """

    payment: Payment
    key: str
    charges: Sequence[Charge]
    at: datetime
    livemode: bool
    description: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PaidPart:
    """One source of a written payment: a grant, or without one the balance that the `kind` of ledger account names."""

    kind: str
    amount: int
    entry: LedgerEntry
    grant: CreditGrant | None = None


class StoredMoney:
    """The wallets of the accounts that have any; the others pay nothing."""

    def __init__(self, wallets: Iterable[Wallet] = ()) -> None:
        self.wallets = {wallet.account.pk: wallet for wallet in wallets}
        self._change = PrepaidChange()

    def pay(self, *, account: Account, charges: Sequence[Charge], currency: str) -> Payment | None:
        """
        Spend what the account has on `charges`, which are in one currency, and say how; None when it pays nothing.

        In memory: the next call finds less.
        """
        wallet = self.wallets.get(account.pk)
        if wallet is None or not charges:
            return None
        balance = wallet.balances.get(currency)
        if balance is not None:
            self._change.expire(balance)
        settlement = settle(
            charges,
            invoice_credit=wallet.invoice_credit.get(currency, 0),
            grants=wallet.burnable.values(),
            prepaid=balance.available if balance is not None else 0,
            at=wallet.at,
        )
        if not settlement.applied:
            return None
        if settlement.invoice_credit:
            wallet.invoice_credit[currency] -= settlement.invoice_credit
        for part in settlement.burn.allocations:
            facts = wallet.burnable[part.grant]
            wallet.burnable[part.grant] = replace(facts, remaining=facts.remaining - part.amount)
        taken = balance.take(settlement.prepaid) if balance is not None and settlement.prepaid else []
        return Payment(wallet, currency, settlement, taken)

    def pay_bill(
        self, *, account: Account, charges: Sequence[Charge], total: int, currency: str, at: datetime
    ) -> Payment | None:
        """
        Spend what the account has on a bill and say how; None when it pays nothing.

        A bill below zero becomes invoice credit, which the bills after it find. Source: policies, rule 24.
        """
        if total < 0:
            wallet = self.wallets.setdefault(account.pk, Wallet(account, at))
            wallet.invoice_credit[currency] = wallet.invoice_credit.get(currency, 0) - total
            return None
        return self.pay(account=account, charges=charges, currency=currency)

    def write_payments(
        self, payments: Sequence[PaymentToWrite], *, along: Sequence[NewEntry], actor: Actor
    ) -> list[list[PaidPart]]:
        """
        Book the payments and `along`, further entries, in one batch, and return the parts of each payment in the order
        in which they paid.

        The number of statements does not depend on how many there are. Every payment settles what the account owes
        (`receivable`).
        """
        change, self._change = self._change, PrepaidChange()
        entries = [*along]
        for each in payments:
            settlement = each.payment.settlement
            if settlement.invoice_credit:
                entries.append(_new_entry(each, "credit", LedgerKind.INVOICE_CREDIT, settlement.invoice_credit))
            if settlement.granted:
                entries.append(_new_entry(each, "burn", LedgerKind.CREDIT_GRANTS, settlement.granted))
            if settlement.prepaid:
                entry = _new_entry(each, "balance", LedgerKind.PREPAID, settlement.prepaid)
                data = {"amount": settlement.prepaid, "currency": each.payment.currency, **each.metadata}
                change.add(entry, each.payment.parts, event="balance.charged", data=data)
        written = change.write(actor=actor, along=entries)
        _write_burns(payments, written)
        events.emit_many([event for each in payments for event in _list_events(each, written, actor)])
        return [_list_parts(each, written) for each in payments]


def lock_stored_money(
    *,
    account_ids: Collection[UUID] | QuerySet[Any],
    at: datetime,
    actor: Actor,
    besides: Q | None = None,
) -> StoredMoney:
    """
    Lock those of the accounts that have anything stored, in the order of their ids, and return what they have.

    One statement finds and locks them; only when there are any do more follow, a fixed number of them. To be called
    before anything else is locked. Recurring grants that are due are set back. An account on a test clock counts by
    that clock, the others by `at`. `besides` names accounts to lock even so.
    """
    pots = LedgerAccount.objects.filter(account=OuterRef("pk"), kind__in=_STORED_KINDS, balance__lt=0)
    renewals = CreditGrant.objects.filter(account=OuterRef("pk"), renews_at__isnull=False)
    wanted = Q(Exists(pots)) | Q(Exists(renewals))
    accounts = list(
        Account.objects.filter(wanted if besides is None else wanted | besides, pk__in=account_ids)
        .select_related("test_clock")
        .order_by("id")
        .select_for_update(no_key=True, of=("self",))
    )
    if not accounts:
        return StoredMoney()
    times = _get_times(accounts, at)
    due = CreditGrant.objects.filter(account_id__in=times, renews_at__lte=max(times.values()))
    if due.exists():
        # Setting back books against the platform's pots, which come last: those of the accounts are locked before.
        own = LedgerAccount.objects.select_for_update(no_key=True).filter(account_id__in=account_ids)
        list(own.order_by("id").values_list("id", flat=True))
        renew_locked_grants(times=times, actor=actor)
    return _load(accounts, times, lock=True)


def read_stored_money(*, accounts: Iterable[Account], at: datetime) -> StoredMoney:
    """Return what the accounts have, without a lock; to be spent in memory only. Accounts come with their clock."""
    found = {account.pk: account for account in accounts}
    return _load(list(found.values()), _get_times(found.values(), at), lock=False)


def _get_times(accounts: Iterable[Account], at: datetime) -> dict[UUID, datetime]:
    return {account.pk: account.clock_time or at for account in accounts}


def _load(accounts: Sequence[Account], times: Mapping[UUID, datetime], *, lock: bool) -> StoredMoney:
    wallets = {account.pk: Wallet(account, times[account.pk]) for account in accounts}
    pots = LedgerAccount.objects.filter(account_id__in=wallets, kind=LedgerKind.INVOICE_CREDIT).order_by("id")
    for pot in pots.select_for_update(no_key=True) if lock else pots:
        if pot.account_id is not None:
            wallets[pot.account_id].invoice_credit[pot.currency] = -pot.balance
    for balance in lock_balances(accounts, at=times) if lock else read_balances(accounts, at=times):
        wallets[balance.account.pk].balances[balance.currency] = balance
    spendable = Q(remaining__gt=0) | Q(renews_at__isnull=False)
    rows = CreditGrant.objects.filter(spendable, account_id__in=wallets, voided_at__isnull=True).order_by("id")
    for grant in (rows.select_for_update(of=("self",)) if lock else rows).prefetch_related("limits__meter"):
        wallet = wallets[grant.account_id]
        usable = list_usable([grant], at=wallet.at)
        facts = usable[0][1] if usable else grant.as_burnable()
        wallet.add_grant(grant, facts)
    return StoredMoney(wallets.values())


def _new_entry(each: PaymentToWrite, word: str, kind: LedgerKind, amount: int) -> NewEntry:
    payment = each.payment
    owner = payment.wallet.account.pk
    return NewEntry(
        key=f"{word}:{each.key}",
        type="credit_burn" if kind == LedgerKind.CREDIT_GRANTS else "invoice_payment",
        account_id=owner,
        postings=[
            PostingSpec(kind, owner, payment.currency, amount),
            PostingSpec(LedgerKind.RECEIVABLE, owner, payment.currency, -amount),
        ],
        at=each.at,
        livemode=each.livemode,
        description=each.description,
        metadata=each.metadata,
    )


def _write_burns(payments: Sequence[PaymentToWrite], written: Mapping[str, LedgerEntry]) -> None:
    """Write what each grant paid of which charge, and what is left of the grants."""
    rows: list[CreditBurn] = []
    touched: dict[UUID, CreditGrant] = {}
    for each in payments:
        meters = {charge.key: charge.meter or "" for charge in each.charges}
        for part in each.payment.settlement.burn.allocations:
            grant = each.payment.wallet.grants[part.grant]
            grant.remaining -= part.amount
            touched[grant.pk] = grant
            rows.append(
                CreditBurn(
                    grant=grant,
                    entry=written[f"burn:{each.key}"],
                    charge=part.charge,
                    meter=meters[part.charge],
                    amount=part.amount,
                    created_at=each.at,
                )
            )
    copy_rows(rows)
    update_rows(touched.values(), {"remaining": "bigint"})


def _list_events(each: PaymentToWrite, written: Mapping[str, LedgerEntry], actor: Actor) -> list[events.NewEvent]:
    """Return the events of what was taken from invoice credit and grants; prepaid money has told its own."""
    payment, settlement = each.payment, each.payment.settlement
    account_id = payment.wallet.account.pk
    found = []
    if settlement.invoice_credit:
        entry = written[f"credit:{each.key}"]
        data = {
            "transaction_id": entry.public_id,
            "amount": settlement.invoice_credit,
            "currency": payment.currency,
            **each.metadata,
        }
        event = events.NewEvent(
            "customer_balance.applied", subject=entry, account_id=account_id, at=each.at, actor=actor, data=data
        )
        found.append(event)
    for name in dict.fromkeys(part.grant for part in settlement.burn.allocations):
        event = new_grant_event(
            "burned",
            payment.wallet.grants[name],
            at=each.at,
            actor=actor,
            burned=settlement.burn.paid_by(name),
            transaction_id=written[f"burn:{each.key}"].public_id,
            **each.metadata,
        )
        found.append(event)
    return found


def _list_parts(each: PaymentToWrite, written: Mapping[str, LedgerEntry]) -> list[PaidPart]:
    settlement, grants = each.payment.settlement, each.payment.wallet.grants
    parts = []
    if settlement.invoice_credit:
        parts.append(PaidPart(LedgerKind.INVOICE_CREDIT, settlement.invoice_credit, written[f"credit:{each.key}"]))
    for name in dict.fromkeys(part.grant for part in settlement.burn.allocations):
        amount = settlement.burn.paid_by(name)
        parts.append(PaidPart(LedgerKind.CREDIT_GRANTS, amount, written[f"burn:{each.key}"], grants[name]))
    if settlement.prepaid:
        parts.append(PaidPart(LedgerKind.PREPAID, settlement.prepaid, written[f"balance:{each.key}"]))
    return parts
