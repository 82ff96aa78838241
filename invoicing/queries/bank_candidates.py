"""Whose money a bank transfer may be that quotes no active reference: suggestions, from what stands in it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import F, Q, QuerySet

from accounts.models import Account
from invoicing.models import BankTransfer, BankTransferInstruction, Invoice, InvoiceStatus

_HEX: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?![0-9a-f])")
_NUMBER: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*-\d{3,}")
_SHOWN: Final = 10
_LOOKED_AT: Final = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account and why it may be the payer's, the strongest reason first."""

    account: Account
    reasons: tuple[str, ...]


def list_candidates(transfer: BankTransfer) -> list[Candidate]:
    """
    Return accounts whose money a waiting transfer may be, the likeliest first; at most ten. Nothing is booked by them.

    A reference in the text counts most, also one that has expired, then the number of an open invoice, then an amount
    that is exactly what remains of one, then the name of the payer.
    """
    text = f"{transfer.reference} {transfer.text}".casefold()
    found: dict[UUID, list[tuple[int, str]]] = defaultdict(list)
    words = {*_HEX.findall(text), transfer.reference_key[:8]}
    for each in _in_house(BankTransferInstruction.objects.filter(reference__in=words), transfer)[:_LOOKED_AT]:
        found[each.account_id].append((0, f"its reference {each.reference} ({each.status})"))
    numbers = Q(pk__in=[])
    for number in sorted(set(_NUMBER.findall(text)))[:_LOOKED_AT]:
        numbers |= Q(number_text__iexact=number)
    open_ones = _in_house(
        Invoice.objects.filter(status__in=(InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)), transfer
    )
    for invoice in open_ones.filter(numbers)[:_LOOKED_AT]:
        found[invoice.account_id].append((1, f"{invoice} is named"))
    rest = open_ones.filter(currency=transfer.currency).annotate(rest=F("amount_due") - F("amount_paid"))
    for invoice in rest.filter(rest=transfer.amount).order_by("due_date", "id")[:_LOOKED_AT]:
        found[invoice.account_id].append((2, f"exactly this remains of {invoice}"))
    if name := " ".join(transfer.payer_name.split()):
        named = Account.objects.filter(Q(name__iexact=name) | Q(company__iexact=name), livemode=transfer.livemode)
        named = named if not transfer.org_id else named.filter(org_id=transfer.org_id)
        for account in named.order_by("id")[:_LOOKED_AT]:
            found[account.pk].append((3, "its name"))
    accounts = Account.objects.in_bulk(list(found))
    ranked = sorted(found.items(), key=lambda item: (min(item[1]), -len(item[1]), item[0]))
    return [
        Candidate(accounts[key], tuple(dict.fromkeys(reason for _, reason in sorted(reasons))))
        for key, reasons in ranked[:_SHOWN]
    ]


def _in_house(rows: QuerySet[Any], transfer: BankTransfer) -> QuerySet[Any]:
    """Narrow to the mode of a transfer, and to its organization where it has one."""
    rows = rows.filter(livemode=transfer.livemode)
    return rows if not transfer.org_id else rows.filter(org_id=transfer.org_id)
