"""`billing usage import` against a service: nothing sent before all is checked, nothing counted twice, resumable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.billing_client.conftest import SERVICE_TOKEN, Billing
from tests.billing_client.service import Reply, Service, problem

MAPS = (
    "--map=meter=input,quantity=ContextTokens,timestamp=TIMESTAMP",
    "--map=meter=output,quantity=GeneratedTokens,timestamp=TIMESTAMP",
)


def write_trace(path: Path, rows: int, *, bad: int | None = None) -> Path:
    lines = [f"2023-11-16 18:15:46.6805900,{'12x' if row == bad else row},{row * 2}" for row in range(rows)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "trace.csv", 1250)


@pytest.fixture(autouse=True)
def as_service(billing: Billing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_API_TOKEN", SERVICE_TOKEN)
    monkeypatch.setenv("BILLING_ACCOUNT_ID", "acme/alice")


def count_batches(service: Service) -> list[int]:
    return [len(request.data["events"]) for request in service.seen("/usage/batch")]


class TestImport:
    def test_sends_all_events_in_batches_of_a_thousand(self, billing: Billing, service: Service, trace: Path) -> None:
        outcome = billing("usage", "import", str(trace), *MAPS, "--format=json")
        assert outcome.code == 0, outcome.err
        assert outcome.data == {
            "rows": 1250,
            "events": 2500,
            "sent": 2500,
            "created": 2500,
            "duplicates": 0,
            "seconds": outcome.data["seconds"],
            "resumed_after": 0,
        }
        assert count_batches(service) == [1000, 1000, 500]
        assert service.requests[0].path == "/api/v1/billing/tenants/acme%2Falice/usage/batch"
        # 0 + 1 + … + 1249 input tokens, twice that in output tokens
        for meter, total in (("input", 780_625), ("output", 1_561_250)):
            assert sum(int(e["quantity"]) for (_, name, _), e in service.events.items() if name == meter) == total

    def test_again_changes_nothing(self, billing: Billing, service: Service, trace: Path) -> None:
        billing("usage", "import", str(trace), *MAPS)
        before = dict(service.events)
        outcome = billing("usage", "import", str(trace), *MAPS, "--format=csv")
        assert outcome.out.splitlines()[0] == "rows,events,sent,created,duplicates,seconds"
        assert outcome.out.splitlines()[1].startswith("1250,2500,2500,0,2500,")
        assert service.events == before

    def test_the_key_is_the_content_and_not_the_name(self, billing: Billing, service: Service, trace: Path) -> None:
        billing("usage", "import", str(trace), *MAPS)
        copy = trace.with_name("copy.csv")
        copy.write_bytes(trace.read_bytes())
        assert billing("usage", "import", str(copy), *MAPS, "--format=json").data["created"] == 0

    def test_plain_lines_tell_the_progress_where_there_is_no_terminal(self, billing: Billing, trace: Path) -> None:
        assert billing("usage", "import", str(trace), *MAPS).err.splitlines() == [
            "Checking trace.csv",
            "Sending trace.csv: 2,500 events",
        ]

    def test_quiet_says_nothing(self, billing: Billing, trace: Path) -> None:
        outcome = billing("usage", "import", str(trace), *MAPS, "--quiet")
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")

    def test_json_lines_without_mapping(self, billing: Billing, service: Service, tmp_path: Path) -> None:
        path = tmp_path / "u.jsonl"
        path.write_text("".join(json.dumps({"service": "api", "quantity": n}) + "\n" for n in range(3)))
        assert billing("usage", "import", str(path), "--format=json").data["created"] == 3


class TestNothingIsSent:
    def test_when_a_line_at_the_end_is_wrong(self, billing: Billing, service: Service, tmp_path: Path) -> None:
        trace = write_trace(tmp_path / "trace.csv", 3000, bad=2990)
        outcome = billing("usage", "import", str(trace), *MAPS)
        assert outcome.code == 1
        assert 'Error: trace.csv, line 2992, column ContextTokens: "12x" is not a number' in outcome.err.splitlines()
        assert service.requests == []

    def test_when_only_checking(self, billing: Billing, service: Service, trace: Path) -> None:
        outcome = billing("usage", "import", str(trace), *MAPS, "--check", "--format=json")
        assert (outcome.code, outcome.data["events"], outcome.data["sent"]) == (0, 2500, 0)
        assert service.requests == []

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nowhere.csv"], 1, "no such file: nowhere.csv"),
            (["trace.txt"], 1, "trace.txt: is neither .csv, .jsonl nor .ndjson"),
            (["trace.csv", "--map=quantity=x"], 2, '--map: "meter" is missing'),
            (["trace.csv", "--map=meter=m,quantity=Nope"], 1, "trace.csv, line 1, column Nope: is not in the file"),
            (["trace.csv"], 1, "trace.csv, line 1, column service: is not in the file"),
            (["empty.csv", "--map=meter=m,quantity=a"], 1, "empty.csv: holds no rows"),
        ],
    )
    def test_when_it_cannot_be_understood(
        self,
        billing: Billing,
        service: Service,
        trace: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        code: int,
        message: str,
    ) -> None:
        monkeypatch.chdir(trace.parent)
        Path("trace.txt").write_text("x")
        Path("empty.csv").write_text("a\n")
        outcome = billing("usage", "import", *arguments)
        assert outcome.code == code
        assert f"Error: {message}" in outcome.err
        assert service.requests == []

    def test_when_a_service_names_no_account(
        self, billing: Billing, service: Service, trace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BILLING_ACCOUNT_ID")
        outcome = billing("usage", "import", str(trace), *MAPS)
        assert outcome.code == 1
        assert "Error: no account found" in outcome.err
        assert service.requests == []


class TestFailures:
    def test_a_lost_answer_is_asked_for_again_and_counts_once(
        self, billing: Billing, service: Service, trace: Path
    ) -> None:
        service.fail_next(Reply(drop=True), problem(503, "storage_unavailable", "Down."), path="/usage/batch")
        outcome = billing("usage", "import", str(trace), *MAPS, "--format=json")
        assert outcome.data["created"] == 2500
        assert count_batches(service) == [1000, 1000, 1000, 1000, 500]

    def test_goes_on_where_it_stopped(self, billing: Billing, service: Service, trace: Path) -> None:
        self.stop_in_second_batch(billing, service, trace)
        service.requests.clear()
        outcome = billing("usage", "import", str(trace), *MAPS, "--format=json")
        assert "Going on after 1,000 events; --restart begins anew." in outcome.err
        assert (outcome.data["sent"], outcome.data["created"], outcome.data["duplicates"]) == (1500, 2500, 0)
        # The last acknowledged batch is shown once more, to be sure that the service still has it.
        assert count_batches(service) == [1000, 1000, 500]
        assert len(service.events) == 2500

    def test_restart_begins_anew(self, billing: Billing, service: Service, trace: Path) -> None:
        self.stop_in_second_batch(billing, service, trace)
        outcome = billing("usage", "import", str(trace), *MAPS, "--restart", "--format=json")
        assert (outcome.data["sent"], outcome.data["created"], outcome.data["duplicates"]) == (2500, 1500, 1000)

    def test_begins_anew_when_the_service_lost_its_data(self, billing: Billing, service: Service, trace: Path) -> None:
        self.stop_in_second_batch(billing, service, trace)
        service.events.clear()
        outcome = billing("usage", "import", str(trace), *MAPS, "--format=json")
        assert "beginning anew" in outcome.err
        assert (outcome.data["created"], outcome.data["duplicates"]) == (2500, 0)
        assert len(service.events) == 2500

    def test_the_state_belongs_to_account_mapping_and_content(
        self, billing: Billing, service: Service, trace: Path
    ) -> None:
        self.stop_in_second_batch(billing, service, trace)
        other = billing("usage", "import", str(trace), *MAPS, "--account=acme/bob", "--format=json")
        assert (other.data["resumed_after"], other.data["created"]) == (0, 2500)

    def test_leaves_no_state_behind(self, billing: Billing, service: Service, trace: Path) -> None:
        self.stop_in_second_batch(billing, service, trace)
        folder = Path(os.environ["BILLING_DATA_DIR"]) / "imports"
        assert len(list(folder.iterdir())) == 1
        billing("usage", "import", str(trace), *MAPS)
        assert list(folder.iterdir()) == []

    def test_a_state_that_cannot_be_read_is_passed_over(self, billing: Billing, service: Service, trace: Path) -> None:
        self.stop_in_second_batch(billing, service, trace)
        for file in (Path(os.environ["BILLING_DATA_DIR"]) / "imports").iterdir():
            file.write_text("{")
        assert billing("usage", "import", str(trace), *MAPS, "--format=json").data["resumed_after"] == 0

    def test_a_refused_event_is_told_with_its_line(self, billing: Billing, service: Service, tmp_path: Path) -> None:
        service.meters = {"api"}
        path = tmp_path / "u.csv"
        path.write_text("service,quantity\n" + "api,1\n" * 4 + "gone,1\n")
        outcome = billing("usage", "import", str(path))
        assert outcome.code == 1
        assert "Error: u.csv, line 6: No meter is named gone." in outcome.err
        assert service.events == {}

    def test_a_missing_scope_is_named(self, billing: Billing, service: Service, trace: Path) -> None:
        service.fail_next(problem(403, "scope_missing", "The scope is missing.", required_scope="billing:usage:write"))
        outcome = billing("usage", "import", str(trace), *MAPS)
        assert outcome.code == 1
        assert outcome.err.splitlines()[-2:] == [
            "Error: The scope is missing.",
            "Hint: this needs scope billing:usage:write",
        ]

    @staticmethod
    def stop_in_second_batch(billing: Billing, service: Service, trace: Path) -> None:
        """Acknowledge one batch, then fail for good."""
        answers = iter([None, *[problem(503, "storage_unavailable", "Down.")] * 3])
        normal = service.answer

        def answer(request):  # type: ignore[no-untyped-def]
            return next(answers, None) or normal(request)

        service.answer = answer  # type: ignore[method-assign]
        try:
            outcome = billing("usage", "import", str(trace), *MAPS)
        finally:
            service.answer = normal  # type: ignore[method-assign]
        assert outcome.code == 1
        assert "Error: Down." in outcome.err
        assert len(service.events) == 1000


class TestRealTrace:
    @pytest.mark.skipif("COUNTINGHOUSE_DATA" not in os.environ, reason="COUNTINGHOUSE_DATA names no folder")
    def test_every_token_arrives_once(self, billing: Billing, service: Service) -> None:
        trace = Path(os.environ["COUNTINGHOUSE_DATA"]) / "llm_trace_conv.csv"
        outcome = billing("usage", "import", str(trace), *MAPS, "--format=json")
        assert (outcome.data["rows"], outcome.data["created"]) == (19_366, 38_732)
        totals = {"input": 0, "output": 0}
        for (_, meter, _), event in service.events.items():
            totals[meter] += int(event["quantity"])
        assert totals == {"input": 22_361_870, "output": 4_088_665}
        assert billing("usage", "import", str(trace), *MAPS, "--format=json").data["created"] == 0
