"""
Reading `expect`: which documents, balances, subscriptions and events there must be.

Each section is a table of what an entry may say and how its values are written; reading and comparing follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import yaml

from invoicing.rehearsal.fields import NUMBER, Fields, parse_day
from invoicing.rehearsal.marks import Mistakes, is_null, iterate, line_of

Kind = Literal["text", "number", "day", "period", "flag", "lines"]

LINE: Final[Mapping[str, Kind]] = {
    "type": "text",
    "plan": "text",
    "version": "number",
    "meter": "text",
    "subscription": "text",
    "description": "text",
    "period": "period",
    "quantity": "number",
    "amount": "number",
    "discount": "number",
    "tax": "number",
    "cost_center": "text",
}
INVOICE: Final[Mapping[str, Kind]] = {
    "account": "text",
    "subscription": "text",
    "subscriptions": "text",
    "number": "text",
    "status": "text",
    "currency": "text",
    "date": "day",
    "due_date": "day",
    "period": "period",
    "subtotal": "number",
    "discount": "number",
    "discount_name": "text",
    "tax": "number",
    "taxes": "text",
    "total": "number",
    "credit_applied": "number",
    "due": "number",
    "amount_due": "number",
    "paid": "number",
    "amount_paid": "number",
    "amount_remaining": "number",
    "payment_method": "text",
    "reissues": "text",
    "lines": "lines",
}
CREDIT_NOTE: Final[Mapping[str, Kind]] = {
    "account": "text",
    "number": "text",
    "invoice": "text",
    "status": "text",
    "currency": "text",
    "date": "day",
    "subtotal": "number",
    "tax": "number",
    "total": "number",
    "applied": "number",
    "credited": "number",
    "out_of_band": "number",
    "reason": "text",
    "lines": "lines",
}
BALANCE: Final[Mapping[str, Kind]] = {
    "account": "text",
    "currency": "text",
    "prepaid": "number",
    "invoice_credit": "number",
    "credit": "number",
    "receivable": "number",
}
GRANT: Final[Mapping[str, Kind]] = {
    "account": "text",
    "subscription": "text",
    "name": "text",
    "tag": "text",
    "tags": "text",
    "currency": "text",
    "priority": "number",
    "amount": "number",
    "remaining": "number",
    "effective": "day",
    "expires": "day",
    "status": "text",
}
SUBSCRIPTION: Final[Mapping[str, Kind]] = {
    "subscription": "text",
    "account": "text",
    "plan": "text",
    "version": "number",
    "status": "text",
    "quantity": "number",
    "currency": "text",
    "period": "period",
    "next_billing": "day",
    "ended": "day",
}
PAYMENT_METHOD: Final[Mapping[str, Kind]] = {
    "method": "text",
    "account": "text",
    "type": "text",
    "name": "text",
    "status": "text",
    "default": "flag",
}
ALERT: Final[Mapping[str, Kind]] = {
    "alert": "text",
    "account": "text",
    "type": "text",
    "date": "day",
    "currency": "text",
    "value": "number",
    "threshold": "number",
    "period": "period",
}
MAIL: Final[Mapping[str, Kind]] = {
    "account": "text",
    "kind": "text",
    "date": "day",
    "invoices": "text",
    "subject": "text",
}
DUNNING: Final[Mapping[str, Kind]] = {
    "account": "text",
    "invoice": "text",
    "status": "text",
    "step": "number",
    "next": "day",
    "stopped": "text",
    "ended": "day",
}
REFUND: Final[Mapping[str, Kind]] = {
    "account": "text",
    "invoice": "text",
    "credit_note": "text",
    "amount": "number",
    "currency": "text",
    "destination": "text",
    "status": "text",
}
DISPUTE: Final[Mapping[str, Kind]] = {
    "account": "text",
    "amount": "number",
    "held": "number",
    "currency": "text",
    "status": "text",
}
SECTIONS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "invoices": INVOICE,
    "credit_notes": CREDIT_NOTE,
    "balances": BALANCE,
    "grants": GRANT,
    "subscriptions": SUBSCRIPTION,
    "payment_methods": PAYMENT_METHOD,
    "alerts": ALERT,
    "mails": MAIL,
    "dunning": DUNNING,
    "refunds": REFUND,
    "disputes": DISPUTE,
}
NOT_YET: Final = ("quotas",)
# What says which document is meant, rather than what it is like: pairing looks at these first.
IDENTITY: Final = frozenset(
    {
        *("account", "alert", "subscription", "method", "number", "type", "plan", "meter", "name", "tag", "tags"),
        *("kind", "invoice"),
    }
)
HINTS: Final[Mapping[Kind, str]] = {
    "text": "a word",
    "number": 'a number such as "10.00"',
    "day": "a day such as 2024-03-01",
    "period": "[first day, day after the last], such as [2024-03-01, 2024-04-01]",
    "flag": "true or false",
    "lines": "a list of lines",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one document (or line, balance, …) must say. `exact` forbids lines that are not listed."""

    line: int
    values: Mapping[str, str | None]
    lines: tuple[Entry, ...] | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `expect`: entries by section, and event types. `exact` forbids what is not listed."""

    line: int
    exact: bool = False
    sections: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    events: tuple[str, ...] | None = None
    error: str = ""
    error_line: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare."""
        return not self.sections and self.events is None


