"""
What is to be paid of a draft, as stored money sees it: fees, usage by meter, tax.

Plain Python: no Django, no I/O, no clock. Amounts are whole minor units, after discounts.
Source: contract chapter Credits; policies, rules 16 and 22.
"""

from __future__ import annotations

from collections.abc import Sequence

from accounts.terms.burning import Charge
from accounts.terms.settling import net_charges
from billing_site.kernel.periods import Period
from invoicing.calculation.draft import Draft


def list_charges(draft: Draft, *, subscription: str | None) -> list[Charge]:
    """
    Return the charges of a draft in line order, then tax; together they are its total. A total below zero has none.

    `subscription` is the public id of the one it bills; of several, each line names its own.
    """
    lines = [
        make_line_charge(
            position=position,
            amount=line.net,
            currency=draft.facts.currency,
            type=line.type,
            meter=line.charge.price.meter,
            period=line.period,
            subscription=line.charge.subscription or subscription,
        )
        for position, line in enumerate(draft.lines, start=1)
    ]
    taxes = [line.tax for line in draft.lines]
    return close_charges(lines, taxes=taxes, total=draft.total, currency=draft.facts.currency)


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


def close_charges(lines: list[Charge], *, taxes: Sequence[int], total: int, currency: str) -> list[Charge]:
    """
    Return the charges of the lines and of tax, lowered so that together they are `total`.

    `taxes` is the tax on each line. Tax is one charge, or one for each subscription, so that credit that is limited to
    a subscription pays the tax on its lines only. Tax below zero lowers what there is.
    """
    by_owner: dict[str | None, int] = {}
    for line, tax in zip(lines, taxes, strict=True):
        by_owner[line.subscription] = by_owner.get(line.subscription, 0) + tax
    is_alone = len(by_owner) == 1
    found = [
        Charge("tax" if is_alone else f"tax:{number}", tax, currency, subscription=owner)
        for number, (owner, tax) in enumerate(by_owner.items(), start=1)
        if tax > 0
    ]
    return net_charges([*lines, *found], total=total)
