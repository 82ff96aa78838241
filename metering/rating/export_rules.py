"""
What of the usage feed is billed: rules that match events, and the quantity an event's data says.

Plain functions over parsed JSON; numbers are `int` or `Decimal`, a fraction is never a float. Source: contract chapter
Usage feed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

EVENT_TYPES: Final = (
    "request_started",
    "runtime_ready",
    "backend_request_started",
    "backend_request_finished",
    "usage_recorded",
    "usage_missing",
    "request_failed",
    "client_aborted",
    "container_run_requested",
    "container_run_finished",
    "container_run_failed",
    "runtime_start_requested",
    "runtime_start_finished",
    "runtime_start_failed",
    "runtime_stop_requested",
    "runtime_stop_finished",
    "runtime_stop_failed",
    "container.run",  # transitional
)
DEFAULT_FEATURE: Final = "llm:proxy"
DEFAULT_METER: Final = "llm_tokens"
DURATION_FIELD: Final = "duration_ms"
"""Counted in seconds, rounded up."""
TOKEN_FIELDS: Final = (
    ("total_tokens",),
    ("tokens",),
    ("input_tokens", "output_tokens"),
    ("prompt_tokens", "completion_tokens"),
)
"""Where a number of tokens is looked for: the first that is there counts, two fields are added."""
MAX_QUANTITY: Final = 2**63 - 1
_MAX_TEXT: Final = 100
_MAX_RULES: Final = 200
_RULE_FIELDS: Final = ("event_type", "feature", "meter_event_name", "quantity_field")
_MS_PER_SECOND: Final = 1000


class RulesNotValid(ValueError):
    """Why a rules document cannot be used: every finding, each with its place."""

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = tuple(findings)


class QuantityMissing(ValueError):
    """There is no quantity above zero in the data. The text says what is wrong."""


@dataclass(frozen=True, slots=True)
class ExportRule:
    """Events of `event_type` count on the meter, by `quantity_field` of their data, for `feature`."""

    event_type: str
    feature: str
    meter_event_name: str
    quantity_field: str


DEFAULT_RULES: Final = (
    ExportRule("usage_recorded", DEFAULT_FEATURE, DEFAULT_METER, "total_tokens"),
    ExportRule("container_run_finished", "container:run", "container_runtime_seconds", DURATION_FIELD),
)


def parse_rules(document: object) -> tuple[ExportRule, ...]:
    """
    Return the rules of a parsed document: an object with the list `rules`.

    Several rules may take the same event to different meters, none to the same one twice: an event counts once there.
    :raises RulesNotValid: with every finding.
    """
    rules = document.get("rules") if isinstance(document, dict) else None
    if not isinstance(rules, list) or not isinstance(document, dict):
        raise RulesNotValid(["the document is an object with a list `rules`"])
    findings = [f"unknown member {name!r}" for name in document if name != "rules"]
    if len(rules) > _MAX_RULES:
        raise RulesNotValid([f"at most {_MAX_RULES} rules"])
    read: list[ExportRule] = []
    for index, raw in enumerate(rules):
        wrong = [f"/rules/{index}{finding}" for finding in _find_wrong(raw)]
        findings += wrong
        if wrong:
            continue
        rule = ExportRule(**{name: raw[name].strip() for name in _RULE_FIELDS})
        if any((each.event_type, each.meter_event_name) == (rule.event_type, rule.meter_event_name) for each in read):
            findings.append(f"/rules/{index}: {rule.event_type} goes to {rule.meter_event_name} already")
        read.append(rule)
    if findings:
        raise RulesNotValid(findings)
    return tuple(read)


def _find_wrong(raw: object) -> Iterator[str]:
    if not isinstance(raw, dict):
        yield ": a rule is an object"
        return
    for name in raw:
        if name not in _RULE_FIELDS:
            yield f"/{name}: there is no such field; a rule has {', '.join(_RULE_FIELDS)}"
    for name in _RULE_FIELDS:
        value = raw.get(name)
        if not isinstance(value, str) or not value.strip():
            yield f"/{name}: a text is needed"
        elif len(value.strip()) > _MAX_TEXT:
            yield f"/{name}: at most {_MAX_TEXT} characters"
        elif name == "event_type" and value.strip() not in EVENT_TYPES:
            yield f"/{name}: {value.strip()!r} is no event type; known are {', '.join(EVENT_TYPES)}"


def match_rules(rules: Sequence[ExportRule], event_type: str) -> list[ExportRule]:
    """Return the rules that bill events of this type, in order; none bills what is unmapped."""
    return [rule for rule in rules if rule.event_type == event_type]


def measure_event(rule: ExportRule, data: Mapping[str, Any]) -> int:
    """
    Return the quantity `data` says under a rule, above zero.

    `duration_ms` counts in seconds, rounded up. Where the rule asks for a number of tokens under a name that is not
    there, the other names for it are looked at, in their order.
    :raises QuantityMissing: when there is none.
    """
    field = rule.quantity_field
    if field == DURATION_FIELD:
        return _read_seconds(data.get(field))
    if data.get(field) is not None:
        return _require_positive(field, _read_whole(field, data[field]))
    if any(field in names for names in TOKEN_FIELDS):
        return derive_quantity(data)
    raise QuantityMissing(f"There is no {field} in the data.")


def derive_quantity(data: Mapping[str, Any]) -> int:
    """
    Return the number of tokens `data` says, above zero: the first of `TOKEN_FIELDS` that is there.

    Null is not there. Of two fields that are added one may be missing.
    :raises QuantityMissing: when none is there, or the first that is there is no whole number above zero.
    """
    for names in TOKEN_FIELDS:
        given = [(name, data[name]) for name in names if data.get(name) is not None]
        if given:
            return _require_positive(" + ".join(names), sum(_read_whole(name, value) for name, value in given))
    raise QuantityMissing("There is no quantity, and the data has no number of tokens.")


def derive_key(*, account: str, meter: str, quantity: int) -> str:
    """
    Return the key of usage that came without one.

    Two events of an account with the same meter and quantity have the same: the second does not count. Callers warn.
    """
    digest = hashlib.sha256("\x1f".join((account, meter, str(quantity))).encode()).hexdigest()
    return f"derived:{digest[:40]}"


def _read_whole(name: str, value: object) -> int:
    """Return a whole JSON number, zero or more: `100` and `100.0`, never `true` or `"100"`."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise QuantityMissing(f"{name} is not a number.")
    # The size is looked at before arithmetic could blow a number such as 1E+999999 up.
    if isinstance(value, Decimal) and (not value.is_finite() or (value and value.adjusted() > 19)):
        raise QuantityMissing(f"{name} is too large.")
    if value != int(value):
        raise QuantityMissing(f"{name} is not a whole number.")
    if value < 0:
        raise QuantityMissing(f"{name} is below zero.")
    return int(value)


def _read_seconds(value: object) -> int:
    if value is None:
        raise QuantityMissing(f"There is no {DURATION_FIELD} in the data.")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise QuantityMissing(f"{DURATION_FIELD} is not a number.")
    exact = Decimal(value)
    if not exact.is_finite() or (exact and not -12 <= exact.adjusted() <= 19):
        raise QuantityMissing(f"{DURATION_FIELD} is out of range.")
    numerator, denominator = exact.as_integer_ratio()
    return _require_positive(DURATION_FIELD, -(-numerator // (denominator * _MS_PER_SECOND)))


def _require_positive(name: str, quantity: int) -> int:
    if quantity <= 0:
        raise QuantityMissing(f"{name} is not above zero.")
    if quantity > MAX_QUANTITY:
        raise QuantityMissing(f"{name} is too large.")
    return quantity
