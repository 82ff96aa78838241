"""
Facts: everything an invoice is computed from, as plain values.

Facts are gathered by queries and handed to `draft.draft_invoice`. Each has a dictionary form made of strings, whole
numbers and lists only, which is stored as the trace of the document; `from_dict` of it gives equal facts.
Plain Python: no Django, no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from invoicing.calculation.billed import BilledFacts
from invoicing.calculation.centers import CenterFacts
from invoicing.calculation.discounts import DiscountFacts
from invoicing.calculation.given import GivenFacts
from invoicing.calculation.shares import ShareFacts
from invoicing.calculation.taxes import TaxFacts
from invoicing.calculation.texts import format_exact, format_instant, parse_instant
from invoicing.calculation.unused import CreditedFacts

ChargeType = Literal["subscription", "usage", "proration", "one_off"]
TRACE_VERSION = 1


@dataclass(frozen=True, slots=True)
class QuantitySource:
    """
    Where a quantity comes from.

    For usage: how many events, and the latest moment one of them was recorded. For a fee: the item's quantity. A given
    one was entered.
    """

    kind: Literal["item", "usage", "given"]
    event_count: int = 0
    last_recorded_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "kind": self.kind,
            "event_count": self.event_count,
            "last_recorded_at": format_instant(self.last_recorded_at) if self.last_recorded_at else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> QuantitySource:
        """Rebuild from the stored form."""
        recorded = data["last_recorded_at"]
        return cls(data["kind"], int(data["event_count"]), parse_instant(recorded) if recorded else None)


@dataclass(frozen=True, slots=True)
class ChargeFacts:
    """
    One thing to bill: a price of a subscription item, a quantity and the half-open period it covers.

    `usage.quantity` is the number of units (seats for a fee, the meter's unit for usage), exact; prices that look
    closer also have the events or dimensions behind it. With a `share` the period is part of a whole one: a fee and a
    minimum are charged by that share, usage is what it is. A proration is the share of a fee that a change charges, or
    credits with `is_credit`; `discount` is what the fee's own discount takes off a whole period, exact minor units.
    `credits` names the line that a credit gives back of, and bounds it.
    `centers` are who used it, where the account wants its usage lines split by cost center. `billed` is what was billed
    of this usage before; the quantity is that of the whole period then, and so is the price. What is `given` was
    entered by somebody: it has no item, and its price is its own. On an invoice for several subscriptions it names the
    one it is for as `subscription`; nothing when it is for the account.
    """

    type: ChargeType
    item_id: str
    plan_version_id: str
    plan_id: str
    plan_name: str
    price: PriceTerms
    usage: Usage
    period: Period
    source: QuantitySource
    meter_name: str = ""
    share: ShareFacts | None = None
    is_credit: bool = False
    discount: Decimal = Decimal(0)
    centers: tuple[CenterFacts, ...] = ()
    given: GivenFacts | None = None
    billed: BilledFacts | None = None
    credits: CreditedFacts | None = None
    subscription: str = ""

    @property
    def quantity(self) -> Decimal:
        return self.usage.quantity

    @property
    def is_late(self) -> bool:
        """Tell whether this is usage of a period that was invoiced before it was recorded."""
        return self.billed is not None and self.billed.is_late

    @property
    def is_interim(self) -> bool:
        """Tell whether this is usage so far of a period that is not over."""
        return self.billed is not None and self.billed.kind == "interim"

    @property
    def is_rest(self) -> bool:
        """Tell whether a line bills this usage already: only the rest is asked for, net of that line's discounts."""
        return self.billed is not None and not self.billed.is_first

    def as_dict(self, show_price: Callable[[PriceTerms], Any] = PriceTerms.as_dict) -> dict[str, Any]:
        """Return the stored form; `show_price` gives that of the price, for those who write many of one price."""
        detail = self.usage.as_dict()
        return {
            "type": self.type,
            "item_id": self.item_id,
            "plan_version_id": self.plan_version_id,
            "plan_id": self.plan_id,
            "plan_name": self.plan_name,
            "price": show_price(self.price),
            "quantity": format_exact(self.quantity),
            **({"usage": detail} if detail else {}),
            "period": _write_period(self.period),
            "source": self.source.as_dict(),
            "meter_name": self.meter_name,
            **({"share": self.share.as_dict()} if self.share is not None else {}),
            **({"is_credit": True} if self.is_credit else {}),
            **({"discount": format_exact(self.discount)} if self.discount else {}),
            **({"centers": [center.as_dict() for center in self.centers]} if self.centers else {}),
            **({"given": self.given.as_dict()} if self.given is not None else {}),
            **({"billed": self.billed.as_dict()} if self.billed is not None else {}),
            **({"credits": self.credits.as_dict()} if self.credits is not None else {}),
            **({"subscription": self.subscription} if self.subscription else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChargeFacts:
        """Rebuild from the stored form."""
        return cls(
            type=data["type"],
            item_id=data["item_id"],
            plan_version_id=data["plan_version_id"],
            plan_id=data["plan_id"],
            plan_name=data["plan_name"],
            price=PriceTerms.from_dict(data["price"]),
            usage=Usage.from_dict(Decimal(data["quantity"]), data.get("usage") or {}),
            period=_read_period(data["period"]),
            source=QuantitySource.from_dict(data["source"]),
            meter_name=data["meter_name"],
            share=ShareFacts.from_dict(data["share"]) if data.get("share") else None,
            centers=tuple(CenterFacts.from_dict(center) for center in data.get("centers") or ()),
            is_credit=data.get("is_credit", False),
            discount=Decimal(data.get("discount", "0")),
            given=GivenFacts.from_dict(data["given"]) if data.get("given") else None,
            billed=BilledFacts.from_dict(data["billed"]) if data.get("billed") else None,
            credits=CreditedFacts.from_dict(data["credits"]) if data.get("credits") else None,
            subscription=data.get("subscription", ""),
        )


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One of several subscriptions on an invoice: its public id, what documents call it, and the boundary it is at."""

    subscription: str
    name: str
    boundary: int

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"subscription": self.subscription, "name": self.name, "boundary": self.boundary}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MemberFacts:
        """Rebuild from the stored form."""
        return cls(data["subscription"], data["name"], int(data["boundary"]))


@dataclass(frozen=True, slots=True)
class InvoiceFacts:
    """
    All facts of one invoice: its currency, zone, rounding policy, charges in line order, discounts, and tax.

    A trace without discounts or tax had none: the key is left out then. `period` is what the document names when it has
    no lines; one of the cycle always has some. An invoice for several subscriptions has `members`, in the order of its
    lines, and no boundary of its own.
    """

    currency: str
    timezone: str
    boundary: int | None
    rounding: RoundingMode = "half_up"
    charges: tuple[ChargeFacts, ...] = field(default=())
    discounts: tuple[DiscountFacts, ...] = field(default=())
    period: Period | None = None
    tax: TaxFacts | None = None
    members: tuple[MemberFacts, ...] = ()

    def as_dict(self, show_charge: Callable[[ChargeFacts], Any] = ChargeFacts.as_dict) -> dict[str, Any]:
        """Return the stored form; `show_charge` gives that of a charge, for those who have it already."""
        discounts = [discount.as_dict() for discount in self.discounts]
        return {
            "version": TRACE_VERSION,
            "currency": self.currency,
            "timezone": self.timezone,
            "boundary": self.boundary,
            "rounding": self.rounding,
            "charges": [show_charge(charge) for charge in self.charges],
            **({"discounts": discounts} if discounts else {}),
            **({"period": _write_period(self.period)} if self.period is not None else {}),
            **({"tax": self.tax.as_dict()} if self.tax is not None else {}),
            **({"members": [member.as_dict() for member in self.members]} if self.members else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InvoiceFacts:
        """
        Rebuild from the stored form.

        :raises ValueError: for a trace of another version.
        """
        if data.get("version") != TRACE_VERSION:
            raise ValueError(f"trace of version {data.get('version')!r}, this engine reads {TRACE_VERSION}")
        return cls(
            currency=data["currency"],
            timezone=data["timezone"],
            boundary=data["boundary"],
            rounding=data["rounding"],
            charges=tuple(ChargeFacts.from_dict(charge) for charge in data["charges"]),
            discounts=tuple(DiscountFacts.from_dict(discount) for discount in data.get("discounts") or ()),
            period=_read_period(data["period"]) if data.get("period") else None,
            tax=TaxFacts.from_dict(data["tax"]) if data.get("tax") else None,
            members=tuple(MemberFacts.from_dict(member) for member in data.get("members") or ()),
        )


def _write_period(period: Period) -> list[str]:
    return [format_instant(period.start), format_instant(period.end)]


def _read_period(stored: Sequence[str]) -> Period:
    start, end = stored
    return Period(parse_instant(start), parse_instant(end))
