"""How values look: money by the currency's own digits, periods by local days, everything escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from billing_site.backoffice.charts import draw_bars
from billing_site.backoffice.display import (
    badge,
    format_amount,
    format_money,
    format_period,
    json_block,
    money_display,
    status_badge,
)
from billing_site.backoffice.history import Explanation, Step, render_explanations, render_timeline
from billing_site.backoffice.panels import ChartPanel, Series
from billing_site.platform.models import Event


class TestMoney:
    @pytest.mark.parametrize(
        ("amount", "currency", "shown"),
        [
            (123456789, "usd", "1,234,567.89 USD"),
            (1234567, "jpy", "1,234,567 JPY"),
            (1234567, "kwd", "1,234.567 KWD"),
            (-5, "usd", "-0.05 USD"),
            (9007199254740993, "usd", "90,071,992,547,409.93 USD"),  # beyond what a float can hold
        ],
    )
    def test_amounts_are_exact(self, amount: int, currency: str, shown: str) -> None:
        assert format_money(amount, currency) == shown

    def test_isk_follows_our_table_not_babels(self) -> None:
        assert format_amount(1500, "isk") == "1,500"

    def test_a_column_follows_paths(self) -> None:
        line = SimpleNamespace(amount=1050, invoice=SimpleNamespace(currency="eur"))
        column = money_display("amount", "invoice.currency", description="Amount")
        assert ">10.50<" in column(line)
        assert ">EUR<" in column(None, line)  # as a method of an admin class
        assert column.short_description == "Amount"  # type: ignore[attr-defined]

    def test_a_missing_amount_is_a_dash(self) -> None:
        assert money_display("amount")(SimpleNamespace(amount=None, currency="usd")) == "–"


class TestText:
    def test_a_status_is_always_readable_as_text(self) -> None:
        shown = status_badge()(SimpleNamespace(status="past_due"))
        assert "Past due" in shown
        assert "ch-warning" in shown

    def test_markup_in_data_is_escaped(self) -> None:
        assert "<script>" not in json_block({"name": "<script>"})
        assert "<b>" not in badge("<b>")
        assert "<b>" not in render_explanations([Explanation("<b>", steps=[Step("<b>", "<b>", "<b>", "<b>")])])


class TestPeriod:
    def test_whole_local_days_are_shown_first_to_last(self) -> None:
        start, end = datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC)
        shown = format_period(start, end, "Europe/Berlin")
        assert "1 Feb 2026 – 28 Feb 2026" in shown
        assert "2026-01-31 23:00:00 to 2026-02-28 23:00:00 UTC" in shown

    def test_other_periods_show_the_time(self) -> None:
        shown = format_period(datetime(2026, 2, 1, 9, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC), "UTC")
        assert "1 Feb 2026 09:00 – 2 Feb 2026 00:00" in shown


class TestChart:
    def panel(self, *values: int) -> ChartPanel:
        names = [f"m{number}" for number in range(len(values))]
        return ChartPanel("Invoiced", names, [Series("USD", values, [str(value) for value in values])])

    def test_the_largest_bar_fills_the_height_and_others_follow(self) -> None:
        drawing = draw_bars(self.panel(50, 100, 0))
        low, high = drawing.bars
        assert high.height == 2 * low.height
        assert high.y + high.height == drawing.baseline

    def test_without_amounts_it_says_so(self) -> None:
        assert draw_bars(self.panel(0, 0)).is_empty
        assert draw_bars(ChartPanel("Invoiced", [], [])).is_empty

    def test_the_table_behind_holds_every_number(self) -> None:
        assert draw_bars(self.panel(50, -3)).rows == [("m0", ["50"]), ("m1", ["-3"])]


class TestTimeline:
    def test_only_what_changed_is_listed_with_who_and_why(self) -> None:
        event = Event(
            type="invoice.voided",
            actor_type="staff",
            actor_id="ada",
            reason="Wrong <account>",
            data={"status": "void", "total": 100},
            previous_data={"status": "open", "total": 100},
            created_at=datetime(2026, 2, 1, tzinfo=UTC),
        )
        shown = render_timeline([event])
        assert "<del>open</del> → <ins>void</ins>" in shown
        assert "total" not in shown
        assert "Wrong &lt;account&gt;" in shown
        assert "by ada" in shown
