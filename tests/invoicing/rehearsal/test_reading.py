"""Everything wrong with a file is reported at once, with line numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from invoicing.rehearsal.marks import FileUnreadable
from invoicing.rehearsal.reading import read_story
from invoicing.rehearsal.steps import NOT_YET, VERBS
from invoicing.rehearsal.steps.deposits import Deposit
from invoicing.rehearsal.steps.usage import UsageEvent
from invoicing.rehearsal.story import Story

HEAD = """\
title: a story
catalog:
  products: [{id: app, name: App}]
  meters: [{name: calls, unit: requests}]
  plans: [{id: basic, product_id: app, name: Basic, prices: [{currency: eur, unit_amount: 1000, interval: month}]}]
accounts: [{id: acme, currency: eur, timezone: Europe/Paris}, {id: japan, currency: jpy}]
steps:
  - {at: "2024-01-01T00:00:00Z", subscribe: {account: acme, plan: basic, as: sub}}
"""
STEP = 9  # the line after HEAD
ALL_VERBS = """
    subscribe change_plan change_quantity cancel reactivate pause resume schedule usage redeem discount grant_credit
    deposit adjust_balance payment_method pay payment_result refund credit_note void_invoice add_line move_price
    run_cycle override_price publish_catalog
""".split()


def read(folder: Path, text: str) -> Story:
    path = folder / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return read_story(path)


def mistakes_in(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(FileUnreadable) as refusal:
        read(folder, text)
    return [(mistake.line, mistake.what) for mistake in refusal.value.mistakes]


class TestReadStory:
    def test_reads_a_whole_story(self, tmp_path: Path) -> None:
        story = read(tmp_path, HEAD)
        assert (story.title, story.start) == ("a story", datetime(2024, 1, 1, tzinfo=UTC))
        assert [account.zone.key for account in story.accounts.values()] == ["Europe/Paris", "UTC"]
        assert story.steps[0].line == 8

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("  - {subscrbe: {account: acme}}", "there is no verb `subscrbe`; did you mean `subscribe`?"),
            ("  - {payment_result: {}}", "the verb `payment_result` is not available yet"),
            (
                "  - {subscribe: {account: acme, plan: basic, qantity: 2}}",
                "`subscribe` has no key `qantity`; did you mean `quantity`?",
            ),
            (
                "  - {subscribe: {account: acme, plan: basic, items: [x]}}",
                "the key `items` of `subscribe` is not available yet",
            ),
            (
                "  - {subscribe: {account: acmee, plan: basic}}",
                "the story has no account `acmee`; did you mean `acme`?",
            ),
            ("  - {subscribe: {account: acme}}", "`subscribe` needs `plan`"),
            (
                "  - {subscribe: {account: acme, plan: basic, as: sub}}",
                "another step starts a subscription `sub` already",
            ),
            ("  - {usage: {account: acme, meter: calls}}", "`usage` needs `quantity`"),
            (
                "  - {usage: {account: acme, meter: calls, quantity: many}}",
                '`quantity` is a number such as "1500" or "0.25"',
            ),
            (
                "  - {usage: {account: acme, meter: calls, quantity: 1, timestamp: 2024-01-01T00:00:00}}",
                '`timestamp` needs an offset from UTC: "2024-03-01T09:00:00Z" or "…+01:00"',
            ),
            ("  - {usage: {account: acme, file: gone.csv, meter: calls, columns: {quantity: n}}}", "there is no file"),
            (
                "  - {usage: {account: acme, file: story.yaml, meter: calls, columns: {quantity: n}}}",
                "story.yaml: is neither .csv, .jsonl nor .ndjson",
            ),
            ("  - {run_cycle: 5}", "`run_cycle` takes keys and values, such as {account: acme}"),
            (
                "  - {run_cycle: , deposit: {account: acme, amount: 1}}",
                "a step has one verb; this one has `run_cycle` already",
            ),
            (
                "  - {at: 2023-12-31T00:00:00Z, run_cycle: }",
                "time goes backwards: the story is at 2024-01-01T00:00:00Z already",
            ),
            ("  - {at: noon, run_cycle: }", '`at` is a time such as "2024-03-01T09:00:00Z"'),
            ("  - {}", "this step does nothing: give it a verb, `at` or `expect`"),
            (
                '  - {deposit: {account: acme, amount: "1050"}}',
                '`amount` is an amount: 3000 for minor units, or with its decimals ("30.00") for major units of EUR',
            ),
            (
                "  - {deposit: {account: japan, amount: 10.5}}",
                '`amount` is an amount: 3000 for minor units, or with its decimals ("30.00") for major units of JPY',
            ),
            ("expect: {invoices: [{totl: 1}]}", "`invoice` has no key `totl`; did you mean `total`?"),
            ("expect: {invoices: [{date: 1 March}]}", "`date` is a day such as 2024-03-01"),
            (
                "expect: {invoices: [{period: [2024-03-01]}]}",
                "`period` is [first day, day after the last], such as [2024-03-01, 2024-04-01]",
            ),
            ("expect: {invoices: [{lines: [{amount: ten}]}]}", '`amount` is a number such as "10.00"'),
            ("expect: {invoices: [{account: acmee}]}", "the story has no account `acmee`; did you mean `acme`?"),
            (
                "expect: {subscriptions: [{subscription: sum}]}",
                "no step names a subscription `sum`; did you mean `sub`?",
            ),
            ("expect: {balances: [{prepaid: 1}]}", "a balance names its `account`"),
            ("expect: {quotas: []}", "the expectation `quotas` is not available yet"),
            ("expect: {invoicez: []}", "`expect` has no key `invoicez`; did you mean `invoices`?"),
            (
                "  - {subscribe: {account: acme, plan: basic, billing_cycle_anchor: 2024-02-30}}",
                "`billing_cycle_anchor` is a day such as 2024-03-01",
            ),
            (
                "  - {subscribe: {account: acme, plan: basic, alignment: moon}}",
                "`alignment` is one of anniversary, calendar, not `moon`",
            ),
            ("settings: {zero_usage: flat}", "the setting `zero_usage` is not available yet"),
            ("settings: {proration: hour}", "`proration` is one of day, second, none, not `hour`"),
            ("settings: {denominator: 30}", "`denominator` is one of actual, fixed_30, not `30`"),
            ("settings: {alignment: calender}", "not `calender`; did you mean `calendar`?"),
            ("settings: {interval_change: drop}", "`interval_change` is one of keep_anchor, restart, not `drop`"),
            ("settings: {pause_credit: all}", "`pause_credit` is one of unused_days, none, not `all`"),
            ("settings: {cancel_unused: keep}", "`cancel_unused` is one of forfeit, credit, refund, not `keep`"),
            ("settings: {trial_days: 800}", "`trial_days` is 800; it lies between 0 and 730"),
            ("settings: {alignement: calendar}", "did you mean `alignment`?"),
            ("settings: {roundin: half_even}", "`settings` has no key `roundin`; did you mean `rounding`?"),
            ("settings: {seller: {rounding: up}}", "`rounding` is one of half_up, half_even, not `up`"),
            ("colour: red", "`story` has no key `colour`"),
        ],
    )
    def test_names_the_line_of_a_mistake(self, tmp_path: Path, line: str, what: str) -> None:
        found = mistakes_in(tmp_path, f"{HEAD}{line}\n")
        assert [number for number, _ in found] == [STEP]
        assert what in found[0][1]

    def test_reports_all_mistakes_at_once(self, tmp_path: Path) -> None:
        text = HEAD.replace("Europe/Paris", "Europe/Pari").replace("unit_amount: 1000", "unit_amount: -1")
        found = mistakes_in(tmp_path, f"{text}  - {{pause: {{}}}}\n  - {{pawse: {{}}}}\n")
        assert [line for line, _ in found] == [5, 6, 9, 10]
        assert found[0][1] == "catalog /plans/0/prices/0/unit_amount: A price cannot be negative."

    @pytest.mark.parametrize("verb", ALL_VERBS)
    def test_knows_every_verb_of_the_format(self, tmp_path: Path, verb: str) -> None:
        assert (verb in VERBS) != (verb in NOT_YET)
        if verb in NOT_YET:
            assert mistakes_in(tmp_path, f"{HEAD}  - {{{verb}: {{}}}}\n") == [
                (STEP, f"the verb `{verb}` is not available yet")
            ]

    def test_wants_the_first_step_to_say_when(self, tmp_path: Path) -> None:
        assert mistakes_in(tmp_path, HEAD.replace('at: "2024-01-01T00:00:00Z", ', "")) == [
            (8, "the first step says when the story begins: give it `at`")
        ]

    @pytest.mark.parametrize("missing", ["catalog", "accounts", "steps"])
    def test_wants_catalog_accounts_and_steps(self, tmp_path: Path, missing: str) -> None:
        text = HEAD.replace(f"{missing}:", f"x{missing}:")
        assert any(
            f"needs `{missing}`" in what or f"needs a `{missing}`" in what for _, what in mistakes_in(tmp_path, text)
        )

    @pytest.mark.parametrize("text", ["- a list", "just a text"])
    def test_wants_keys(self, tmp_path: Path, text: str) -> None:
        assert mistakes_in(tmp_path, text) == [(1, "a story begins with keys such as `title:` and `steps:`")]

    def test_reads_a_catalog_file_beside_the_story(self, tmp_path: Path) -> None:
        (tmp_path / "catalog.json").write_text('{"products": [], "meters": [], "plans": [{}]}')
        text = "catalog: {file: catalog.json}\naccounts: [{id: a}]\nsteps: [{at: 2024-01-01T00:00:00Z}]\n"
        found = mistakes_in(tmp_path, text)
        assert {line for line, _ in found} == {1}
        assert any("/plans/0/id: This is required." in what for _, what in found)
        (tmp_path / "catalog.json").write_text("{")
        assert "Line 1, column 2" in mistakes_in(tmp_path, text)[0][1]
        (tmp_path / "catalog.json").unlink()
        assert "cannot be read" in mistakes_in(tmp_path, text)[0][1]

    def test_cannot_read_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileUnreadable) as refusal:
            read_story(tmp_path / "gone.yaml")
        assert "No such file" in refusal.value.mistakes[0].what


class TestReadingSteps:
    def test_takes_amounts_in_minor_units_or_with_their_decimals(self, tmp_path: Path) -> None:
        lines = ["amount: 1050", 'amount: "10.50"', "amount: 10.50", "amount: 1050, currency: jpy"]
        steps = "".join(f"  - {{deposit: {{account: acme, {line}}}}}\n" for line in lines)
        actions = [step.action for step in read(tmp_path, HEAD + steps).steps[1:]]
        assert [(each.amount, each.currency) for each in actions if isinstance(each, Deposit)] == [
            (1050, "eur"),
            (1050, "eur"),
            (1050, "eur"),
            (1050, "jpy"),
        ]

    def test_keeps_quantities_exact(self, tmp_path: Path) -> None:
        event = "account: acme, meter: calls, value: 0.1, unit_amount: 2.50, dimensions: {region: NO, size: 2}"
        step = f"  - {{usage: {{{event}}}}}"
        action = read(tmp_path, f"{HEAD}{step}\n").steps[1].action
        assert isinstance(action, UsageEvent)
        assert action.quantity == Decimal("0.1")
        assert action.details["metadata"] == {"unit_amount": "2.5"}
        assert action.details["dimensions"] == {"region": "NO", "size": "2"}

    @pytest.mark.parametrize(
        "text",
        [
            "  - {run_cycle: , expect: {error: cycle_in_progress}}\n",
            "  - {run_cycle: }\n  - {expect: {error: cycle_in_progress}}\n",
            "  - {run_cycle: }\nexpect: {error: cycle_in_progress}\n",
        ],
    )
    def test_an_error_belongs_to_the_step_it_follows(self, tmp_path: Path, text: str) -> None:
        steps = read(tmp_path, HEAD + text).steps
        assert [step.error for step in steps[:2]] == ["", "cycle_in_progress"]
