"""
Currencies as Stripe counts them. Its minor units differ from ISO 4217 for a few; that is mapped here alone.

Source: policies, Rounding and money (rule 4); Stripe's list of currencies and its special cases.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from billing_site.kernel.money import CURRENCIES, Money, round_to_minor
from invoicing.gateways.port import OrderRejected

# Stripe's presentment currencies. What is not here is refused before Stripe is asked.
TAKEN: Final[frozenset[str]] = CURRENCIES & frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp cny
    cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr isk jmd
    jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad
    ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl
    thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
    """.split()
)
# ISO 4217 gives these no decimals, Stripe two that are always zero.
_TIMES_HUNDRED: Final = frozenset({"isk", "ugx"})
# ISO 4217 gives this one two decimals, Stripe none.
_BY_HUNDRED: Final = frozenset({"mga"})
# What a charge must be a multiple of, in Stripe's minor units: the last of three decimals is always zero.
_CHARGE_STEPS: Final = {**dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10)}
# Payouts of these are whole units only, though charges are not.
_PAYOUT_STEPS: Final = {**_CHARGE_STEPS, "huf": 100, "twd": 100}


def to_provider(money: Money, *, is_payout: bool = False) -> int:
    """
    Return an amount in Stripe's minor units, exactly.

    :raises OrderRejected: for a currency that Stripe does not take, and an amount that it cannot express.
    """
    name = money.currency.upper()
    if money.currency not in TAKEN:
        raise OrderRejected("currency_unsupported", f"Stripe takes no {name}.")
    amount = money.amount
    if money.currency in _TIMES_HUNDRED:
        amount *= 100
    elif money.currency in _BY_HUNDRED:
        amount, rest = divmod(amount, 100)
        if rest:
            raise OrderRejected("amount_not_expressible", f"Stripe takes whole {name} only, not {money}.")
    step = (_PAYOUT_STEPS if is_payout else _CHARGE_STEPS).get(money.currency, 1)
    if amount % step:
        what = "pays out" if is_payout else "takes"
        raise OrderRejected(
            "amount_not_expressible", f"Stripe {what} {name} in steps of {step} minor units, not {money}."
        )
    return amount


def from_provider(amount: int, currency: str) -> Money:
    """
    Return an amount of Stripe's as ours, exactly.

    :raises ValueError: for parts of a unit that ISO 4217 does not divide, or a currency that is none.
    """
    code = currency.lower()
    if code in _BY_HUNDRED:
        return Money(amount * 100, code)
    if code not in _TIMES_HUNDRED:
        return Money(amount, code)
    whole, rest = divmod(amount, 100)
    if rest:
        raise ValueError(f"{amount} of Stripe's minor units are no whole {code.upper()}")
    return Money(whole, code)


def read_fee(amount: int, currency: str) -> Money:
    """Return what Stripe keeps, rounded once: it keeps hundredths of currencies that have none."""
    code = currency.lower()
    if code in _TIMES_HUNDRED:
        return Money(round_to_minor(Decimal(amount) / 100), code)
    return from_provider(amount, code)
