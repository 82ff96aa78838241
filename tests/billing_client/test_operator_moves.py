"""billing operator catalog impact and billing operator plan move."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from billing_client.cli.commands import operator_moves
from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service, problem

MOVES = "/api/internal/billing/plan-moves"
IMPACT = "/catalog/impact"
AMOUNTS = {
    "next_invoice_before": 3000,
    "next_invoice_after": 4500,
    "monthly_before": 3000,
    "monthly_after": 4500,
    "monthly_difference": 1500,
}
TOTAL = {"currency": "usd", "subscriptions": 2, **AMOUNTS}
ROW: dict[str, Any] = {
    "subscription_id": "sub_1",
    "account_id": "acc_1",
    "account_name": "Acme",
    "from_version": 1,
    "currency": "usd",
    "next_billing_at": "2023-12-01T00:00:00Z",
    **AMOUNTS,
    "kept_prices": ["pro:usd:month"],
    "lost_prices": ["pro:usd:month:gone"],
}
OBSTACLE = {
    "code": "move_not_possible",
    "detail": "The subscription ends with this period; no next one begins.",
    "subscriptions": 1,
    "subscription_ids": ["sub_3"],
}
PREVIEW: dict[str, Any] = {
    "plan_id": "pro",
    "version": 2,
    "when": "period_end",
    "subscriptions": 3,
    "movable": 2,
    "versions": [{"version": 1, "subscriptions": 3}],
    "left_out": [],
    "totals": [TOTAL],
    "not_movable": [OBSTACLE],
    "rows": [ROW],
}
NOBODY = {**PREVIEW, "movable": 0, "totals": [], "rows": []}
EMPTY = {**NOBODY, "subscriptions": 0, "versions": [], "not_movable": []}
MOVE: dict[str, Any] = {
    "id": "mov_1",
    "org_id": "default",
    "plan_id": "pro",
    "version": 2,
    "when": "period_end",
    "status": "running",
    "progress": {"pending": 3, "applied": 0, "failed": 0},
    "reason": "spring prices",
    "requested_by": "token:metering",
    "requested_at": "2023-11-15T10:20:30Z",
    "finished_at": None,
}
DONE = {**MOVE, "status": "completed", "progress": {"pending": 0, "applied": 2, "failed": 1}}
FAILED = {**MOVE, "status": "failed", "progress": {"pending": 0, "applied": 0, "failed": 3}}
ITEM = {
    "id": "movi_1",
    "subscription_id": "sub_3",
    "account_id": "acc_3",
    "account_name": "Ending Inc.",
    "from_version": 1,
    "status": "failed",
    "error_code": "move_not_possible",
    "error_detail": "The subscription ends with this period.",
    "finished_at": "2023-11-15T10:20:31Z",
}
IMPACT_ANSWER: dict[str, Any] = {
    "revision": 6,
    "difference": {"plans": {"changed": ["pro"], "removed": ["free"]}},
    "subscriptions": 4,
    "totals": [TOTAL],
    "plans": [
        {
            "plan_id": "free",
            "name": "Free",
            "change": "removed",
            "next_version": None,
            "subscriptions": 1,
            "versions": [{"version": 1, "subscriptions": 1}],
            "totals": [],
            "not_movable": [],
            "rows": [],
        },
        {
            "plan_id": "pro",
            "name": "Pro",
            "change": "changed",
            "next_version": 3,
            "subscriptions": 3,
            "versions": [{"version": 1, "subscriptions": 1}, {"version": 2, "subscriptions": 2}],
            "totals": [TOTAL],
            "not_movable": [OBSTACLE],
            "rows": [ROW],
        },
    ],
}
START = ("operator", "plan", "move", "start", "pro", "--reason", "spring prices")


def page(*items: Any) -> Reply:
    return Reply(200, {"items": list(items), "next_cursor": None, "has_more": False})


def play(service: Service, path: str, *answers: Any) -> None:
    """Answer the next requests to `path` with these, in order."""
    service.fail_next(*(each if isinstance(each, Reply) else Reply(200, each) for each in answers), path=path)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_moves, "POLL_SECONDS", 0.0)


@pytest.fixture
def document(billing: Billing, tmp_path: Path) -> Path:
    path = tmp_path / "new.json"
    assert billing("operator", "catalog", "template", "--output", str(path), "--quiet").code == 0
    return path


class TestImpact:
    def test_shows_each_plan_with_its_versions_and_sums(
        self, billing: Billing, service: Service, document: Path
    ) -> None:
        play(service, IMPACT, IMPACT_ANSWER)
        outcome = billing("operator", "catalog", "impact", "--file", str(document), "--limit", "5", "--org=shop")
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert (request.body, request.query) == (document.read_bytes(), {"limit": "5", "org_id": "shop"})
        lines = [line.split() for line in outcome.out.splitlines()]
        assert ["free", "off", "sale", "v1:", "1"] in lines
        assert ["pro", "changed", "to", "v3", "v1:", "1,", "v2:", "2", "$30.00", "$45.00", "+$15.00"] in lines
        assert "keeps pro:usd:month, loses pro:usd:month:gone" in outcome.out
        assert "pro: 1 cannot be moved: The subscription ends with this period" in outcome.out
        assert "All plans, USD: 2 subscriptions, next invoices $30.00 -> $45.00, +$15.00 by the month" in outcome.out
        assert outcome.out.splitlines()[-1].startswith("Nothing was published.")

    def test_as_csv_and_json(self, billing: Billing, service: Service, document: Path) -> None:
        play(service, IMPACT, IMPACT_ANSWER, IMPACT_ANSWER)
        words = ("operator", "catalog", "impact", "--file", str(document))
        assert billing(*words, "--format=csv").out.splitlines() == [
            "plan_id,change,next_version,subscriptions,versions,currency,movable,next_invoice_before,"
            "next_invoice_after,monthly_before,monthly_after,monthly_difference",
            "free,removed,,1,1:1,,0,,,,,",
            "pro,changed,3,3,1:1 2:2,usd,2,3000,4500,3000,4500,1500",
        ]
        assert billing(*words, "--format=json").data == IMPACT_ANSWER

    @pytest.mark.parametrize(
        ("difference", "line"),
        [
            ({}, "No difference to the active catalog"),
            ({"plans": {"added": ["x"]}}, "No running subscription is on a plan that changes"),
        ],
    )
    def test_says_when_nobody_is_concerned(
        self, billing: Billing, service: Service, document: Path, difference: dict[str, Any], line: str
    ) -> None:
        play(service, IMPACT, {**IMPACT_ANSWER, "difference": difference, "plans": [], "subscriptions": 0})
        assert billing("operator", "catalog", "impact", "--file", str(document)).out == f"{line}\n"

    def test_of_a_refused_document_names_every_finding(
        self, billing: Billing, service: Service, document: Path
    ) -> None:
        errors = [
            {"pointer": "/plans/0/prices/0/tiers", "code": "tiers_empty", "detail": "No tier."},
            {"pointer": "/plans/1/prices/0/percent", "code": "negative", "detail": "Below zero."},
        ]
        service.fail_next(problem(400, "catalog_invalid", "2 things are wrong.", errors=errors), path=IMPACT)
        outcome = billing("operator", "catalog", "impact", "--file", str(document))
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.splitlines() == [
            "Error: the catalog was refused, 2 findings",
            "/plans/0/prices/0/tiers: No tier.",
            "/plans/1/prices/0/percent: Below zero.",
            "Hint: nothing was published",
        ]

    def test_checks_the_document_before_it_leaves_the_machine(
        self, billing: Billing, service: Service, tmp_path: Path
    ) -> None:
        path = tmp_path / "c.json"
        path.write_text(json.dumps({"products": [], "plans": []}))
        assert billing("operator", "catalog", "impact", "--file", str(path)).code == 1
        assert service.requests == []


class TestPreview:
    def test_shows_sums_and_rows(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", PREVIEW)
        outcome = billing(
            *("operator", "plan", "move", "preview", "pro", "--to-version=2", "--when=now"),
            *("--from-version=1", "--subscription=sub_1", "--subscription=sub_2", "--limit=7", "--org=shop"),
        )
        assert outcome.code == 0, outcome.err
        assert service.requests[0].data == {
            "plan_id": "pro",
            "when": "now",
            "version": 2,
            "from_versions": [1],
            "subscription_ids": ["sub_1", "sub_2"],
            "org_id": "shop",
            "limit": 7,
        }
        lines = [line.split() for line in outcome.out.splitlines()]
        assert ["USD", "2", "$30.00", "$45.00", "$30.00", "$45.00", "+$15.00"] in lines
        assert lines[-2] == "2 to pro v2, with each next period; now on v1: 3".split()
        assert outcome.out.splitlines()[-1].startswith("1 cannot be moved: The subscription ends")

    def test_as_csv(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", PREVIEW)
        record = billing("operator", "plan", "move", "preview", "pro", "--format=csv").out.splitlines()[1]
        assert record == "sub_1,acc_1,1,usd,3000,4500,3000,4500,1500,pro:usd:month,pro:usd:month:gone"

    def test_says_when_nobody_is_concerned_and_who_was_named_in_vain(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", EMPTY, {**PREVIEW, "left_out": ["sub_8", "sub_9"]})
        words = ("operator", "plan", "move", "preview", "pro")
        assert billing(*words).out == "No running subscription is on another version of pro v2\n"
        assert "Not running on another version: sub_8, sub_9" in billing(*words).out

    def test_of_an_unknown_plan_or_version(self, billing: Billing, service: Service) -> None:
        for kind, named in (("plan", "gold"), ("plan_version", "9")):
            service.fail_next(problem(404, "not_found", "No such thing.", object_type=kind), path="/preview")
            outcome = billing("operator", "plan", "move", "preview", "gold", "--to-version=9")
            assert (outcome.code, outcome.err.splitlines()[0]) == (
                1,
                f"Error: {kind[-7:].strip('_')} not found: {named}",
            )

    def test_takes_two_words_for_when(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "plan", "move", "preview", "pro", "--when=tomorrow").code == 2
        assert service.requests == []


class TestStart:
    def test_shows_the_sums_and_waits_until_it_is_done(self, billing: Billing, service: Service) -> None:
        half = {**MOVE, "progress": {"pending": 1, "applied": 2, "failed": 0}}
        play(service, "/preview", PREVIEW)
        play(service, "/items", page(ITEM))
        play(service, f"{MOVES}/mov_1", half, DONE)
        play(service, MOVES, Reply(201, MOVE))
        outcome = billing(*START, "--force")
        assert outcome.code == 0, outcome.err
        assert [request.path for request in service.requests] == [
            f"{MOVES}/preview",
            MOVES,
            f"{MOVES}/mov_1",
            f"{MOVES}/mov_1",
            f"{MOVES}/mov_1/items",
        ]
        assert service.requests[1].data == {"plan_id": "pro", "when": "period_end", "reason": "spring prices"}
        assert outcome.err.splitlines() == [
            "2 to pro v2, with each next period; now on v1: 3",
            "1 cannot be moved: The subscription ends with this period; no next one begins.",
            "USD: 2 subscriptions, next invoices $30.00 -> $45.00, +$15.00 by the month",
            "Started mov_1; it goes on in the background whatever happens here",
            "Moving pro: 3 subscriptions",
            "Warning: 1 of 3 could not be moved",
            "sub_3: The subscription ends with this period.",
        ]
        shown = "mov_1 pro v2 next period completed 2 of 3 1 2023-11-15 10:20 spring prices".split()
        assert outcome.out.splitlines()[2].split() == shown

    def test_fails_when_nobody_was_moved(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", PREVIEW)
        play(service, "/items", page(ITEM))
        play(service, f"{MOVES}/mov_1", FAILED)
        play(service, MOVES, Reply(201, MOVE))
        outcome = billing(*START, "--force", "--quiet")
        assert outcome.code == 1
        assert outcome.err.splitlines() == [
            "Error: 0 of 3 applied",
            "sub_3: The subscription ends with this period.",
            "Hint: billing operator plan move show mov_1",
        ]

    def test_does_not_start_when_nobody_can_be_moved(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", NOBODY, EMPTY)
        outcome = billing(*START, "--force")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: 0 of 3 applied: nobody can be moved")
        outcome = billing(*START, "--force")
        assert outcome.err.startswith("Error: No running subscription is on another version of pro v2\n")
        assert len(service.requests) == 2

    def test_without_waiting_answers_the_move_as_it_began(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", PREVIEW)
        play(service, MOVES, Reply(201, MOVE))
        outcome = billing(*START, "--force", "--no-wait", "--format=json")
        assert (outcome.code, outcome.data["status"], len(service.requests)) == (0, "running", 2)

    def test_a_key_of_one_s_own_finds_the_first_move_again(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", EMPTY)
        play(service, "/items", page(ITEM))
        play(service, MOVES, Reply(201, DONE))
        outcome = billing(*START, "--force", "--idempotency-key=spring")
        assert outcome.code == 0, outcome.err
        assert service.requests[1].headers["idempotency-key"] == "spring"

    def test_asks_first(self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        questions: list[str] = []

        def refuse(question: str, **_: Any) -> bool:
            questions.append(question)
            return False

        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("typer.confirm", refuse)
        play(service, "/preview", PREVIEW)
        outcome = billing(*START)
        assert (outcome.code, questions) == (1, ["Move these 2 subscriptions?"])
        assert outcome.err.endswith("Error: nothing was done\n")
        assert len(service.requests) == 1

    def test_asks_nobody_where_nobody_sits(
        self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
        play(service, "/preview", PREVIEW)
        outcome = billing(*START)
        assert (outcome.code, outcome.err.splitlines()[-1]) == (2, "Hint: --force does it without a question")
        assert len(service.requests) == 1

    def test_another_move_of_the_plan_is_told(self, billing: Billing, service: Service) -> None:
        play(service, "/preview", PREVIEW)
        service.fail_next(problem(409, "move_in_progress", "A move of this plan is not finished."), path=MOVES)
        outcome = billing(*START, "--force")
        assert (outcome.code, outcome.err.splitlines()[-1]) == (1, "Error: A move of this plan is not finished.")


class TestShow:
    def test_lists_what_became_of_each(self, billing: Billing, service: Service) -> None:
        play(service, "/items", page(ITEM))
        play(service, f"{MOVES}/mov_1", DONE)
        outcome = billing("operator", "plan", "move", "show", "mov_1", "--status=failed", "--limit=5")
        assert outcome.code == 0, outcome.err
        assert service.requests[1].query == {"status": "failed", "limit": "5"}
        assert "sub_3         Ending Inc.  v1    failed  The subscription ends with this period." in outcome.out

    def test_as_csv_gives_the_subscriptions_and_as_json_everything(self, billing: Billing, service: Service) -> None:
        play(service, "/items", page(ITEM), page(ITEM))
        play(service, f"{MOVES}/mov_1", DONE, DONE)
        words = ("operator", "plan", "move", "show", "mov_1")
        record = "sub_3,acc_3,1,failed,move_not_possible,The subscription ends with this period."
        assert billing(*words, "--format=csv").out.splitlines()[1] == record
        assert billing(*words, "--format=json").data == {**DONE, "items": [ITEM]}

    def test_of_an_unknown_one(self, billing: Billing) -> None:
        outcome = billing("operator", "plan", "move", "show", "mov_x")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: move not found: mov_x")


class TestList:
    def test_shows_the_newest_first(self, billing: Billing, service: Service) -> None:
        play(service, MOVES, page(DONE, {**FAILED, "id": "mov_0", "when": "now"}))
        outcome = billing("operator", "plan", "move", "list", "--plan=pro", "--status=completed", "--limit=2")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].query == {"plan_id": "pro", "status": "completed", "limit": "2"}
        assert [line.split()[0] for line in outcome.out.splitlines()[2:]] == ["mov_1", "mov_0"]
        assert "at once" in outcome.out.splitlines()[3]

    def test_as_csv(self, billing: Billing, service: Service) -> None:
        play(service, MOVES, page(DONE))
        record = billing("operator", "plan", "move", "list", "--format=csv").out.splitlines()[1]
        assert record == "mov_1,pro,2,period_end,completed,0,2,1,2023-11-15T10:20:30Z"

    def test_says_when_there_is_none(self, billing: Billing, service: Service) -> None:
        play(service, MOVES, page())
        assert billing("operator", "plan", "move", "list").out == "No move yet\n"
