"""The commands against a service: what they ask for, what they print, how they leave."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.billing_client.conftest import SERVICE_TOKEN, USER_TOKEN, Billing, make_token
from tests.billing_client.service import INVOICE, PDF, PLANS, Reply, Service, problem


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


class TestInvoices:
    def test_are_listed_for_people(self, billing: Billing, service: Service) -> None:
        outcome = billing("invoice")
        assert outcome.code == 0
        assert outcome.out.splitlines() == [
            "Number    ID    Date        Amount  Status",
            "--------  ----  ----------  ------  --------------",
            "INV-0042  in_1  2023-12-01  $17.31  open (overdue)",
        ]
        assert service.requests[0].query == {"account": "acme/alice", "limit": "10"}

    def test_are_filtered_and_limited(self, billing: Billing, service: Service) -> None:
        billing("invoice", "list", "--status", "open", "--start=2023-01-01", "--end", "2023-12-31", "--limit", "3")
        assert service.requests[0].query == {
            "account": "acme/alice",
            "status": "open",
            "start": "2023-01-01",
            "end": "2023-12-31",
            "limit": "3",
        }

    def test_have_a_json_and_a_csv_form(self, billing: Billing) -> None:
        assert billing("invoice", "--format=json").data == {"items": [INVOICE]}
        assert rows_of(billing("--format", "csv", "invoice", "list").out) == [
            ["number", "id", "date", "amount", "currency", "status"],
            ["INV-0042", "in_1", "2023-12-01", "1731", "usd", "open"],
        ]

    def test_show_says_how_the_amount_comes_about(self, billing: Billing) -> None:
        out = billing("invoice", "show", "INV-0042", "--include=metadata").out
        for text in (
            "=SUM(A1) · input tokens",
            "22,361,870",
            "$0.50 / 1M",
            "$11.18",
            "$6.13",
            "Subtotal",
            "$17.31",
            "order",
        ):
            assert text in out, text

    def test_show_has_one_record_in_csv(self, billing: Billing) -> None:
        assert rows_of(billing("invoice", "show", "in_1", "--format=csv").out) == [
            ["invoice_id", "total_amount", "currency", "status", "period_start", "period_end", "created_at"],
            ["in_1", "1731", "usd", "open", "2023-11-01T00:00:00Z", "2023-12-01T00:00:00Z", "2023-12-01T00:05:00Z"],
        ]

    def test_unknown_ones_are_not_found(self, billing: Billing) -> None:
        outcome = billing("invoice", "show", "INV-9999")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == "Error: invoice not found: INV-9999\nHint: billing invoice list\n"

    def test_download_goes_to_the_export_folder(
        self, billing: Billing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BILLING_EXPORT_DIR", str(tmp_path / "out"))
        outcome = billing("invoice", "download", "in_1")
        target = tmp_path / "out" / "INV-0042.pdf"
        assert outcome.out == f"{target}\n"
        assert target.read_bytes() == PDF

    def test_download_takes_the_newest_and_another_name(self, billing: Billing, tmp_path: Path) -> None:
        target = tmp_path / "newest.pdf"
        assert billing("invoice", "download", "--latest", "--output", str(target)).code == 0
        assert target.read_bytes() == PDF

    def test_a_number_cannot_lead_out_of_the_folder(
        self, billing: Billing, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BILLING_EXPORT_DIR", str(tmp_path / "out"))
        service.invoices = [{**INVOICE, "number_str": "../../etc/INV/1"}]
        assert billing("invoice", "download", "in_1").out == f"{tmp_path / 'out' / '1.pdf'}\n"

    @pytest.mark.parametrize("arguments", [(), ("in_1", "--latest")])
    def test_download_needs_one_of_id_and_latest(self, billing: Billing, arguments: tuple[str, ...]) -> None:
        assert billing("invoice", "download", *arguments).code == 2


class TestCustomer:
    def test_is_the_token_s_subject(self, billing: Billing, service: Service) -> None:
        out = billing("customer").out.splitlines()
        assert out[0].split("  ")[0] == "Customer ID"
        assert "acc_1" in out[2]
        assert "ap@acme.example" in out[2]
        assert service.requests[0].path == "/api/v1/billing/accounts/acme%2Falice"

    @pytest.mark.parametrize("words", [["customer", "show"], ["customer", "info"], ["customer"]])
    def test_has_aliases(self, billing: Billing, words: list[str]) -> None:
        assert billing(*words, "--format=json").data["id"] == "acc_1"


class TestSubscription:
    def test_says_when_it_ends(self, billing: Billing) -> None:
        out = billing("subscription").out
        assert "Pro (€50.00 per month)" in out
        assert out.splitlines()[-1] == "Ends at the period end, 2023-12-01"

    def test_none_is_a_failure(self, billing: Billing, service: Service) -> None:
        service.subscription = None
        outcome = billing("subscription", "show")
        assert outcome.code == 1
        assert outcome.err.startswith("Error: no active subscription\n")

    def test_is_created_once(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "create", "llm-pro", "--quantity", "3", "--interval=year")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].data == {
            "plan_id": "llm-pro",
            "quantity": 3,
            "interval": "year",
            "account": "acme/alice",
        }
        assert service.requests[0].headers["idempotency-key"]

    def test_an_unknown_plan_is_named(self, billing: Billing) -> None:
        outcome = billing("subscription", "create", "gold")
        assert (outcome.code, outcome.err) == (
            1,
            "Error: plan not found: gold\nHint: billing plan list; names are case-sensitive\n",
        )


class TestPlans:
    def test_are_listed_with_price_and_hints(self, billing: Billing) -> None:
        lines = billing("plan").out.splitlines()
        assert lines[2].split() == ["llm-pro", "€50.00", "Fast,", "Big", "and", "1", "more"]
        assert lines[3].split() == ["whale", "Custom"]
        assert lines[-2].startswith("billing plan show")
        assert "€40.00" in billing("plan", "list", "--interval", "year", "--features").out

    def test_show_lists_limits_and_exact_prices(self, billing: Billing) -> None:
        out = billing("plan", "show", "llm-pro").out
        assert "1000.0K per month" in out or "1.0M per month" in out
        assert "€0.50 / 1M tokens" in out
        assert billing("plan", "show", "llm-pro", "--format=json").data == PLANS[0]

    def test_unknown_ones_are_named(self, billing: Billing) -> None:
        assert billing("plan", "show", "Gold").err.startswith("Error: plan not found: Gold\n")


class TestBalance:
    def test_is_one_table_of_all_money(self, billing: Billing) -> None:
        out = billing("balance").out.splitlines()
        assert out[2].split() == ["Prepaid", "$25.00", "$5.00", "$20.00"]
        assert out[3].split() == ["Prepaid", "-¥1,500", "¥0", "¥0"]

    def test_csv_has_minor_units(self, billing: Billing) -> None:
        assert rows_of(billing("balance", "--format=csv").out)[2] == ["Prepaid", "jpy", "-1500", "0", "0", ""]


class TestTransactions:
    def test_are_listed_and_the_rest_is_counted(self, billing: Billing, service: Service) -> None:
        out = billing("transactions", "--limit", "1", "--currency", "USD").out
        assert "2023-11-01 10:20" in out
        assert out.splitlines()[-1] == "2 more: --offset 1"
        assert service.requests[0].query == {
            "account": "acme/alice",
            "limit": "1",
            "offset": "0",
            "currency": "usd",
        }

    def test_csv_does_not_run_formulas(self, billing: Billing) -> None:
        assert rows_of(billing("transactions", "--format=csv").out)[1][-1] == "'@welcome"


METRICS: list[dict[str, Any]] = [
    {
        "metric_type": "llm_tokens",
        "unit": "tokens",
        "quantity": "22361870",
        "event_count": 19366,
        "included": None,
        "overage": "0",
        "cost": 1118,
        "daily": [{"date": "2023-11-16", "quantity": "22361870", "event_count": 19366}],
    },
    {
        "metric_type": "storage",
        "unit": "GB",
        "quantity": "0.5",
        "event_count": 2,
        "included": "1",
        "overage": "0",
        "cost": 0,
        "daily": [{"date": "2023-11-15", "quantity": "0.5", "event_count": 2}],
    },
]


class TestUsage:
    @pytest.fixture(autouse=True)
    def used(self, service: Service) -> None:
        service.summary = {
            "account_id": "acc_1",
            "period": {"start": "2023-11-01T00:00:00Z", "end": "2023-12-01T00:00:00Z"},
            "metrics": METRICS,
            "total_cost": 1118,
            "currency": "usd",
        }

    def test_is_summed_up(self, billing: Billing, service: Service) -> None:
        lines = billing("usage").out.splitlines()
        assert lines[0] == "Usage 2023-11-01 to 2023-12-01"
        assert lines[3].split() == ["llm_tokens", "22.4M", "tokens", "$11.18"]
        assert lines[4].split() == ["storage", "0.5", "GB", "GB", "Included"]
        assert lines[-1] == "Total $11.18"
        assert service.requests[0].query == {}

    def test_csv_is_exact(self, billing: Billing) -> None:
        assert rows_of(billing("usage", "--format=csv").out) == [
            ["service", "total_usage", "total_events", "unit", "cost", "currency"],
            ["llm_tokens", "22361870", "19366", "tokens", "1118", "usd"],
            ["storage", "0.5", "2", "GB", "0", "usd"],
        ]

    def test_day_by_day(self, billing: Billing, service: Service) -> None:
        assert rows_of(billing("usage", "--detailed", "--format=csv", "--service=api").out) == [
            ["date", "service", "usage", "events"],
            ["2023-11-15", "storage", "0.5", "2"],
            ["2023-11-16", "llm_tokens", "22361870", "19366"],
        ]
        assert service.requests[0].query == {"group_by": "day", "metric_type": "api"}

    def test_last_month_is_the_whole_calendar_month(self, billing: Billing, service: Service) -> None:
        import time_machine

        with time_machine.travel("2024-03-15T12:00:00Z", tick=False):
            billing("usage", "--period", "last-month")
        assert service.requests[0].query == {"start": "2024-02-01", "end": "2024-02-29"}

    def test_a_custom_period_is_inclusive(self, billing: Billing, service: Service) -> None:
        billing("usage", "--period=custom", "--start=2023-11-01", "--end=2023-11-30")
        assert service.requests[0].query == {"start": "2023-11-01", "end": "2023-11-30"}

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--period=custom", "--start=2023-11-01"], 2, "period custom needs --start and --end"),
            (["--period=yesterday"], 1, "invalid period: yesterday"),
            (["--period=current", "--start=2023-11-01"], 2, "--start and --end go with --period custom"),
            (["--start=2023-11-02", "--end=2023-11-01"], 1, "invalid period: --end is before --start"),
            (["--start=November", "--end=2023-11-01"], 2, "--start: November is not a date such as 2026-01-31"),
        ],
    )
    def test_refuses_periods_that_are_none(
        self, billing: Billing, service: Service, arguments: list[str], code: int, message: str
    ) -> None:
        outcome = billing("usage", *arguments)
        assert outcome.code == code
        assert outcome.err.splitlines()[0] == f"Error: {message}"
        assert service.requests == []

    def test_one_event_is_recorded(self, billing: Billing, service: Service) -> None:
        outcome = billing("usage", "record", "api", "1.5", "--metadata", '{"a": 1}', "--unit=GB", "--idempotency-key=k")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].data == {
            "metric_type": "api",
            "quantity": "1.5",
            "unit": "GB",
            "idempotency_key": "k",
            "metadata": {"a": 1},
        }

    @pytest.mark.parametrize("arguments", [["x"], ["NaN"], ["1", "--metadata=[1]"], ["1", "--metadata={"]])
    def test_nonsense_is_not_sent(self, billing: Billing, service: Service, arguments: list[str]) -> None:
        assert billing("usage", "record", "api", *arguments).code == 2
        assert service.requests == []


class TestTokens:
    def test_without_one_the_places_and_scopes_are_named(
        self, billing: Billing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("BILLING_API_TOKEN")
        outcome = billing("invoice")
        assert outcome.code == 1
        assert outcome.err == (
            "Error: no token found\n"
            "Hint: searched --token-file, BILLING_TOKEN_FILE, BILLING_API_TOKEN, "
            f"{tmp_path / 'config' / 'billing' / 'api-token'}; needs scope billing:read\n"
        )

    def test_are_looked_for_in_order(
        self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def used() -> str:
            service.requests.clear()
            billing("plan")
            return service.requests[0].headers["authorization"].removeprefix("Bearer ")

        def store(name: str, token: str) -> Path:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(token + "\n")
            path.chmod(0o600)
            return path

        assert used() == USER_TOKEN
        monkeypatch.setenv("BILLING_TOKEN_FILE", str(store("one", make_token(sub="one"))))
        assert used() == make_token(sub="one")
        store("config/billing/api-token", make_token(sub="default"))
        monkeypatch.delenv("BILLING_TOKEN_FILE")
        monkeypatch.delenv("BILLING_API_TOKEN")
        assert used() == make_token(sub="default")
        service.requests.clear()
        billing("plan", "--token-file", str(store("two", make_token(sub="two"))))
        assert service.requests[0].headers["authorization"] == f"Bearer {make_token(sub='two')}"

    def test_a_user_command_never_takes_an_operator_s(
        self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BILLING_API_TOKEN")
        assert billing("invoice").code == 1
        assert service.requests == []

    def test_a_file_others_can_read_gives_a_warning(self, billing: Billing, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text(USER_TOKEN)
        path.chmod(0o644)
        outcome = billing("plan", "--token-file", str(path))
        assert outcome.code == 0
        assert "Warning: the token file" in outcome.err
        assert USER_TOKEN not in outcome.err

    def test_an_expired_one_is_told_with_the_scopes_a_new_one_needs(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(401, "token_expired", "The token has expired."))
        assert billing("invoice").err == (
            "Error: the token was not accepted: The token has expired.\nHint: get a new token with scope billing:read\n"
        )


class TestErrors:
    def test_verbose_shows_requests_and_never_tokens(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(409, "invalid_state", "No.", current_status="void"))
        err = billing("operator", "invoice", "void", "in_1", "--verbose").err
        assert f"POST {service.url}/api/v1/billing/invoices/in_1/void -> 409" in err
        assert "Error: No (status: void)" in err
        assert "code invalid_state, status 409, request req-1" in err
        assert SERVICE_TOKEN not in err

    def test_every_finding_has_its_line(self, billing: Billing, service: Service) -> None:
        findings = [
            {"pointer": "/amount", "code": "x", "detail": "Too much."},
            {"pointer": "/notes", "code": "y", "detail": "Too long."},
        ]
        service.fail_next(problem(400, "validation_failed", "2 fields are wrong.", errors=findings))
        outcome = billing("operator", "deposit", "5", "--account", "a")
        assert outcome.err.splitlines() == ["Error: 2 fields are wrong.", "/amount: Too much.", "/notes: Too long."]

    def test_nobody_there(self, billing: Billing) -> None:
        outcome = billing("invoice", "--api-url", "http://127.0.0.1:9")
        assert outcome.code == 1
        assert outcome.err.splitlines() == [
            "Error: API cannot be reached at http://127.0.0.1:9: Connection refused",
            "Hint: billing doctor; the address comes from --api-url or BILLING_API_URL",
        ]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["invioce"], "unknown command or option: invioce"),
            (["invoice", "list", "--foo"], "unknown command or option: --foo"),
            (["invoice", "show"], "invoice_id is required"),
            (["operator", "catalog", "put"], "--file is required"),
            (["operator", "deposit", "5"], "--account is required"),
            (["invoice", "list", "--limit", "many"], "--limit: "),
            (["invoice", "list", "--limit"], "--limit needs a value"),
        ],
    )
    def test_misuse_leaves_with_two(self, billing: Billing, service: Service, words: list[str], message: str) -> None:
        outcome = billing(*words)
        assert outcome.code == 2
        assert outcome.err.startswith(f"Error: {message}")
        assert service.requests == []


class TestDoctor:
    def test_checks_everything(self, billing: Billing) -> None:
        outcome = billing("doctor", "--format=json")
        assert outcome.code == 0, outcome.out
        verdicts = {check["name"]: check["verdict"] for check in outcome.data["checks"]}
        assert verdicts == dict.fromkeys(
            (
                "configuration",
                "data folder",
                "exports",
                "API",
                "clock",
                "token",
                "token lifetime",
                "token accepted",
                "scopes",
                "provider",
            ),
            "ok",
        )

    def test_a_clock_that_is_wrong_is_found(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {"ok": True}, {"Date": "Thu, 16 Nov 2023 18:15:46 GMT"}), path="/readyz")
        outcome = billing("doctor", "--format=json")
        assert outcome.code == 1
        assert [check["name"] for check in outcome.data["checks"] if check["verdict"] == "failed"] == ["clock"]

    def test_failures_leave_with_one(self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_API_TOKEN", make_token(sub="a", exp=1))
        service.fail_next(*[problem(503, "not_ready", "Not ready.", checks={"database": "down"})] * 3, path="/readyz")
        outcome = billing("doctor")
        assert outcome.code == 1
        assert "not ready (database: down)" in outcome.out

    def test_an_expired_token_is_found(self, billing: Billing, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_API_TOKEN", make_token(sub="a", exp=1))
        outcome = billing("doctor", "--format=json")
        assert outcome.code == 1
        assert {"name": "token lifetime", "verdict": "failed", "detail": "the token has expired"} in outcome.data[
            "checks"
        ]


class TestVersion:
    def test_is_printed(self, billing: Billing) -> None:
        outcome = billing("--version")
        assert (outcome.code, outcome.out) == (0, "billing 0.1.0\n")
        assert json.dumps(outcome.err) == '""'
