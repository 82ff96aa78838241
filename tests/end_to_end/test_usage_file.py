"""A trace of language-model requests, from a file to an issued invoice, through the command line and the API."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from pytest_django.live_server_helper import LiveServer

from invoicing.models import Invoice
from metering.models import UsageEvent
from tests.support import world
from tests.support.tokens import make_token

pytestmark = pytest.mark.django_db(transaction=True)

DATA = os.environ.get("COUNTINGHOUSE_DATA", "")
MAPPINGS = (
    "meter=input_tokens,quantity=ContextTokens,timestamp=TIMESTAMP",
    "meter=output_tokens,quantity=GeneratedTokens,timestamp=TIMESTAMP",
)


@dataclass(frozen=True)
class Expected:
    """What the file holds and what it costs at 0.50 and 1.50 usd per million tokens."""

    rows: int
    quantities: tuple[int, int]
    amounts: tuple[int, int]

    @property
    def subtotal(self) -> int:
        return sum(self.amounts)


@pytest.fixture
def billing(live_server: LiveServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as an operator against the live server."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(settings.BASE_DIR),
        "BILLING_API_URL": live_server.url,
        "BILLING_API_TOKEN": make_token(),
        "BILLING_OPERATOR_TOKEN": make_token(),
        "BILLING_DATA_DIR": str(tmp_path / "state"),
    }

    def run(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "billing_client.cli.main", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def subscriber() -> None:
    """One account on usage prices only, from November 2023 on."""
    world.publish()
    world.subscribe(world.open_account("llm"), "payg", at=world.NOVEMBER)


def import_file(billing: Callable[..., Any], path: Path) -> subprocess.CompletedProcess[str]:
    options = [part for mapping in MAPPINGS for part in ("--map", mapping)]
    done: subprocess.CompletedProcess[str] = billing("--account", "llm", "usage", "import", str(path), *options)
    return done


def run_cycle(billing: Callable[..., Any]) -> dict[str, Any]:
    arguments = ("operator", "cycle", "run", "--account", "llm", "--at", "2023-12-01T00:00:00Z")
    answer: dict[str, Any] = json.loads(billing("--format", "json", *arguments).stdout)
    return answer


def check_story(billing: Callable[..., Any], path: Path, expected: Expected) -> None:
    """Import, bill, then do both again: nothing more is counted, nothing more is issued."""
    import_file(billing, path)
    assert UsageEvent.objects.count() == 2 * expected.rows
    answer = run_cycle(billing)
    assert [result["success"] for result in answer["results"]] == [True]

    invoice = Invoice.objects.get()
    lines = list(invoice.lines.order_by("position"))
    assert [line.quantity for line in lines] == [Decimal(quantity) for quantity in expected.quantities]
    assert [line.amount for line in lines] == list(expected.amounts)
    assert (invoice.subtotal, invoice.total, invoice.currency) == (expected.subtotal, expected.subtotal, "usd")
    assert (invoice.status, invoice.number_text) == ("open", "INV-0001")

    import_file(billing, path)
    assert UsageEvent.objects.count() == 2 * expected.rows
    assert run_cycle(billing)["results"] == []
    assert Invoice.objects.count() == 1
    call_command("verify_invoice", "INV-0001", "--usage")

    shown = json.loads(billing("--format", "json", "invoice", "show", "INV-0001").stdout)
    assert shown["subtotal"] == expected.subtotal
    saved = path.parent / "invoice.pdf"
    billing("invoice", "download", "INV-0001", "--output", str(saved))
    assert saved.read_bytes().startswith(b"%PDF-")


@pytest.mark.usefixtures("subscriber")
class TestAUsageFile:
    def test_of_a_small_trace_becomes_an_invoice_once(self, billing: Callable[..., Any], tmp_path: Path) -> None:
        rows = [(374 + 911 * number, 44 + 37 * number) for number in range(1_200)]
        path = tmp_path / "trace.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["TIMESTAMP", "ContextTokens", "GeneratedTokens"])
            for number, row in enumerate(rows):
                moment = datetime(2023, 11, 16, 18, 15) + timedelta(seconds=number)  # noqa: DTZ001 - as in the trace
                writer.writerow([f"{moment:%Y-%m-%d %H:%M:%S}.6805900", *row])
        totals = (sum(first for first, _ in rows), sum(second for _, second in rows))
        # 655,822,200 × 0.00005 = 32,791.11 → 32,791; 26,670,600 × 0.00015 = 4,000.59 → 4,001
        assert totals == (655_822_200, 26_670_600)
        expected = Expected(1_200, totals, (32_791, 4_001))
        check_story(billing, path, expected)

    @pytest.mark.skipif(not DATA, reason="COUNTINGHOUSE_DATA does not name the folder of the real traces")
    def test_of_a_real_trace_becomes_an_invoice_once(self, billing: Callable[..., Any], tmp_path: Path) -> None:
        path = tmp_path / "llm_trace_conv.csv"
        path.write_bytes((Path(DATA) / "llm_trace_conv.csv").read_bytes())
        # 22,361,870 × 0.00005 = 1,118.0935 → 1,118; 4,088,665 × 0.00015 = 613.29975 → 613
        check_story(billing, path, Expected(19_366, (22_361_870, 4_088_665), (1_118, 613)))


@pytest.mark.usefixtures("subscriber")
class TestABrokenFile:
    def test_is_refused_whole_with_line_and_column(self, billing: Callable[..., Any], tmp_path: Path) -> None:
        path = tmp_path / "trace.csv"
        good, bad = "2023-11-16 18:15:46,10,20\n", "2023-11-16 18:15:46,12x,1\n"
        path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + good * 1_500 + bad)
        options = [part for mapping in MAPPINGS for part in ("--map", mapping)]
        done = billing("--account", "llm", "usage", "import", str(path), *options, expect=1)
        assert "trace.csv" in done.stderr
        assert "line 1502" in done.stderr
        assert "ContextTokens" in done.stderr
        assert UsageEvent.objects.count() == 0