def read_expectation(fields: Fields) -> Expectation:
    """Read an `expect` block."""
    exact = bool(fields.flag("exact"))
    sections = {
        name: tuple(_read_entries(fields, name, kinds, exact)) for name, kinds in SECTIONS.items() if fields.names(name)
    }
    found = Expectation(
        line=fields.line,
        exact=exact,
        sections=sections,
        events=tuple(fields.texts("events")) if fields.names("events") else None,
        error=fields.text("error"),
        error_line=fields.line_at("error"),
    )
    for name in NOT_YET:
        if fields.names(name):
            fields.report(name, f"the expectation `{name}` is not available yet")
            fields.node_of(name)
    fields.finish(known=SECTIONS)
    return found


def _read_entries(fields: Fields, name: str, kinds: Mapping[str, Kind], exact: bool) -> list[Entry]:
    found = []
    for each in fields.blocks(name, name.removesuffix("s")):
        if name == "balances" and not each.has("account"):
            each.mistakes.add(each.line, "a balance names its `account`")
        found.append(_read_entry(each, kinds, exact))
    return found


def _read_entry(fields: Fields, kinds: Mapping[str, Kind], exact: bool) -> Entry:
    values: dict[str, str | None] = {}
    lines: tuple[Entry, ...] | None = None
    if "lines" in kinds and fields.names("exact"):
        exact = fields.flag("exact") is True
    for key, kind in kinds.items():
        if not fields.names(key):
            continue
        if kind == "lines":
            lines = tuple(_read_entry(each, LINE, exact) for each in fields.blocks(key, "line"))
        else:
            values[key] = _read_value(fields, key, kind)
    fields.finish(known=kinds)
    return Entry(fields.line, values, lines, exact)


def _read_value(fields: Fields, key: str, kind: Kind) -> str | None:
    """Return the value as text in the form in which actual values are written, None for null."""
    node = fields.node_of(key)
    if node is None:
        return None
    text = _write_value(node, kind, fields.mistakes)
    if text is None:
        fields.report(key, f"`{key}` is {HINTS[kind]}")
    return text


def _write_value(node: yaml.Node, kind: Kind, mistakes: Mistakes) -> str | None:
    if kind == "period":
        days = [item.value if isinstance(item, yaml.ScalarNode) else "" for item in iterate(node)]
        good = len(days) == 2 and all(parse_day(day) for day in days)
        return f"{days[0]} – {days[1]}" if good else None
    if not isinstance(node, yaml.ScalarNode):
        return None
    text = str(node.value).strip()
    if (kind == "number" and not NUMBER.fullmatch(text)) or (kind == "day" and parse_day(text) is None):
        return None
    if kind == "flag" and text not in ("true", "false"):
        return None
    if not text and not is_null(node):
        mistakes.add(line_of(node), "an empty text never matches; write null for nothing")
    return text
