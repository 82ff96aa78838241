"""Collecting the usage feed: everything, once, on disk before it is dropped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service, problem

COLLECT = ("operator", "usage", "collect")


def make_event(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "occurred_at": f"2026-03-15T10:{number:02}:00Z",
        "account_id": "acc_1",
        "event_type": "usage_recorded",
        "data": {"total_tokens": number, "ratio": 0.1, "name": "Zoë\n=1"},
        **values,
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.fixture
def feed(service: Service) -> list[dict[str, Any]]:
    service.feed = [make_event(number) for number in range(1, 8)]
    return list(service.feed)


class TestWithoutDelete:
    def test_prints_all_pages_before_one_time(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]]
    ) -> None:
        outcome = billing(*COLLECT, "--page-size", "3")
        assert outcome.code == 0
        assert [json.loads(line) for line in outcome.out.splitlines()] == feed
        assert outcome.err == "7 events collected\n"
        fixed = {"before": "2026-03-15T12:00:00Z", "page_size": "3"}
        assert [request.query for request in service.requests] == [
            {"page": "1", "page_size": "3"}, {**fixed, "page": "2"}, {**fixed, "page": "3"},
        ]  # fmt: skip
        assert service.feed == feed

    def test_writes_a_file_anew(self, billing: Billing, feed: list[dict[str, Any]], tmp_path: Path) -> None:
        path = tmp_path / "new" / "usage.jsonl"
        for _ in range(2):
            outcome = billing(*COLLECT, "--before=2026-03-15T10:03:00Z", "--output", str(path))
            assert (outcome.code, outcome.out) == (0, "")
            assert read_lines(path) == feed[:2]
        assert [each.name for each in path.parent.iterdir()] == ["usage.jsonl"]

    def test_leaves_the_file_as_it_was_when_it_fails(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        path = tmp_path / "usage.jsonl"
        path.write_text("before\n")
        service.fail_next(problem(403, "scope_missing", "no"))
        assert billing(*COLLECT, "--output", str(path)).code == 1
        assert path.read_text() == "before\n"


class TestWithDelete:
    def test_adds_each_page_to_the_file_before_it_is_dropped(
        self,
        billing: Billing,
        service: Service,
        feed: list[dict[str, Any]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = tmp_path / "usage.jsonl"
        path.write_text('{"id":0}\n')
        synced: list[int] = []
        sync = os.fsync

        def watch(handle: int) -> None:
            sync(handle)
            synced.append(len(read_lines(path)))

        monkeypatch.setattr(os, "fsync", watch)
        on_disk: list[int] = []
        service.before_drop = lambda: on_disk.append(synced[-1])
        outcome = billing(*COLLECT, "--delete", "--page-size=3", "--output", str(path))
        assert outcome.code == 0, outcome.err
        assert read_lines(path) == [{"id": 0}, *feed]
        assert on_disk == [4, 7, 8]  # the line that was there, and 3, 6, 7
        assert service.feed == []
        assert {request.query["page"] for request in service.requests} == {"1"}
        assert [request.method for request in service.requests] == ["GET", "DELETE"] * 3 + ["GET"]
        befores = {request.query.get("before") for request in service.requests[1:]}
        assert befores == {"2026-03-15T12:00:00Z"}

    def test_needs_a_file(self, billing: Billing, service: Service) -> None:
        outcome = billing(*COLLECT, "--delete")
        assert outcome.code == 2
        assert "--output" in outcome.err
        assert service.requests == []

    def test_stops_when_the_service_fails_and_goes_on_afterwards(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        path = tmp_path / "usage.jsonl"
        service.fail_next(problem(500, "internal_error", "no"), path="usage-events")
        assert billing(*COLLECT, "--delete", "--output", str(path)).code == 1
        assert service.feed == feed
        assert billing(*COLLECT, "--delete", "--output", str(path)).code == 0
        assert read_lines(path) == feed

    def test_sends_no_deletion_twice(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        path = tmp_path / "usage.jsonl"

        real = service._drop_feed
        service._routes = [
            (method, pattern, (lambda request: (real(request), Reply(drop=True))[1]) if method == "DELETE" else handler)
            for method, pattern, handler in service._routes
        ]
        outcome = billing(*COLLECT, "--delete", "--page-size=3", "--output", str(path))
        assert outcome.code == 1
        assert len([request for request in service.requests if request.method == "DELETE"]) == 1
        assert read_lines(path) == feed[:3]
        assert service.feed == feed[3:]

    def test_tells_when_somebody_else_drops_events(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        service.before_drop = lambda: service.feed.__delitem__(0)
        service.feed = service.feed[:3]
        outcome = billing(*COLLECT, "--delete", "--output", str(tmp_path / "usage.jsonl"))
        assert outcome.code == 1
        assert "3 events were read and 2 dropped" in outcome.err

    @pytest.mark.parametrize("torn", ['{"id":', "x" * 200_000])
    def test_takes_a_torn_line_out(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]], tmp_path: Path, torn: str
    ) -> None:
        path = tmp_path / "usage.jsonl"
        for kept in ("", '{"id":0}\n'):
            service.feed = list(feed)
            path.write_text(kept + torn)
            outcome = billing(*COLLECT, "--delete", "--output", str(path))
            assert f"not whole ({len(torn)} bytes)" in outcome.err
            lines = read_lines(path)
            assert [line["id"] for line in lines] == [*([0] if kept else []), *range(1, 8)]

    def test_drops_nothing_that_cannot_be_written(
        self, billing: Billing, service: Service, feed: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        outcome = billing(*COLLECT, "--delete", "--output", str(tmp_path))
        assert outcome.code == 1
        assert "cannot write" in outcome.err
        assert service.feed == feed


@pytest.mark.parametrize("words", [["--page-size=0"], ["--page-size=10001"], ["--format=csv"]])
def test_refuses_what_it_cannot_do(billing: Billing, words: list[str]) -> None:
    assert billing(*COLLECT, *words).code == 2


def test_takes_an_operators_token(billing: Billing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILLING_OPERATOR_TOKEN")
    outcome = billing(*COLLECT)
    assert outcome.code == 1
    assert "usage:read" in outcome.err
