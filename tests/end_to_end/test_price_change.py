"""A price change from the command line: its impact, the move, the negotiated price, and what is billed then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from accounts.models import Subscription
from invoicing.models import Invoice
from tests.support import world
from tests.support.tokens import make_token

pytestmark = pytest.mark.django_db(transaction=True)

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """What one run of the command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def billing(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Any
) -> Callable[..., Outcome]:
    """Run the command line as an operator against the live server, whose worker is quick."""
    from billing_client.cli.commands import operator_moves
    from billing_client.cli.main import run

    settings.JOBS_SENDER = "tests.support.jobs.run_job"
    monkeypatch.setattr(operator_moves, "POLL_SECONDS", 0.01)
    monkeypatch.setenv("BILLING_API_URL", live_server.url)
    monkeypatch.setenv("BILLING_OPERATOR_TOKEN", make_token())

    def call(*words: str) -> Outcome:
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def test_a_new_price_reaches_whom_it_was_decided_for(billing: Callable[..., Outcome], tmp_path: Path) -> None:
    world.publish()
    subscriptions = [world.subscribe(world.open_account(f"shop-{number}"), "pro") for number in range(4)]
    path = tmp_path / "new.json"
    path.write_text(json.dumps(world.make_document(fee=1500)))

    impact = billing("operator", "catalog", "impact", "--file", str(path), "--format=json")
    assert impact.code == 0, impact.err
    # 4 × (15.00 - 10.00)
    assert json.loads(impact.out)["totals"][0]["monthly_difference"] == 2000

    put = billing("operator", "catalog", "put", "--file", str(path))
    assert put.code == 0, put.err
    words = ("operator", "price", "override", "set", "pro:usd:month", "--account=shop-1", "--reason=contract")
    agreed = billing(*words, "--unit-amount=1200", "--from=2023-12-01")
    assert agreed.code == 0, agreed.err
    chosen = [f"--subscription={each.public_id}" for each in subscriptions[:2]]
    started = billing("operator", "plan", "move", "start", "pro", "--reason=spring prices", "--force", *chosen)
    assert started.code == 0, started.err
    assert "next invoices $22.00 -> $27.00" in started.err
    assert "2 of 2" in started.out

    again = billing("operator", "plan", "move", "start", "pro", "--reason=again", "--force", *chosen)
    assert (again.code, again.err.splitlines()[0]) == (
        1,
        "Error: No running subscription is on another version of pro v2",
    )

    world.run_cycle(as_of=world.DECEMBER)
    billed = dict(Invoice.objects.filter(period_end=JANUARY).values_list("subscription", "total"))
    # the new price, the negotiated one, and twice the old one
    assert [billed[each.pk] for each in subscriptions] == [1500, 1200, 1000, 1000]
    versions = Subscription.objects.order_by("id").values_list("plan_version__version", flat=True)
    assert list(versions) == [2, 2, 1, 1]
