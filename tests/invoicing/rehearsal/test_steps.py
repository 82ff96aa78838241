"""Single verbs, where the stories of tests/scenarios do not say it already."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.models import Coupon, TaxRate
from invoicing.rehearsal.player import Played, play_story
from invoicing.rehearsal.reading import read_story

pytestmark = pytest.mark.django_db

HEAD = """\
catalog:
  products: [{id: app, name: App}]
  meters: [{name: calls, unit: requests}]
  plans:
    - id: basic
      product_id: app
      name: Basic
      prices: [{currency: usd, interval: month, meter: calls, unit_amount: "1"}]
  coupons:
    - {code: TEN, type: percentage, value: "10", duration_months: 3}
    - {code: FIVE, type: fixed_amount, value: 500, currency: usd, plans: basic}
  tax_rates: [{country: FR, rate: "0.20", name: TVA, valid_from: 2023-01-01}]
accounts: [{id: acme, currency: usd}]
steps:
  - {at: "2024-01-01T00:00:00Z", subscribe: {account: acme, plan: basic, as: sub}}
"""


def play(folder: Path, steps: str, *, keep: bool = False) -> Played:
    path = folder / "story.yaml"
    path.write_text(HEAD + steps, encoding="utf-8")
    return play_story(read_story(path), keep=keep)


class TestCatalog:
    def test_holds_coupons_and_tax_rates(self, tmp_path: Path) -> None:
        played = play(tmp_path, "", keep=True)
        coupons = Coupon.objects.filter(org_id=played.org_id).order_by("code")
        assert [(each.code, each.percent_off, each.amount_off, each.applicable_plan_ids) for each in coupons] == [
            ("FIVE", None, 500, ["basic"]),
            ("TEN", 10, None, []),
        ]
        assert TaxRate.objects.get(org_id=played.org_id).country == "FR"


class TestUsage:
    @pytest.mark.parametrize(
        ("content", "detail"),
        [
            ("when,count\n2024-01-01T00:00:00Z,5\n2024-01-01T00:00:00Z,many\n", "line 3, column count"),
            ("when,count\n2024-01-01T00:00:00Z,5\n2025-01-01T00:00:00Z,5\n", "line 3: The time lies"),
            ("moment,count\n", "column when: is not in the file"),
        ],
    )
    def test_of_a_file_names_the_line_that_is_wrong(self, tmp_path: Path, content: str, detail: str) -> None:
        (tmp_path / "usage.csv").write_text(content)
        step = "{account: acme, meter: calls, file: usage.csv, columns: {quantity: count, timestamp: when}}"
        played = play(tmp_path, f"  - {{usage: {step}}}\n")
        refusal = played.steps[-1].refusal
        assert refusal is not None
        assert refusal.code == "step_impossible"
        assert detail in refusal.detail

    def test_says_when_a_key_was_there_before(self, tmp_path: Path) -> None:
        step = "  - {usage: {account: acme, meter: calls, quantity: 1, key: once}}\n"
        played = play(tmp_path, step * 2)
        assert [each.remarks for each in played.steps[1:]] == [(), ("a repeat of a key: nothing was recorded",)]

    def test_of_an_unknown_meter_is_refused(self, tmp_path: Path) -> None:
        step = "  - {usage: {account: acme, meter: cals, quantity: 1}, expect: {error: meter_not_found}}\n"
        assert play(tmp_path, step).holds


class TestMovePrice:
    @pytest.mark.parametrize(
        ("step", "code"),
        [
            ("{plan: basic, to: 7}", "not_found"),
            ("{plan: gold}", "not_found"),
            ("{subscriptions: [sub]}", "nothing_to_move"),
        ],
    )
    def test_is_refused_where_there_is_nothing_to_do(self, tmp_path: Path, step: str, code: str) -> None:
        assert play(tmp_path, f"  - {{move_price: {step}, expect: {{error: {code}}}}}\n").holds


class TestAStoryThatStops:
    def test_says_where_and_what_was_left(self, tmp_path: Path) -> None:
        from invoicing.rehearsal.report import show_story

        played = play(tmp_path, "  - {void_invoice: {invoice: last}}\n  - {run_cycle: }\n  - {run_cycle: }\n")
        assert "✗ the story stops at line 16, 2 more steps not played; `expect` was not checked" in show_story(played)
