"""
What is to be paid of a draft, as stored money sees it: fees, usage by meter, tax.

Plain Python: no Django, no I/O, no clock. Amounts are whole minor units, after discounts.
Source: contract chapter Credits; policies, rules 16 and 22.
"""

from __future__ import annotations

from accounts.terms.burning import Charge
from accounts.terms.settling import net_charges
from billing_site.kernel.periods import Period
from invoicing.calculation.draft import Draft


def list_charges(draft: Draft, *, subscription: str | None) -> list[Charge]:
    """
    Return the charges of a draft in line order, then tax; together they are its total. A total below zero has none.

    `subscription` is the public id of the one it bills.
    """
    lines = [
        make_line_charge(
            position=position,
            amount=line.net,
            currency=draft.facts.currency,
            type=line.type,
            meter=line.charge.price.meter,
            period=line.period,
            subscription=subscription,
        )
        for position, line in enumerate(draft.lines, start=1)
    ]
    return close_charges(lines, tax=draft.tax, total=draft.total, currency=draft.facts.currency)


def make_line_charge(
    *,
    position: int,
    amount: int,
    currency: str,
    type: str,
    meter: str | None,
    period: Period,
    subscription: str | None,
) -> Charge:
    """
    Return the charge of one line; `amount` is after discounts.

    Only usage lines have a meter for credit that is limited to some. What makes up for a minimum, a line of a meter
    that is not usage, is owed in money and takes no credit.
    """
    return Charge(
        key=f"line:{position}",
        amount=amount,
        currency=currency,
        meter=meter if type == "usage" else None,
        subscription=subscription,
        period=period,
        takes_credit=not (type == "one_off" and meter is not None),
    )


def close_charges(lines: list[Charge], *, tax: int, total: int, currency: str) -> list[Charge]:
    """Return the charges of the lines and of tax, lowered so that together they are `total`."""
    taxes = [Charge("tax", tax, currency, subscription=lines[0].subscription)] if tax > 0 and lines else []
    return net_charges([*lines, *taxes], total=total)
