"""The currencies the server takes, and the smallest amounts and steps of them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.stripe_server.errors import StripeError, wrong_parameter
from tests.stripe_server.parameters import Parameters

CURRENCIES = frozenset(
    """
    usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp
    cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr isk
    jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn
    nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std
    szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
    """.split()
)

# What a charge must at least amount to, in the smallest unit. Source: Stripe's documentation, "Supported currencies".
SMALLEST: Mapping[str, int] = {
    **{"usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250},
    **{"eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300},
    **{"nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000},
}
LARGEST = 99_999_999
# No decimals, yet counted in hundredths; and three decimals of which the last is always zero.
IN_HUNDREDS = frozenset({"isk", "ugx"})
IN_TENS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
WITHOUT_DECIMALS = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())


def read_currency(given: Parameters, *, required: bool = True) -> str:
    """Return the currency that was sent, in small letters."""
    currency = (given.text("currency", required=required) or "").lower()
    if currency and currency not in CURRENCIES:
        known = ", ".join(sorted(CURRENCIES))
        text = f"Invalid currency: {currency}. Stripe currently supports these currencies: {known}"
        raise wrong_parameter(text, param=given.at("currency"))
    return currency


def format_amount(amount: int, currency: str) -> str:
    """Return an amount as refusals write it: `$0.50 usd`, `50 jpy`."""
    if currency in WITHOUT_DECIMALS:
        text = f"{amount}"
    elif currency in IN_TENS:
        text = f"{amount // 1000}.{amount % 1000:03}"
    else:
        text = f"{amount // 100}.{amount % 100:02}"
    return f"${text} {currency}" if currency == "usd" else f"{text} {currency}"


def check_step(amount: int, currency: str, *, param: str = "amount") -> None:
    """:raises StripeError: if the currency has no such amount."""
    step = 100 if currency in IN_HUNDREDS else 10 if currency in IN_TENS else 1
    if amount % step:
        text = f"Invalid amount: amounts in {currency} must be divisible by {step} (it currently is {amount})."
        raise StripeError(text, code="parameter_invalid_integer", param=param)


def check_charge_amount(amount: int, currency: str) -> None:
    """:raises StripeError: if an amount is too small, too large, or no amount of its currency."""
    check_step(amount, currency)
    if amount < SMALLEST.get(currency, 1):
        text = f"Amount must be at least {format_amount(SMALLEST[currency], currency)}"
        raise StripeError(text, code="amount_too_small", param="amount")
    if amount > LARGEST:
        text = f"Amount must be no more than {format_amount(LARGEST, currency)}"
        raise StripeError(text, code="amount_too_large", param="amount")
