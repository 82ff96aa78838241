"""
Why this tax: the readable steps of one line, from its price to its share of each rate.

Plain Python: no Django, no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from billing_site.kernel.money import EXACT, format_decimal
from invoicing.calculation.taxes import LineTax, TaxBase, TaxLine, TaxMode
from invoicing.calculation.texts import format_exact

if TYPE_CHECKING:
    from invoicing.calculation.facts import InvoiceFacts

_SUMS: Final[dict[TaxMode, str]] = {
    "rate": "the sum of the lines",
    "keep_gross": "the sum of the prices with tax",
    "line": "this line",
}


def explain_taxes(
    facts: InvoiceFacts, base: TaxBase, taxes: Sequence[TaxLine], taxed: LineTax
) -> tuple[dict[str, str], ...]:
    """Return a step for the tax inside the price, when there is some, and one for each rate that the line bears."""
    return tuple(_list_steps(facts, base, taxes, taxed))


def _list_steps(
    facts: InvoiceFacts, base: TaxBase, taxes: Sequence[TaxLine], taxed: LineTax
) -> Iterator[dict[str, str]]:
    tax, currency = facts.tax, facts.currency
    if tax is None:
        return
    inside = base.amount - taxed.net
    if any(rate.inclusive and rate.rate for rate in base.rates):
        names = " + ".join(f"{percent(rate.rate)} %" for rate in base.rates if rate.inclusive)
        gross, net = format_decimal(base.amount, currency), format_decimal(taxed.net, currency)
        yield _step(
            "Tax in the price",
            f"{gross} − {gross} / (1 + {names})" + (_share_text(tax.mode) if tax.mode == "keep_gross" else ""),
            f"{inside} = {format_decimal(inside, currency)} {currency.upper()}, leaves {net}",
        )
    for line, share in zip(taxes, taxed.shares, strict=True):
        if line.rate not in base.rates:
            continue
        if not line.rate.id:
            formula = line.note
        elif tax.mode == "line":
            formula = f"{percent(line.rate.rate)} % of {format_decimal(taxed.net, currency)}"
        else:
            formula = (
                f"{percent(line.rate.rate)} % of {format_decimal(line.base, currency)} is"
                f" {format_decimal(line.amount, currency)}{_share_text(tax.mode)}"
            )
        relation = ", included in the price" if line.rate.inclusive else ""
        yield _step(
            f"Tax {line.rate.name} ({line.rate.jurisdiction})" if line.rate.jurisdiction else f"Tax {line.rate.name}",
            formula + relation,
            f"{share} = {format_decimal(share, currency)} {currency.upper()}",
        )


def percent(rate: Decimal) -> str:
    """Return a fraction as a percentage without trailing zeros: 0.0875 is `8.75`."""
    return format_exact(EXACT.multiply(rate, Decimal(100)))


def _share_text(mode: TaxMode) -> str:
    return f", rounded on {_SUMS[mode]} and shared by largest remainder"


def _step(title: str, formula: str, value: str) -> dict[str, str]:
    return {"title": title, "formula": formula, "value": value}
