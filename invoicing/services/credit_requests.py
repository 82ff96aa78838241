"""
What a credit note is asked to do, and what it comes to before anything is written.

Source: policies, rules 12, 24 to 26; contract chapter Refunds and credit notes; ADR 0041.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.services.corrections import AmountExceedsRefundable
from billing_site.kernel.errors import AmountNotPositive, DomainError, InvalidState, ValidationFailed
from billing_site.kernel.money import format_decimal
from invoicing.calculation.credit_facts import Wish
from invoicing.calculation.credit_notes import (
    CreditDraft,
    CreditExceeds,
    LineUnknown,
    NothingToCredit,
    draft_credit_note,
)
from invoicing.models import CreditReason, Disposition, Invoice
from invoicing.queries.credit_notes import CREDITABLE_STATUSES, load_credit_facts, sum_credited
from invoicing.queries.refundable import list_payment_parts, sum_waiting
from invoicing.services.refund_rows import RefundPart


class AmountExceedsCreditable(DomainError):
    """Member `creditable` is minor units."""

    code, title, status = "amount_exceeds_creditable", "More than is left of the invoice", 422


@dataclass(frozen=True, slots=True)
class RefundWish:
    """
    How the money of a note goes back: `payment` names the only one it may go back through, `batch` the refunds that
    were asked for before the note, `covers` the refund that the provider made without one. All are ids or empty.
    """

    batch: str = ""
    payment: str = ""
    covers: str = ""
    reason: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the form that an approval keeps."""
        return {
            "batch": self.batch,
            "payment": self.payment,
            "covers": self.covers,
            "reason": self.reason,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """
    What a credit note is to take back, and what becomes of money that was paid.

    `out_of_band_amount` of what was paid is given back outside, the rest as `disposition` says. `cause` is one of
    `CreditReason` or empty, `memo` is printed. With `expected` the note comes to that total or is refused.
    """

    wish: Wish
    disposition: str = Disposition.CUSTOMER_BALANCE
    out_of_band_amount: int = 0
    cause: str = ""
    memo: str = ""
    expected: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    refund: RefundWish = field(default_factory=RefundWish)

    def as_dict(self) -> dict[str, Any]:
        """Return the form that an approval keeps."""
        return {
            "wish": self.wish.as_dict(),
            "disposition": str(self.disposition),
            "out_of_band_amount": self.out_of_band_amount,
            "cause": str(self.cause),
            "memo": self.memo,
            "expected": self.expected,
            "metadata": dict(self.metadata),
            **({"refund": self.refund.as_dict()} if self.refund != RefundWish() else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CreditRequest:
        """Rebuild from the kept form."""
        return cls(
            wish=Wish.from_dict(data["wish"]),
            disposition=data["disposition"],
            out_of_band_amount=data["out_of_band_amount"],
            cause=data["cause"],
            memo=data["memo"],
            expected=data["expected"],
            metadata=data["metadata"],
            refund=RefundWish(**data.get("refund", {})),
        )


@dataclass(frozen=True, slots=True)
class Settling:
    """
    Where the total of a note goes: `applied` to what remains of the invoice, to invoice credit, outside, or back
    through the provider (`refunded`), by payment in `parts`.
    """

    applied: int
    credited: int
    out_of_band: int
    refunded: int = 0
    parts: tuple[RefundPart, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeseenNote:
    """What a request comes to: the note that is not written yet, and where its total goes."""

    draft: CreditDraft
    settling: Settling


def foresee_note(invoice: Invoice, request: CreditRequest) -> ForeseenNote:
    """
    Return what a request comes to as the invoice stands. Reads only; to be decided on, under the invoice's lock.

    :raises InvalidState: while the invoice is a draft, or when it is void. :raises DomainError: as `draft_request` and
        `settle_note`.
    """
    if invoice.status not in CREDITABLE_STATUSES:
        raise InvalidState("Only an issued invoice that is not void is credited.", current_status=invoice.status)
    draft = draft_request(invoice, request)
    return ForeseenNote(draft, settle_note(invoice, request, draft.total))


def say_money(amount: int, currency: str) -> str:
    """Return minor units as a sentence says them: `12.50 USD`."""
    return f"{format_decimal(amount, currency)} {currency.upper()}"


def draft_request(invoice: Invoice, request: CreditRequest) -> CreditDraft:
    """
    Return the note that a request comes to. Reads only.

    :raises AmountNotPositive, AmountExceedsCreditable, ValidationFailed: as `issue_credit_note`.
    """
    if request.disposition not in Disposition.values:
        raise ValidationFailed.of("/disposition", "choice_unknown", f"{request.disposition!r:.40} is not known.")
    if request.cause and request.cause not in CreditReason.values:
        raise ValidationFailed.of("/reason", "choice_unknown", f"{request.cause!r:.40} is not known.")
    try:
        draft = draft_credit_note(load_credit_facts(invoice, request.wish))
    except LineUnknown as error:
        raise ValidationFailed.of("/line_items", "unknown", f"The invoice has no line {str(error)!r:.60}.") from error
    except NothingToCredit as error:
        raise AmountNotPositive("There is nothing to credit.") from error
    except CreditExceeds as error:
        raise AmountExceedsCreditable(
            f"This is {error}: at most {say_money(error.creditable, invoice.currency)} can be credited there.",
            creditable=error.creditable,
        ) from error
    if request.expected not in (None, draft.total):
        wanted = say_money(request.expected or 0, invoice.currency)
        detail = f"It comes to {say_money(draft.total, invoice.currency)} with tax, not {wanted}."
        raise ValidationFailed.of("/amount", "mismatch", detail)
    return draft


def settle_note(invoice: Invoice, request: CreditRequest, total: int) -> Settling:
    """
    Return where the total of a note goes: first to what remains of the invoice, the rest as the request says.

    :raises ValidationFailed: when more is paid back outside than was paid.
    :raises AmountExceedsRefundable: when more is to go back than came, or than is not asked for already.
    """
    applied = min(total, invoice.amount_remaining)
    rest = total - applied
    outside = rest if request.disposition == Disposition.OUT_OF_BAND else request.out_of_band_amount
    if not 0 <= outside <= rest:
        detail = f"Of this credit note {say_money(rest, invoice.currency)} were paid; more cannot be paid back."
        raise ValidationFailed.of("/out_of_band_amount", "max_value", detail)
    if request.disposition != Disposition.REFUND or rest == outside:
        return Settling(applied, rest - outside, outside)
    if request.refund.covers:
        return Settling(applied, 0, outside, refunded=rest - outside)
    parts = _share_out(invoice, request.refund, rest - outside)
    refunded = sum(part.amount for part in parts)
    return Settling(applied, rest - outside - refunded, outside, refunded, parts)


def _share_out(invoice: Invoice, wish: RefundWish, amount: int) -> tuple[RefundPart, ...]:
    """Return what of `amount` goes back through which payment, the newest first; the rest is for invoice credit."""
    without = uuid.UUID(wish.batch) if wish.batch else None
    free = invoice.total - sum_credited(invoice) - sum_waiting(invoice, without=without)
    if amount > free:
        left = say_money(max(0, free), invoice.currency)
        detail = f"{left} of {invoice} can be refunded; the rest is, or is asked for."
        raise AmountExceedsRefundable(detail, refundable=max(0, free))
    only = uuid.UUID(wish.payment) if wish.payment else None
    parts, rest = [], amount
    for found in list_payment_parts(invoice, without=without, payment=only):
        if part := min(found.amount, rest):
            parts.append(RefundPart(part, found.intent))
            rest -= part
    if only is not None and rest:
        raise AmountExceedsRefundable(
            f"{say_money(amount - rest, invoice.currency)} of this payment can be refunded.", refundable=amount - rest
        )
    return tuple(parts)
