"""The usage explorer: charts, tables, gauges and CSV say what is stored, to those who may look."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, CostCenter
from billing_site.kernel import clock
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, make_subscription, record
from tests.factories.quotas import make_quota

pytestmark = pytest.mark.django_db
PAGE = "admin:metering_usageevent_explore"
CSV = "admin:metering_usageevent_explore_csv"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def sign_in(role: str | None) -> Client:
    user = User.objects.create_user(f"{role}-person", is_staff=True)
    if role is not None:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def browser() -> Client:
    return sign_in("support")


@pytest.fixture
def account() -> Account:
    """An account that used two kinds of tokens, and disk."""
    account = make_account("acme", name="Acme", timezone="America/New_York")
    tokens = make_meter("tokens_in", display_name="Tokens in", unit="tokens", dimensions=["model"])
    make_meter("tokens_out", display_name="Tokens out", unit="tokens", dimensions=["model"])
    make_meter("disk", display_name="Disk", unit="GB", aggregation="max")
    # Local midnights: five hours behind UTC, four from the change of clocks on.
    make_subscription(
        account, {tokens: "1"}, start=datetime(2026, 3, 1, 5, tzinfo=UTC), end=datetime(2026, 4, 1, 4, tzinfo=UTC)
    )
    center = make_cost_center(account, "ops", name="Operations")
    record(account, "tokens_in", 1500, dimensions={"model": "large"}, cost_center=center.code)
    record(account, "tokens_in", 500, at=AT - timedelta(hours=25), dimensions={"model": "small"})
    record(account, "tokens_out", 40, dimensions={"model": "large"})
    record(account, "disk", 7)
    record(account, "disk", 5, at=AT - timedelta(days=1))
    return account


def explore(browser: Client, account: Account, **choice: Any) -> Any:
    response = browser.get(reverse(PAGE), {"account": str(account.pk), **choice})
    assert response.status_code == 200
    return response


def chart_titles(response: Any) -> list[tuple[str, str, str]]:
    return [(chart.title, chart.quantity, chart.unit) for chart in response.context["charts"]]


class TestPage:
    def test_has_a_chart_for_each_unit_that_adds_up(self, browser: Client, account: Account) -> None:
        response = explore(browser, account)
        assert chart_titles(response) == [
            ("Disk", "7", "GB"),
            ("Tokens in and Tokens out", "2,040", "tokens"),  # 1500 + 500 + 40
        ]
        text = response.content.decode()
        assert "1 Mar 2026 – 31 Mar 2026" in text
        assert "The highest reading of each bucket." in text

    def test_divides_by_a_dimension_and_shares_add_up(self, browser: Client, account: Account) -> None:
        response = explore(browser, account, by="dimension:model", meter="tokens_in")
        assert chart_titles(response) == [("Tokens in", "2,000", "tokens")]
        assert [(row.name, row.quantity, row.share) for row in response.context["rows"]] == [
            ("large", "1,500", "75.0%"),
            ("small", "500", "25.0%"),
        ]

    def test_divides_by_cost_center_by_name(self, browser: Client, account: Account) -> None:
        response = explore(browser, account, by="cost_center", meter="tokens_in")
        assert [(row.name, row.quantity) for row in response.context["rows"]] == [
            ("Operations", "1,500"),
            ("(none)", "500"),
        ]

    def test_narrows_to_a_cost_center(self, browser: Client, account: Account) -> None:
        center = CostCenter.objects.get(account=account)
        assert chart_titles(explore(browser, account, center=str(center.pk))) == [("Tokens in", "1,500", "tokens")]
        without = explore(browser, account, center="none", meter=["tokens_in", "tokens_out"])
        assert chart_titles(without) == [("Tokens in and Tokens out", "540", "tokens")]  # 500 + 40

    def test_today_comes_by_local_hour_beside_yesterday(self, browser: Client, account: Account) -> None:
        response = explore(browser, account, range="today", meter="tokens_in")
        [chart] = response.context["charts"]
        # 12:00 UTC is 8:00 in New York. Yesterday to the same time, 500: 1000 more are 200 percent.
        assert chart.rows == [("Sun 15 Mar 2026 08:00 EDT", ["1,500"])]
        assert (chart.change.text, chart.change.earlier) == ("+200%", "500")

    def test_long_stretches_are_not_shown_by_hour(self, browser: Client, account: Account) -> None:
        response = explore(browser, account, range="custom", per="hour", **{"from": "2026-01-01", "to": "2026-03-15"})
        assert "More than 750 hours are shown by day." in response.content.decode()
        assert response.context["choice"].view.bucket == "day"

    @pytest.mark.parametrize(
        "choice",
        [
            {"range": "custom", "from": "2026-03-15", "to": "2026-03-01"},
            {"range": "nonsense", "per": "year", "by": "dimension:nothing", "center": "x", "meter": "unknown"},
            {"range": "custom", "from": "yesterday"},
            {"from": "0001-01-01", "range": "custom"},
        ],
    )
    def test_nonsense_is_no_error_page(self, browser: Client, account: Account, choice: dict[str, str]) -> None:
        assert "1 Mar 2026 – 31 Mar 2026" in explore(browser, account, **choice).content.decode()

    def test_says_what_to_do_when_there_is_nothing(self, browser: Client, account: Account) -> None:
        assert "Nothing was used in this time" in explore(browser, make_account()).content.decode()
        narrowed = explore(browser, account, range="last", meter="disk")
        assert "Nothing fits this choice" in narrowed.content.decode()

    def test_many_values_are_put_together_and_stay_in_the_table(self, browser: Client, account: Account) -> None:
        for number in range(12):
            record(account, "tokens_out", 100 + number, dimensions={"model": f"m{number:02}"})
        response = explore(browser, account, by="dimension:model", meter="tokens_out")
        [chart] = response.context["charts"]
        assert [part.name for part in chart.parts][-2:] == ["m04", "5 more"]
        assert len(response.context["rows"]) == 13
        # 100 to 103 and 40: what is put together is in the bars too.
        assert chart.rows[-1][1][-1] == "446"

    def test_shows_how_far_quotas_are_used(self, browser: Client, account: Account) -> None:
        make_quota(account, "tokens_in", 2_100)
        make_quota(account, "tokens_out", None)
        response = explore(browser, account, range="last")
        shown = {gauge.name: gauge for gauge in response.context["gauges"]}
        # 2000 x 100 / 2100 = 95.2
        tokens = shown["Tokens in"]
        assert (tokens.percent, tokens.level, tokens.used, tokens.limit) == (95, "critical", "2,000", "of 2,100 tokens")
        assert (shown["Tokens out"].filled, shown["Tokens out"].limit) == (None, "unlimited")

    def test_takes_the_same_queries_whatever_there_is(self, browser: Client, account: Account) -> None:
        def count() -> int:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                explore(browser, account, by="dimension:model")
            return len(queries)

        count()
        first = count()
        for number in range(5):
            make_meter(f"more-{number}", dimensions=["model"])
            record(account, f"more-{number}", dimensions={"model": f"x{number}"})
        assert count() == first

    def test_is_linked_from_the_account_and_the_sidebar(self, browser: Client, account: Account) -> None:
        text = browser.get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode()
        assert f"{reverse(PAGE)}?account={account.pk}" in text
        assert "Usage explorer" in text


class TestChoosingAnAccount:
    def test_lists_and_finds_accounts(self, browser: Client, account: Account) -> None:
        make_account("globex", name="Globex")
        everything = browser.get(reverse(PAGE)).content.decode()
        assert "Acme" in everything
        assert "Globex" in everything
        found = browser.get(reverse(PAGE), {"q": "lobe"})
        assert [entry.name for entry, _ in found.context["accounts"]] == ["Globex"]
        by_id = browser.get(reverse(PAGE), {"q": account.public_id})
        assert [entry.name for entry, _ in by_id.context["accounts"]] == ["Acme"]
        assert "No account fits" in browser.get(reverse(PAGE), {"q": "nobody", "account": "x"}).content.decode()


class TestCsv:
    def test_has_every_part_in_every_bucket(self, browser: Client, account: Account) -> None:
        record(account, "tokens_in", "0.25", dimensions={"model": "=1+1"})
        response = browser.get(reverse(CSV), {"account": str(account.pk), "by": "dimension:model"})
        assert response.streaming
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert "usage-acme-20260301-this.csv" in response["Content-Disposition"]
        rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))
        start = {"start": "2026-03-15T00:00:00-04:00", "start_utc": "2026-03-15T04:00:00Z"}
        before = {"start": "2026-03-14T00:00:00-04:00", "start_utc": "2026-03-14T04:00:00Z"}
        tokens = {"meter": "tokens_in", "unit": "tokens", "events": "1"}
        assert rows == [
            {**before, **tokens, "model": "small", "quantity": "500"},
            {**start, **tokens, "model": "'=1+1", "quantity": "0.25"},
            {**start, **tokens, "model": "large", "quantity": "1500"},
            {**start, **tokens, "meter": "tokens_out", "model": "large", "quantity": "40"},
        ]

    def test_names_cost_centers_by_code(self, browser: Client, account: Account) -> None:
        response = browser.get(
            reverse(CSV), {"account": str(account.pk), "by": "cost_center", "meter": "tokens_in", "range": "today"}
        )
        rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))
        assert [(row["cost_center"], row["quantity"], row["start_utc"]) for row in rows] == [
            ("ops", "1500", "2026-03-15T12:00:00Z")
        ]

    def test_needs_an_account(self, browser: Client) -> None:
        assert browser.get(reverse(CSV)).status_code == 404


@pytest.mark.parametrize("name", [PAGE, CSV])
@pytest.mark.parametrize("role", ["viewer", "support", "billing", "finance_lead"])
def test_every_role_may_look(account: Account, name: str, role: str) -> None:
    assert sign_in(role).get(reverse(name), {"account": str(account.pk)}).status_code == 200


@pytest.mark.parametrize("name", [PAGE, CSV])
def test_others_may_not(account: Account, name: str) -> None:
    assert sign_in(None).get(reverse(name), {"account": str(account.pk)}).status_code == 403
    assert Client().get(reverse(name), {"account": str(account.pk)}).status_code == 302
