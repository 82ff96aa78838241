"""
Bodies with card data are refused before any view, log or stored answer sees them.

What stands in them is not repeated: the problem names the field and nothing of its value.
Source: contract chapter Payments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from django.http import HttpRequest

from billing_site.kernel.card_numbers import find_card_numbers, may_hold_card_number
from billing_site.kernel.errors import FieldError, ValidationFailed

_LISTED: Final = 20
_ADVICE: Final = "Card data is never accepted here: send the token that the payment provider gives for it."
_SECURITY_CODE: Final = re.compile(
    r"(?i)(card[_-]?)?(cvc2?|cvv2?|cid|security[_-]?code|card[_-]?verification[_-]?(code|value))"
)


def refuse_card_data(request: HttpRequest, *, strict: bool) -> None:
    """
    Look for card numbers in a JSON body; `strict` also for digits of no known issuer, and for security codes.

    :raises ValidationFailed: naming the fields. What cannot be read is left to the parser.
    """
    if "json" not in (request.content_type or "").lower():
        return
    body = getattr(request, "_body", b"")
    if not body or not (strict or may_hold_card_number(body)):
        return
    try:
        findings = _find(json.loads(body, parse_float=Decimal), strict=strict)
    except (ValueError, ArithmeticError):
        return
    except RecursionError:
        raise ValidationFailed.of("", "too_deep", "The body is nested too deeply.") from None
    if findings:
        raise ValidationFailed(_ADVICE, errors=findings[:_LISTED])


def _find(data: object, *, strict: bool) -> list[FieldError]:
    numbers = find_card_numbers(data, issued_only=not strict)
    findings = [FieldError(pointer, "card_number_refused", _ADVICE) for pointer in numbers]
    if strict:
        findings += [FieldError(pointer, "card_data_refused", _ADVICE) for pointer in _find_security_codes(data)]
    return findings


def _find_security_codes(value: object, pointer: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if _SECURITY_CODE.fullmatch(str(name)):
                yield f"{pointer}/{name}"
            else:
                yield from _find_security_codes(item, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _find_security_codes(item, f"{pointer}/{index}")
