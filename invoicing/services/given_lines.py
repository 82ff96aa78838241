"""
Lines that somebody enters: what is asked for, checked, as facts of a charge.

Source: contract endpoints invoice_create and invoice_line_add; policies, rule 2; ADR 0039.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from accounts.models import Account, CostCenter
from accounts.services.corrections import CurrencyMismatch
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.kernel.money import EXACT, round_to_minor
from billing_site.kernel.periods import Period, local_date, local_midnight
from catalog.models import Meter, Plan, PlanVersion
from catalog.pricing.usage import Usage
from catalog.queries.meters import MeterNotFound, get_meter
from catalog.queries.revisions import find_catalog_org
from invoicing.calculation.centers import CenterFacts
from invoicing.calculation.facts import ChargeFacts, ChargeType, QuantitySource
from invoicing.calculation.given import GivenFacts, make_given_price

MAX_AMOUNT: Final = 10**15
MAX_LINES: Final = 1000
_PREFIX: Final = "giv"


@dataclass(frozen=True, slots=True)
class NewLine:
    """
    A line as it was asked for: `amount` in minor units, or `quantity` × `unit_amount`, or all three that agree.

    `meter` (id or event name) makes it a usage line, `plan` (its key) a subscription line; both, usage of the plan.
    Without a period it is of the day on which it is entered, where the account lives.
    """

    description: str
    amount: int | None = None
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None
    currency: str = ""
    meter: str = ""
    plan: str = ""
    cost_center: str = ""
    period_start: datetime | None = None
    period_end: datetime | None = None


def make_charges(
    lines: Sequence[NewLine], *, account: Account, currency: str, at: datetime, pointer: str = "/line_items"
) -> tuple[ChargeFacts, ...]:
    """
    Return the facts of the lines, in their order. `pointer` is where they stand in the request.

    :raises ValidationFailed: for a line without an amount or with two that disagree, without a description, with a
        period in the wrong order, or for too many lines.
    :raises CurrencyMismatch: for a line in another currency. :raises NotFound: for an unknown meter, plan or center.
    """
    if len(lines) > MAX_LINES:
        raise ValidationFailed.of(pointer, "max_length", f"At most {MAX_LINES} lines.")
    alone = pointer == ""
    return tuple(
        _make_charge(line, account=account, currency=currency, at=at, pointer="" if alone else f"{pointer}/{index}")
        for index, line in enumerate(lines)
    )


def get_local_day(at: datetime, account: Account) -> Period:
    """Return the day of `at` where the account lives."""
    day = local_date(at, account.zone)
    return Period(local_midnight(day, account.zone), local_midnight(day + timedelta(days=1), account.zone))


def _make_charge(line: NewLine, *, account: Account, currency: str, at: datetime, pointer: str) -> ChargeFacts:
    description = line.description.strip()
    if not description or len(description) > 500:
        raise ValidationFailed.of(f"{pointer}/description", "required", "Say in at most 500 characters what it is for.")
    if line.currency and line.currency != currency:
        raise CurrencyMismatch(f"A line is in {line.currency.upper()}, the invoice in {currency.upper()}.")
    quantity, amount, unit_amount = _read_price(line, pointer)
    meter = _find_meter(account, line.meter) if line.meter else None
    version = _find_version(account, line.plan) if line.plan else None
    kind: ChargeType = "usage" if meter is not None else "subscription" if version is not None else "one_off"
    return ChargeFacts(
        type=kind,
        item_id="",
        plan_version_id=version.public_id if version is not None else "",
        plan_id=version.plan.key if version is not None else "",
        plan_name=version.name if version is not None else "",
        price=make_given_price(
            currency=currency,
            amount=amount,
            unit_amount=unit_amount,
            meter=meter.event_name if meter is not None else None,
            unit=meter.unit if meter is not None else None,
        ),
        usage=Usage(quantity),
        period=_read_period(line, account=account, at=at, pointer=pointer),
        source=QuantitySource("given"),
        meter_name=meter.display_name if meter is not None else "",
        centers=_find_centers(account, line.cost_center, quantity),
        given=GivenFacts(encode_id(_PREFIX, new_uuid()), description, meter.public_id if meter is not None else ""),
    )


def _read_price(line: NewLine, pointer: str) -> tuple[Decimal, int | None, Decimal | None]:
    """Return the quantity, and the amount of all or the price of one."""
    quantity = Decimal(1) if line.quantity is None else line.quantity
    if not quantity.is_finite() or quantity < 0:
        raise ValidationFailed.of(f"{pointer}/quantity", "out_of_range", "A quantity is zero or more.")
    if line.unit_amount is None or line.quantity is None:
        if line.amount is None or line.unit_amount is not None:
            text = "Give an amount, or a quantity with a unit price."
            raise ValidationFailed.of(f"{pointer}/amount", "required", text)
        _check_size(Decimal(line.amount), pointer)
        return quantity, line.amount, None
    exact = EXACT.multiply(quantity, line.unit_amount)
    _check_size(exact, pointer)
    if line.amount is not None and abs(exact - line.amount) >= 1:
        text = f"{quantity:f} × {line.unit_amount:f} is {round_to_minor(exact)}, not {line.amount}."
        raise ValidationFailed.of(f"{pointer}/amount", "disagrees", text)
    return quantity, None, line.unit_amount


def _check_size(amount: Decimal, pointer: str) -> None:
    if abs(amount) > MAX_AMOUNT:
        raise ValidationFailed.of(f"{pointer}/amount", "out_of_range", f"At most {MAX_AMOUNT} minor units.")


def _read_period(line: NewLine, *, account: Account, at: datetime, pointer: str) -> Period:
    if (line.period_start is None) != (line.period_end is None):
        raise ValidationFailed.of(f"{pointer}/period_end", "required", "A period has a start and an end.")
    if line.period_start is None or line.period_end is None:
        return get_local_day(at, account)
    if line.period_end < line.period_start:
        raise ValidationFailed.of(f"{pointer}/period_end", "out_of_range", "The end is before the start.")
    return Period(line.period_start, line.period_end)


def _find_meter(account: Account, reference: str) -> Meter:
    try:
        return get_meter(org_id=account.org_id, reference=reference)
    except MeterNotFound as error:
        raise NotFound("meter") from error


def _find_version(account: Account, key: str) -> PlanVersion:
    """Return the version of a plan on sale, whether it can be subscribed to or not."""
    owner = find_catalog_org(org_id=account.org_id)
    plan = Plan.objects.filter(org_id=owner, key=key).select_related("current_version__plan").first()
    if plan is None or plan.current_version is None:
        raise NotFound("plan")
    return plan.current_version


def _find_centers(account: Account, reference: str, quantity: Decimal) -> tuple[CenterFacts, ...]:
    if not reference:
        return ()
    key = CostCenter.parse_id(reference)
    found = CostCenter.objects.filter(pk=key, account=account).first() if key else None
    if found is None:
        raise NotFound("cost_center")
    # All of it is that center's, however little was counted.
    return (CenterFacts(found.public_id, found.code, found.name, quantity or Decimal(1)),)
