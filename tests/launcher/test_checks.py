"""`test` runs every check, whatever the others say, and fails when one fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher.checks import Outcome, Step, build_test_step, list_static_steps, print_summary, run_steps
from launcher.state import State


def make_step(title: str, code: str) -> Step:
    return Step(title, [sys.executable, "-c", code], {})


class TestRunSteps:
    def test_goes_on_after_a_failure(self, tmp_path: Path) -> None:
        steps = [make_step("one", "raise SystemExit(4)"), make_step("two", "pass")]
        outcomes = run_steps(steps, environment={}, cwd=tmp_path)
        assert [(outcome.title, outcome.code) for outcome in outcomes] == [("one", 4), ("two", 0)]

    def test_the_type_check_runs_beside_the_others(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        waits = (
            "import pathlib, time\n"
            "while not pathlib.Path('{0}').exists(): time.sleep(0.02)\n"
            "pathlib.Path('{1}').touch(); print('met {0}')"
        )
        starts = "import pathlib; pathlib.Path('a').touch()\n"
        steps = [make_step("tests", starts + waits.format("b", "c")), make_step("types", waits.format("a", "b"))]
        outcomes = run_steps(steps, environment={}, cwd=tmp_path)
        assert {(outcome.title, outcome.code) for outcome in outcomes} == {("tests", 0), ("types", 0)}
        assert "met a" in capfd.readouterr().out

    def test_a_step_has_its_own_variables(self, tmp_path: Path) -> None:
        code = "import os; raise SystemExit(int(os.environ['CODE']))"
        step = Step("one", [sys.executable, "-c", code], {"CODE": "6"})
        assert run_steps([step], environment={"CODE": "1"}, cwd=tmp_path)[0].code == 6


class TestPrintSummary:
    def test_fails_when_one_check_failed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert print_summary([Outcome("lint", 0, 1.0), Outcome("tests", 5, 2.0)]) == 1
        printed = capsys.readouterr().out
        assert "FAILED (exit code 5)" in printed
        assert printed.strip().endswith("failed: tests")

    def test_passes_when_all_did(self) -> None:
        assert print_summary([Outcome("lint", 0, 1.0)]) == 0


class TestBuildTestStep:
    def test_everything_runs_over_two_processes(self, state: State) -> None:
        assert build_test_step(state, []).arguments[3:] == ["-n", "2", "--dist", "worksteal", "--durations", "30"]

    def test_named_tests_run_in_one_process_unless_the_caller_says_more(self, state: State) -> None:
        assert build_test_step(state, ["tests/kernel"]).arguments[-2:] == ["-p", "no:xdist"]
        assert build_test_step(state, ["tests/kernel", "-n4"]).arguments[-2:] == ["tests/kernel", "-n4"]


class TestListStaticSteps:
    def test_the_deployment_check_sees_production(self, state: State) -> None:
        steps = {step.title: step for step in list_static_steps(state, "/folder")}
        extra = steps["deployment check"].extra
        assert extra["BILLING_DEBUG"] == extra["BILLING_TESTING"] == "false"
        assert "BILLING_INSECURE_HTTP" not in extra
        assert {
            "ruff check",
            "ruff format",
            "import contracts",
            "types",
            "migrations",
            "OpenAPI schema",
        } <= steps.keys()
