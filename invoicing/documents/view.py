"""
What an invoice document shows, as plain frozen values.

Amounts are whole minor units of the invoice's currency, quantities and unit prices exact Decimals, periods half-open
instants that are printed as local days of `timezone`. Plain Python: no Django, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from billing_site.kernel.periods import Period
from catalog.pricing.breakdown import PricedTier

DocumentKind = Literal["invoice", "credit_note"]
DocumentStatus = Literal["draft", "open", "paid", "void", "uncollectible"]


@dataclass(frozen=True, slots=True)
class PartyView:
    """
    One side of the document. `address` holds its printed lines; `tax_ids` are printed as they are given.

    `country` is ISO 3166-1 alpha-2; its name is printed in the document's language below the address.
    """

    name: str
    address: tuple[str, ...] = ()
    tax_ids: tuple[str, ...] = ()
    email: str = ""
    phone: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class PaymentView:
    """Where to pay to. `{number}` in `text` is the document's number."""

    account_holder: str = ""
    bank_name: str = ""
    iban: str = ""
    bic: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class LineView:
    """
    One line of the table.

    `unit_amount` is in minor units per unit and may have many decimals; without one the column stays empty. `detail`
    is printed smaller below the description, after the line's period, and `parts` each on a line below that. `amount`
    is before `discount`, which is named below. Where `group` (a key) begins, its `group_name` stands above the line.
    """

    description: str
    amount: int
    quantity: Decimal | None = None
    unit: str = ""
    unit_amount: Decimal | None = None
    period: Period | None = None
    detail: str = ""
    parts: tuple[PricedTier, ...] = ()
    discount: int = 0
    group: str = ""
    group_name: str = ""


@dataclass(frozen=True, slots=True)
class TaxLineView:
    """The tax of one rate: `base` is what it was computed on."""

    name: str
    rate_percent: Decimal
    base: int
    amount: int
    is_inclusive: bool = False


@dataclass(frozen=True, slots=True)
class CreditView:
    """What one source of stored money paid: invoice credit, a grant by its name, the prepaid balance."""

    description: str
    amount: int


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """
    An invoice or a credit note as it is printed. Amounts of a credit note are what it gives back, above zero.

    `number` None is a draft (marked so, without a number); status `void` is marked too. `finalized_at` is the date
    inside the file, so that the same document gives the same bytes. Totals are printed as given, not recomputed.
    """

    seller: PartyView
    buyer: PartyView
    number: str | None
    status: DocumentStatus
    currency: str
    timezone: str
    subtotal: int
    total: int
    amount_due: int
    lines: tuple[LineView, ...]
    issue_date: date | None = None
    due_date: date | None = None
    finalized_at: datetime | None = None
    period: Period | None = None
    discount: int = 0
    discount_name: str = ""
    tax_lines: tuple[TaxLineView, ...] = ()
    credit_applied: int = 0
    credits: tuple[CreditView, ...] = ()
    """The parts of `credit_applied`; without them it is printed as one amount."""
    amount_paid: int = 0
    reference: str = ""
    """The account's handle or an order number, printed beside the dates."""
    notes: tuple[str, ...] = ()
    """Paragraphs below the totals: how to pay, why tax is zero, where money came from."""
    footer: str = ""
    """The seller's line at the foot of every page: register entry, bank, board."""
    test_mode: bool = False
    extra_details: tuple[tuple[str, str], ...] = field(default=())
    """More label and value pairs for the block of dates."""
    kind: DocumentKind = "invoice"
    locale: str = "en"
    """The words, numbers and dates it is written in, see `documents.words.choose_locale`."""
    logo: bytes = b""
    """PNG or SVG, as `documents.logos.check_logo` accepts it."""
    payment: PaymentView | None = None
    reverse_charge: bool = False
    corrects: str = ""
    """The number of the invoice that a credit note is for."""
    reason: str = ""
    """Why a credit note was made, in words."""
    replaces: str = ""
    """The number of the void invoice that this one was issued anew for."""

    @property
    def is_draft(self) -> bool:
        return self.number is None

    @property
    def amount_remaining(self) -> int:
        """What is still to pay; nothing on a void document."""
        return 0 if self.status == "void" else max(0, self.amount_due - self.amount_paid)
