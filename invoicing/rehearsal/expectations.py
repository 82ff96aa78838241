"""Holding a story against what it expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.rehearsal.documents import (
    describe_invoice,
    list_alerts,
    list_balances,
    list_credit_notes,
    list_events,
    list_grants,
    list_issued,
    list_payment_methods,
    list_subscriptions,
)
from invoicing.rehearsal.expected import SECTIONS, Entry, Expectation
from invoicing.rehearsal.matching import (
    NOTHING,
    Compared,
    Comparison,
    compare_entries,
    describe_line,
    pair_up,
)
from invoicing.rehearsal.moved_money import list_disputes, list_refunds
from invoicing.rehearsal.sent import list_dunning, list_mails
from invoicing.rehearsal.world import World


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of thing that was compared: `invoices`, `events`, …"""

    name: str
    comparisons: tuple[Comparison, ...]

    @property
    def met(self) -> bool:
        return all(each.met for each in self.comparisons)


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one `expect`."""

    line: int
    sections: tuple[Section, ...]

    @property
    def met(self) -> bool:
        return all(section.met for section in self.sections)


def check_expectation(world: World, expectation: Expectation) -> Checked:
    """Compare what there is now with what is expected now; reads only."""
    sections = [
        Section(name, tuple(_compare_section(world, name, entries, expectation.exact)))
        for name, entries in expectation.sections.items()
    ]
    if expectation.events is not None:
        compared = _compare_events(expectation.events, list_events(world), exact=expectation.exact)
        sections.append(Section("events", (Comparison("events in order", expectation.line, tuple(compared)),)))
    return Checked(expectation.line, tuple(sections))


def _compare_section(world: World, name: str, entries: Sequence[Entry], exact: bool) -> list[Comparison]:
    match name:
        case "invoices":
            actuals = [describe_invoice(world, invoice) for invoice in list_issued(world)]
        case "credit_notes":
            actuals = list_credit_notes(world)
        case "refunds":
            actuals = list_refunds(world)
        case "disputes":
            actuals = list_disputes(world)
        case "subscriptions":
            actuals = list_subscriptions(world)
        case "grants":
            actuals = list_grants(world)
        case "payment_methods":
            actuals = list_payment_methods(world)
        case "alerts":
            actuals = list_alerts(world)
        case "mails":
            actuals = list_mails(world)
        case "dunning":
            actuals = list_dunning(world)
        case _:
            actuals = list_balances(world, entries)
    kinds = SECTIONS[name]
    return compare_entries(entries, actuals, kinds=kinds, exact=exact, describe=describe_document)


def describe_document(document: Mapping[str, Any]) -> str:
    """Return an actual document as one line."""
    if "lines" in document:
        lines = "; ".join(describe_line(line) for line in document["lines"])
        total = f"{document['total']} {document['currency'].upper()}"
        return f"{document['number']} {document['account']} {document['date']} {total} ({lines})"
    if "kind" in document:
        return " ".join(filter(None, (document["account"], document["kind"], document["date"], document["invoices"])))
    if "step" in document:
        return f"{document['account']} {document['invoice']} {document['status']} after step {document['step']}"
    if "remaining" in document:
        left = f"{document['remaining']} of {document['amount']} {document['currency'].upper()}"
        return " ".join(filter(None, (document["account"], document["name"] or document["tags"], left)))
    if "threshold" in document:
        came_to = f"{document['value']} {document['currency'].upper()}"
        return " ".join(filter(None, (document["account"], document["alert"], document["type"], came_to)))
    if "method" in document:
        return " ".join(filter(None, (document["account"], document["method"], document["name"])))
    if "destination" in document or "held" in document:
        said = f"{document['amount']} {document['currency'].upper()} {document['status']}"
        return " ".join(filter(None, (document["account"], document.get("destination"), said)))
    if "status" in document:
        return " ".join(filter(None, (document["account"], document["subscription"], document["plan"])))
    return " ".join(filter(None, (document.get("account") or "unknown account", document.get("currency", "").upper())))


def _compare_events(expected: Sequence[str], actual: Sequence[tuple[str, str]], *, exact: bool) -> list[Compared]:
    """Compare events in order: each is its type, or its account and its type (`acme invoice.paid`)."""

    def cost(i: int, j: int) -> int:
        # A pair of two different events says no more than one missing and one too many.
        return 0 if expected[i] in (actual[j][1], " ".join(actual[j])) else 20_002

    compared = []
    for i, j in pair_up(len(expected), len(actual), cost, exact=exact):
        if i is not None:
            found = " ".join(actual[j]) if j is not None else NOTHING
            compared.append(Compared("event", expected[i], found, j is not None))
        elif exact and j is not None:
            compared.append(Compared("event", NOTHING, " ".join(actual[j]), False))
    return compared
