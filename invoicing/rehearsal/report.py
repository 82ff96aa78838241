"""Showing a played story: as text for people, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from invoicing.rehearsal.documents import Document
from invoicing.rehearsal.expectations import Checked
from invoicing.rehearsal.marks import Mistake
from invoicing.rehearsal.matching import Comparison
from invoicing.rehearsal.player import Moment, Played, PlayedStep

Paint = Callable[[str], str]
MET: Final = "✓"
UNMET: Final = "✗"
_RIGHT: Final = frozenset({2, 3})


class Painter:
    """How good and bad news look; by default like any other text."""

    def __init__(self, good: Paint = str, bad: Paint = str, strong: Paint = str) -> None:
        self.good = good
        self.bad = bad
        self.strong = strong

    def mark(self, met: bool) -> str:
        return self.good(MET) if met else self.bad(UNMET)


def show_mistakes(path: str, mistakes: Sequence[Mistake]) -> list[str]:
    """Return one line for each mistake of a file, `story.yaml:12: …`, in the order of lines."""
    return [f"{path}:{each.line}: {each.what}" if each.line else f"{path}: {each.what}" for each in mistakes]


def show_story(played: Played, painter: Painter | None = None) -> list[str]:
    """Return the whole story as lines: steps with local times, documents, expectations, and the verdict."""
    painter = painter or Painter()
    story = played.story
    lines = [painter.strong(story.title)]
    lines += [f"  {account.id}: {account.currency.upper()}, {account.zone.key}" for account in story.accounts.values()]
    if played.refused is not None:
        lines += ["", *show_mistakes(str(story.path), [Mistake(played.refused.line, str(played.refused))])]
    for number, step in enumerate(played.steps, start=1):
        lines += ["", *_show_step(number, step, painter)]
    if played.checked is not None:
        lines += ["", *_show_checked(played.checked, painter)]
    lines += ["", *_show_end(played, painter)]
    return lines


def _show_end(played: Played, painter: Painter) -> Iterator[str]:
    if played.stopped:
        left = len(played.story.steps) - len(played.steps)
        rest = f", {left} more step{'' if left == 1 else 's'} not played" if left else ""
        yield f"{painter.mark(False)} the story stops at line {played.steps[-1].line}{rest}; `expect` was not checked"
    if played.verified:
        proven = not played.unproven
        yield f"{painter.mark(proven)} documents recomputed from their trace: {played.verified}"
        yield from (f"    {painter.bad(UNMET)} {difference}" for difference in played.unproven)
    if played.kept:
        yield f"kept in the organization {played.org_id}"
    verdict = painter.good("as expected") if played.holds else painter.bad("not as expected")
    yield f"{painter.mark(played.holds)} {played.story.path}: {verdict}"


# ---- steps ----------------------------------------------------------------------------------------------------------
def _show_step(number: int, step: PlayedStep, painter: Painter) -> Iterator[str]:
    for moment in step.moments:
        if moment.remarks or moment.documents:
            yield f"     {show_time(moment.at, step.zone)}  {'; '.join(moment.remarks)}"
            yield from _show_documents(moment.documents)
            yield ""
    yield f"{number:3d}  {show_time(step.at, step.zone)}  {painter.strong(step.text)}"
    yield from (f"       {remark}" for remark in step.remarks)
    yield from _show_documents(step.documents)
    if step.refusal is not None or step.wanted:
        yield from (f"       {line}" for line in _show_refusal(step, painter))
    if step.checked is not None:
        yield from (f"       {line}" for line in _show_checked(step.checked, painter))


def _show_refusal(step: PlayedStep, painter: Painter) -> Iterator[str]:
    actual = step.refusal.code if step.refusal else "nothing was refused"
    yield f"{painter.mark(step.met)} {step.refusal.detail if step.refusal else actual}"
    if not step.met:
        yield from _show_table([("", "expected", "actual"), ("error", step.wanted or "no error", actual)], indent=2)
    else:
        yield f"  refused with {actual}, as expected"


def show_time(at: datetime, zone: ZoneInfo) -> str:
    """Return an instant as the account's wall clock shows it."""
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local:%Z}" if local.second else f"{local:%Y-%m-%d %H:%M} {local:%Z}"


