"""
What a credit note is asked to do, and what it comes to before anything is written.

Source: policies, rules 12, 24 to 26; contract chapter Refunds and credit notes; ADR 0041.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.services.corrections import AmountExceedsRefundable
from billing_site.kernel.errors import AmountNotPositive, DomainError, ValidationFailed
from invoicing.calculation.credit_facts import Wish
from invoicing.calculation.credit_notes import (
    CreditDraft,
    CreditExceeds,
    LineUnknown,
    NothingToCredit,
    draft_credit_note,
)
from invoicing.models import CreditReason, Disposition, Invoice
from invoicing.queries.credit_notes import load_credit_facts


class AmountExceedsCreditable(DomainError):
    """Member `creditable` is minor units."""

    code, title, status = "amount_exceeds_creditable", "More than is left of the invoice", 422


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
        )


@dataclass(frozen=True, slots=True)
class Settling:
    """Where the total of a note goes: `applied` to what remains of the invoice, to invoice credit, or outside."""

    applied: int
    credited: int
    out_of_band: int


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
            f"This is {error}: at most {error.creditable} minor units can be credited there.",
            creditable=error.creditable,
        ) from error
    if request.expected not in (None, draft.total):
        detail = f"It comes to {draft.total} minor units with tax, not {request.expected}."
        raise ValidationFailed.of("/amount", "mismatch", detail)
    return draft


def settle_note(invoice: Invoice, request: CreditRequest, total: int) -> Settling:
    """
    Return where the total of a note goes: first to what remains of the invoice, the rest as the request says.

    :raises ValidationFailed: when more is paid back outside than was paid.
    :raises AmountExceedsRefundable: for a refund: no provider was paid that could give it back.
    """
    applied = min(total, invoice.amount_remaining)
    rest = total - applied
    outside = rest if request.disposition == Disposition.OUT_OF_BAND else request.out_of_band_amount
    if not 0 <= outside <= rest:
        detail = f"Of this credit note {rest} minor units were paid; more cannot be paid back."
        raise ValidationFailed.of("/out_of_band_amount", "max_value", detail)
    if request.disposition == Disposition.REFUND and rest > outside:
        raise AmountExceedsRefundable("No payment provider was paid for this invoice.", refundable=0)
    return Settling(applied, rest - outside, outside)
