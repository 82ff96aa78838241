"""
From a file to a story, or to everything that is wrong with it, with line numbers, at once.

Only the file (and the files it names) is read here; nothing is looked up in the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from accounts.models import MAX_GRACE_HOURS, InvoiceGrouping
from accounts.services.profiles import clean_profile
from billing_site.kernel.errors import DomainError
from invoicing.rehearsal.catalogs import CatalogBlock, read_catalog_mapping
from invoicing.rehearsal.expected import Entry, Expectation, read_expectation
from invoicing.rehearsal.fields import BEGINNING, Fields, suggest
from invoicing.rehearsal.marks import FileUnreadable, Mistake, Mistakes, compose, line_of
from invoicing.rehearsal.policies import read_settings
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.steps import NOT_YET, VERBS
from invoicing.rehearsal.story import Action, Step, Story, StoryAccount

_PROFILE: Final = (
    *("name", "currency", "timezone", "email", "phone", "company", "line1", "line2", "city", "state", "postal_code"),
    *("country", "tax_id", "tier", "collection_method", "language"),
)
_STEP_KEYS: Final = ("at", "advance_to", "expect")
_ID_LENGTH: Final = 100


def read_story(path: Path) -> Story:
    """
    Return the story that a file tells.

    :raises FileUnreadable: with every mistake in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileUnreadable([Mistake(1, "the file is not UTF-8 text")]) from error
    except OSError as error:
        raise FileUnreadable([Mistake(0, f"cannot be read: {error.strerror}")]) from error
    root = compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise FileUnreadable([Mistake(line_of(root), "a story begins with keys such as `title:` and `steps:`")])
    mistakes = Mistakes()
    fields = Fields(root, "story", mistakes)
    story = _read_story(path, fields)
    fields.finish()
    if found := mistakes.collect():
        raise FileUnreadable(found)
    return story


def _read_story(path: Path, fields: Fields) -> Story:
    mistakes = fields.mistakes
    title = fields.text("title") or path.stem.replace("_", " ").replace("-", " ")
    settings = read_settings(fields.block("settings"))
    catalog = _read_catalog(fields, path.parent)
    accounts: dict[str, StoryAccount] = {}
    for block in fields.blocks("accounts", "account", required=True):
        account = _read_account(block)
        if account.id in accounts:
            block.report("id", f"there is another account `{account.id}`")
        accounts[account.id] = account
    scope = Scope(accounts, path.parent)
    steps = _expect_errors(list(_read_steps(fields, scope)), mistakes)
    expect = fields.block("expect")
    closing = read_expectation(expect) if expect is not None else None
    if closing is not None and closing.error:
        steps = _expect_error(steps, len(steps), closing, mistakes)
    for each in (*(step.expect for step in steps), closing):
        _check_names(each, scope, mistakes)
    start = _check_times(steps, fields)
    return Story(path, title, settings, catalog, accounts, tuple(steps), closing, start)


def _read_catalog(fields: Fields, folder: Path) -> CatalogBlock:
    return read_catalog_mapping(fields.block("catalog"), folder, fields.mistakes, fields.line)


def _read_account(fields: Fields) -> StoryAccount:
    """Read an account; what its profile cannot hold is found by the rules of the product."""
    name = fields.text("id", required=True)
    if "/" in name or len(name) > _ID_LENGTH:
        fields.report("id", f"an account's id is a short name without a slash, at most {_ID_LENGTH} characters")
    profile: dict[str, Any] = {key: fields.text(key) for key in _PROFILE if fields.has(key)}
    profile.setdefault("name", name.replace("-", " ").replace("_", " ").title() or "Account")
    if fields.has("net_terms_days"):
        profile["net_terms_days"] = fields.integer("net_terms_days", least=0, most=365)
    if fields.has("invoice_grouping"):
        profile["invoice_grouping"] = fields.choice("invoice_grouping", InvoiceGrouping.values)
    if fields.has("grace_hours"):
        profile["grace_hours"] = fields.integer("grace_hours", least=0, most=MAX_GRACE_HOURS)
    if fields.has("billing_threshold"):
        profile["billing_threshold"] = fields.integer("billing_threshold", least=1)
    if fields.has("split_by_cost_center"):
        profile["split_by_cost_center"] = bool(fields.flag("split_by_cost_center"))
    if fields.has("tax_exempt"):
        profile["tax_exempt"] = bool(fields.flag("tax_exempt"))
    if fields.has("metadata"):
        profile["metadata"] = fields.mapping("metadata")
    fields.finish()
    currency, zone = "usd", ZoneInfo("UTC")
    for key, value in profile.items():
        try:
            cleaned = clean_profile({key: value})[key]
        except DomainError as error:
            fields.report(key, f"`{key}`: {error.detail}")
            continue
        if key == "currency":
            currency = str(cleaned)
        elif key == "timezone":
            zone = ZoneInfo(str(cleaned))
    return StoryAccount(name, fields.line, profile, currency, zone)


