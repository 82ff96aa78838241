"""
Currencies as the provider counts them. Its minor units differ from ISO 4217 for a few; that is mapped here alone.

Source: policies, rule 4.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

TAKEN: Final[frozenset[str]] = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp cny
    cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr isk jmd
    jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad
    ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl
    thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
    """.split()
)
# Currencies of ISO 4217 that the provider does not take. What is in neither list is no currency.
OTHERS: Final[frozenset[str]] = (
    frozenset(
        """
    bov btn che chw clf cou cup ern ghs iqd irr kpw lyd mru mxv sdg ssp stn svc syp tmt usn uyi uyw ved ves zwg
    """.split()
    )
    - TAKEN
)

# ISO 4217 gives these no decimals, the provider two that are always zero.
_TIMES_HUNDRED: Final = frozenset({"isk", "ugx"})
# ISO 4217 gives this one two decimals, the provider none.
_BY_HUNDRED: Final = frozenset({"mga"})
# Three decimals of which the provider charges two: whole amounts end in 0.
_IN_TENS: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def to_provider(amount: Decimal, currency: str) -> Decimal:
    """Return minor units of ISO 4217 as the provider's minor units, exact."""
    if currency in _TIMES_HUNDRED:
        return amount * 100
    if currency in _BY_HUNDRED:
        return amount / 100
    return amount


def can_be_charged(amount: Decimal, currency: str) -> bool:
    """Tell whether a fee of `amount`, in the provider's minor units, can be charged to the last digit."""
    return currency not in _IN_TENS or amount % 10 == 0