# ---- documents ------------------------------------------------------------------------------------------------------
def _show_documents(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        head = [document["number"], document["date"], document["account"], document["status"]]
        yield f"       {'  '.join(head)}"
        rows = [
            (_name_line(line), str(line["period"]), str(line["quantity"]), str(line["amount"]))
            for line in document["lines"]
        ]
        totals = [name for name in ("subtotal", "discount", "tax") if document[name] != document["total"]]
        if any(_is_not_zero(document[name]) for name in ("discount", "tax")):
            rows += [(name, "", "", str(document[name])) for name in totals]
        rows.append(("total", "", "", f"{document['total']}"))
        if _is_not_zero(document["credit_applied"]):
            rows += [("credit applied", "", "", f"-{document['credit_applied']}"), ("due", "", "", document["due"])]
        yield from (f"{line} {document['currency'].upper()}" if last else line for last, line in _mark_last(rows))


def _is_not_zero(amount: str) -> bool:
    """Tell whether a written amount is not zero."""
    return bool(amount.strip("-0."))


def _mark_last(rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[bool, str]]:
    shown = list(_show_table(rows, indent=9))
    yield from ((number == len(shown), line) for number, line in enumerate(shown, start=1))


def _name_line(line: Document) -> str:
    return " ".join(word for word in (line["type"], line["plan"], line["meter"]) if word)


def _show_table(rows: Sequence[tuple[str, ...]], *, indent: int) -> Iterator[str]:
    """Lay rows out in columns: texts to the left, the third and fourth column (quantity, amount) to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    is_money = len(widths) > 3
    for row in rows:
        cells = [
            cell.rjust(width) if is_money and column in _RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield " " * indent + "  ".join(cells).rstrip()


# ---- expectations ---------------------------------------------------------------------------------------------------
def _show_checked(checked: Checked, painter: Painter) -> Iterator[str]:
    yield f"{painter.mark(checked.met)} expect (line {checked.line})"
    for section in checked.sections:
        count = len(section.comparisons)
        good = sum(comparison.met for comparison in section.comparisons)
        yield f"  {painter.mark(section.met)} {section.name}: {good} of {count} as expected"
        for comparison in section.comparisons:
            if not comparison.met:
                yield from _show_comparison(comparison, painter)


def _show_comparison(comparison: Comparison, painter: Painter) -> Iterator[str]:
    where = f"line {comparison.line}: " if comparison.line else ""
    yield f"    {where}{comparison.label}"
    rows = [(each.name, each.expected, each.actual) for each in comparison.values]
    table = list(_show_table([("", "expected", "actual"), *rows], indent=0))
    yield f"        {table[0]}"
    for each, line in zip(comparison.values, table[1:], strict=True):
        yield f"      {' ' if each.met else painter.bad(UNMET)} {line}"


# ---- plain values ---------------------------------------------------------------------------------------------------
def describe_mistakes(path: str, mistakes: Sequence[Mistake]) -> dict[str, Any]:
    """Return a file that cannot be played as plain values."""
    return {
        "file": path,
        "result": "unreadable",
        "errors": [{"line": each.line, "message": each.what} for each in mistakes],
    }


def describe_story(played: Played) -> dict[str, Any]:
    """Return a played story as plain values: texts, whole numbers, lists."""
    if played.refused is not None:
        refused = Mistake(played.refused.line, str(played.refused))
        return describe_mistakes(str(played.story.path), [refused])
    return {
        "file": str(played.story.path),
        "title": played.story.title,
        "result": "met" if played.holds else "not_met",
        "organization": played.org_id if played.kept else None,
        "steps": [_describe_step(step) for step in played.steps],
        "expect": _describe_checked(played.checked),
        "verification": {"documents": played.verified, "differences": played.unproven},
    }


def _describe_step(step: PlayedStep) -> dict[str, Any]:
    refusal = step.refusal
    return {
        "line": step.line,
        "at": _write_instant(step.at),
        "local_time": show_time(step.at, step.zone),
        "step": step.text,
        "on_the_way": [_describe_moment(moment, step.zone) for moment in step.moments],
        "remarks": list(step.remarks),
        "documents": list(step.documents),
        "error": None if refusal is None else {"code": refusal.code, "detail": refusal.detail},
        "expected_error": step.wanted or None,
        "met": step.met,
        "expect": _describe_checked(step.checked),
    }


def _describe_moment(moment: Moment, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "at": _write_instant(moment.at),
        "local_time": show_time(moment.at, zone),
        "remarks": list(moment.remarks),
        "documents": list(moment.documents),
    }


def _describe_checked(checked: Checked | None) -> dict[str, Any] | None:
    if checked is None:
        return None
    return {
        "line": checked.line,
        "met": checked.met,
        **{
            section.name: [
                {
                    "line": comparison.line or None,
                    "what": comparison.label,
                    "met": comparison.met,
                    "values": [
                        {"name": each.name, "expected": each.expected, "actual": each.actual, "met": each.met}
                        for each in comparison.values
                    ],
                }
                for comparison in section.comparisons
            ]
            for section in checked.sections
        },
    }


def _write_instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