# ---- steps ----------------------------------------------------------------------------------------------------------
def _read_steps(fields: Fields, scope: Scope) -> Iterator[Step]:
    count = 0
    for block in fields.blocks("steps", "step", required=True):
        count += 1
        yield _read_step(block, scope)
    if not count and fields.has("steps"):
        fields.report("steps", "a story has at least one step")


def _read_step(fields: Fields, scope: Scope) -> Step:
    at = fields.instant("at")
    if fields.has("advance_to"):
        if fields.has("at"):
            fields.report("advance_to", "`at` and `advance_to` both move the clock: give one of them")
        at = fields.instant("advance_to")
    verbs = [key for key in fields.list_keys() if key not in _STEP_KEYS]
    action: Action | None = None
    for number, verb in enumerate(verbs):
        if verb in VERBS:
            node = fields.node_of(verb)
            block = fields.block(verb) if node is not None else Fields.of(_empty(fields), verb, fields.mistakes)
            if block is not None:
                action = VERBS[verb](block, scope)
        else:
            _refuse_verb(fields, verb)
        if number:
            fields.report(verb, f"a step has one verb; this one has `{verbs[0]}` already")
    expect = fields.block("expect")
    expectation = read_expectation(expect) if expect is not None else None
    if not verbs and at is None and expectation is None and not fields.has("at") and not fields.has("advance_to"):
        fields.mistakes.add(fields.line, "this step does nothing: give it a verb, `at` or `expect`")
    error = expectation.error if expectation is not None and (verbs or at is not None) else ""
    return Step(fields.line, at, action, expectation, error, expectation.error_line if expectation and error else 0)


def _empty(fields: Fields) -> yaml.MappingNode:
    return yaml.MappingNode(tag="", value=[], start_mark=fields.node.start_mark)


def _refuse_verb(fields: Fields, verb: str) -> None:
    fields.node_of(verb)
    if verb in NOT_YET:
        fields.report(verb, f"the verb `{verb}` is not available yet")
    else:
        fields.report(verb, f"there is no verb `{verb}`{suggest(verb, {*VERBS, *NOT_YET, *_STEP_KEYS})}")


# ---- what steps say of each other -----------------------------------------------------------------------------------
def _expect_errors(steps: list[Step], mistakes: Mistakes) -> list[Step]:
    """Let an `expect` that stands alone and names an error speak of the step before it."""
    for index, step in enumerate(steps):
        alone = step.action is None and step.at is None
        if alone and step.expect is not None and step.expect.error:
            steps = _expect_error(steps, index, step.expect, mistakes)
    return steps


def _expect_error(steps: list[Step], before: int, expectation: Expectation, mistakes: Mistakes) -> list[Step]:
    """Give the last step that does something before number `before` the error it must meet."""
    for index in range(before - 1, -1, -1):
        step = steps[index]
        if step.action is not None or step.at is not None:
            met = Step(step.line, step.at, step.action, step.expect, expectation.error, expectation.error_line)
            return [*steps[:index], met, *steps[index + 1 :]]
    mistakes.add(expectation.error_line, "`error` is for a step that does something; there is none before")
    return steps


def _check_times(steps: list[Step], fields: Fields) -> datetime:
    """Return when the story begins; the first step must say it, and time must not go backwards."""
    now: datetime | None = None
    for step in steps:
        if step.at is None:
            continue
        if now is not None and step.at < now:
            fields.mistakes.add(step.line, f"time goes backwards: the story is at {now:%Y-%m-%dT%H:%M:%SZ} already")
        now = max(now, step.at) if now is not None else step.at
    start = steps[0].at if steps else None
    if steps and start is None and not fields.mistakes.has(steps[0].line):
        fields.mistakes.add(steps[0].line, "the first step says when the story begins: give it `at`")
    return start or BEGINNING


def _check_names(expectation: Expectation | None, scope: Scope, mistakes: Mistakes) -> None:
    """Report accounts and subscriptions that no part of the story names."""
    if expectation is None:
        return
    for entry in _list_entries(expectation):
        account, subscription = entry.values.get("account"), entry.values.get("subscription")
        if account and account not in scope.accounts:
            mistakes.add(entry.line, f"the story has no account `{account}`{suggest(account, scope.accounts)}")
        if subscription and subscription not in scope.subscriptions:
            hint = suggest(subscription, scope.subscriptions)
            mistakes.add(entry.line, f"no step names a subscription `{subscription}`{hint}")
        if (method := entry.values.get("method")) and method not in scope.payment_methods:
            hint = suggest(method, scope.payment_methods)
            mistakes.add(entry.line, f"no step names a payment method `{method}`{hint}")


def _list_entries(expectation: Expectation) -> Iterator[Entry]:
    for entries in expectation.sections.values():
        for entry in entries:
            yield entry
            yield from entry.lines or ()
