"""Imports of usage files: checked whole, written in batches, resumed where they stopped, called off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import OperationalError
from pytest import MonkeyPatch

from accounts.models import Account
from billing_client.usage_import.events import EventReader
from billing_client.usage_import.mapping import GENERIC
from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from billing_site.platform.models import Event
from catalog.models import Meter
from metering.models import UsageEvent, UsageImport, UsageImportChunk
from metering.queries.usage_imports import find_earlier_import, was_counted_before
from metering.services.usage_imports import (
    AccountNeeded,
    NewUsageImport,
    UsageFileInvalid,
    UsageFileRepeated,
    UsageImportFinished,
    cancel_import,
    files,
    start_import,
    work_import,
    working,
)
from metering.tasks import sweep_usage_imports, work_usage_import
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db
HEADER: Final = "timestamp,service,quantity,metadata\n"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture(autouse=True)
def account() -> Account:
    make_meter("api")
    make_meter("tokens", unit="tokens")
    return make_account("acme/alice", org_id="acme")


def take_in(content: str | bytes, name: str = "usage.csv", **options: Any) -> UsageImport:
    raw = content.encode() if isinstance(content, str) else content
    return start_import(new=NewUsageImport(name, **options), content=[raw], at=AT, actor=SYSTEM)


def work(usage_import: UsageImport) -> UsageImport:
    return work_import(import_id=usage_import.pk, now=clock.now, actor=SYSTEM)


def bring(content: str | bytes, name: str = "usage.csv", **options: Any) -> UsageImport:
    return work(take_in(content, name, **options))


def list_errors(usage_import: UsageImport) -> list[tuple[int, str, str]]:
    return [(error.line, error.column, error.code) for error in usage_import.errors.all()]


def make_lines(count: int) -> str:
    return HEADER + "".join(f"2026-03-0{1 + number % 9},api,{number},\n" for number in range(count))


class TestReading:
    def test_a_line_becomes_an_event(self, account: Account) -> None:
        make_cost_center(account, "ops")
        done = bring(
            "timestamp,service,quantity,metadata,dimensions,unit,resource_id,actor_id,cost_center,idempotency_key\n"
            '2026-03-01T23:30:00+01:00,tokens,1.5,"{""a"": 0.25}","{""model"": ""large""}",tokens,vm,ada,OPS,k1\n'
            ",API_CALLS,2,,,,,,,\n",
            account=account,
        )
        assert (done.status, done.lines_total, done.created_count) == ("succeeded", 2, 2)
        first, second = UsageEvent.objects.order_by("timestamp")
        assert (first.value, first.timestamp) == (Decimal("1.5"), datetime(2026, 3, 1, 22, 30, tzinfo=UTC))
        assert (first.metadata, first.dimensions) == ({"a": 0.25}, {"model": "large"})
        assert (first.resource_id, first.actor_id, first.idempotency_key) == ("vm", "ada", "k1")
        assert first.cost_center is not None
        assert (second.meter.event_name, second.timestamp, second.account) == ("api", AT, account)

    def test_lines_may_name_their_account(self, account: Account) -> None:
        other = make_account("globex/bob", org_id="globex")
        lines = [
            {"account": "ACME/alice", "service": "api", "quantity": 1},
            {"account": other.public_id, "service": "api", "quantity": "2.5"},
            {"service": "api", "quantity": 4, "account": ""},
        ]
        content = "\n\n".join(map(json.dumps, lines))
        done = bring(content, "usage.jsonl", account=account)
        assert done.status == "succeeded"
        values = UsageEvent.objects.order_by("value").values_list("account__external_id", "value")
        assert list(values) == [("acme/alice", 1), ("globex/bob", Decimal("2.5")), ("acme/alice", 4)]

    def test_an_organization_names_its_own_accounts_only(self, account: Account) -> None:
        make_account("globex/bob", org_id="globex")
        done = bring("account,service,quantity\nacme/alice,api,1\nglobex/bob,api,1\n,api,1\n", org_id="acme")
        assert list_errors(done) == [(3, "account", "not_found"), (4, "account", "required")]
        assert not UsageEvent.objects.exists()

    def test_keys_are_those_of_the_command_line(self, account: Account, tmp_path: Path) -> None:
        content = make_lines(3)
        path = tmp_path / "other-name.csv"
        path.write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        expected = {event.body["idempotency_key"] for event in EventReader(path, [GENERIC], digest).read()}
        done = bring(content, account=account)
        assert done.file_hash == digest
        assert set(UsageEvent.objects.values_list("idempotency_key", flat=True)) == expected
        assert f"{digest}:2:api" in expected

    def test_a_large_file_comes_in_pieces(self, account: Account, monkeypatch: MonkeyPatch) -> None:
        monkeypatch.setattr(files, "CHUNK_BYTES", 7)
        monkeypatch.setattr(working, "BATCH", 4)
        content = make_lines(10)
        parts = [content[start : start + 11].encode() for start in range(0, len(content), 11)]
        new = NewUsageImport("usage.csv", account=account)
        usage_import = start_import(new=new, content=parts, at=AT, actor=SYSTEM)
        assert UsageImportChunk.objects.count() == -(-len(content) // 7)
        assert usage_import.size_bytes == len(content)
        assert work(usage_import).created_count == 10
        # 0 + 1 + … + 9 = 45
        assert sum(UsageEvent.objects.values_list("value", flat=True)) == 45
        assert not UsageImportChunk.objects.exists()


class TestChecking:
    def test_names_every_bad_line_and_writes_nothing(self, account: Account) -> None:
        done = bring(
            HEADER
            + "2026-03-01,api,1,\n"
            + "yesterday,api,1,\n"
            + "2026-03-01,nope,1,\n"
            + "2026-03-01,api,-1,\n"
            + "2026-03-01,api\n"
            + "2027-03-01,api,1,\n"
            + '2026-03-01,api,1,"[1]"\n'
            + '2026-03-01,api,1,"{""cost_center"": ""x""}"\n'
            + "2026-03-01,api,2,\n",
            account=account,
        )
        assert list_errors(done) == [
            (3, "timestamp", "invalid"),
            (4, "service", "meter_not_found"),
            (5, "quantity", "invalid"),
            (6, "", "invalid"),
            (7, "timestamp", "in_future"),
            (8, "metadata", "invalid"),
            (9, "metadata", "unknown_cost_center"),
        ]
        assert (done.status, done.error_code, done.error_count) == ("failed", "lines_invalid", 7)
        assert done.error_detail == "7 lines are wrong. Nothing was counted."
        assert (done.lines_total, done.created_count) == (9, 0)
        assert not UsageEvent.objects.exists()
        assert not UsageImportChunk.objects.exists()

    def test_a_bad_line_at_the_very_end_stops_everything(self, account: Account, monkeypatch: MonkeyPatch) -> None:
        monkeypatch.setattr(working, "BATCH", 2)
        done = bring(make_lines(4) + "2026-03-01,api,x,\n", account=account)
        assert (list_errors(done), done.lines_total) == ([(6, "quantity", "invalid")], 5)
        assert not UsageEvent.objects.exists()

    def test_keeps_the_first_errors_and_counts_all(self, account: Account, monkeypatch: MonkeyPatch) -> None:
        monkeypatch.setattr(working, "BATCH", 3)
        monkeypatch.setattr(working, "MAX_ERRORS", 4)
        done = bring(HEADER + "2026-03-01,nope,-1,\n" * 8, account=account)
        assert (done.error_count, [line for line, *_ in list_errors(done)]) == (8, [2, 3, 4, 5])

    def test_only_checking_writes_nothing(self, account: Account) -> None:
        done = bring(make_lines(3), account=account, check_only=True)
        assert (done.status, done.lines_total, done.created_count) == ("succeeded", 3, 0)
        assert not was_counted_before(done)
        assert not UsageEvent.objects.exists()

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            (HEADER.encode() + b"2026-03-01,api,1,\n\xff\xfe,api,1,\n", 3),
            (HEADER.encode() + b'2026-03-01,api,1,"{\n', 2),
            (HEADER.encode() + b"2026-03-01,api,1,a\0b\n", 2),
        ],
    )
    def test_what_cannot_be_read_is_named_with_its_line(self, account: Account, content: bytes, line: int) -> None:
        done = bring(content, account=account)
        assert (done.status, [place for place, *_ in list_errors(done)]) == ("failed", [line])

    def test_what_cannot_be_stored_is_named_too(self, account: Account) -> None:
        rows = [
            '{"service": "api", "quantity": 1, "metadata": {"a": ' + text + "}}"
            for text in ('"\\u0000"', '"\\ud800"', "1e400", "123456789012345678901234567890")
        ]
        done = bring("\n".join(rows), "usage.ndjson", account=account)
        assert list_errors(done) == [(1, "", "invalid"), (2, "", "invalid"), (3, "", "invalid")]
        done = bring(rows[3], "usage.ndjson", account=account)
        assert (done.status, done.created_count) == ("succeeded", 1)

    def test_card_numbers_are_refused_and_not_kept(self, account: Account) -> None:
        done = bring(HEADER + '2026-03-01,api,1,"{""note"": ""4242 4242 4242 4242""}"\n', account=account)
        assert list_errors(done) == [(2, "metadata", "card_number_refused")]
        assert "4242" not in str(list(done.errors.values()))
        assert not UsageImportChunk.objects.exists()

    def test_a_file_of_a_header_holds_no_usage(self, account: Account) -> None:
        done = bring(HEADER + "\n\n", account=account)
        assert (done.status, done.error_code) == ("failed", "file_empty")


class TestTakingIn:
    @pytest.mark.parametrize(
        ("content", "name", "code"),
        [
            ("", "usage.csv", "empty"),
            ("service,value\napi,1\n", "usage.csv", "header_invalid"),
            ("service,service\napi,1\n", "usage.csv", "header_invalid"),
            (make_lines(1), "usage.xlsx", "format_unknown"),
            (make_lines(1), "usage", "format_unknown"),
            ("x" * 1001, "usage.jsonl", "file_too_large"),
        ],
    )
    def test_refuses_what_is_no_usage_file(
        self, account: Account, settings: Any, content: str, name: str, code: str
    ) -> None:
        settings.BILLING_USAGE_IMPORT_MAX_BYTES = 1000
        with pytest.raises(UsageFileInvalid) as refused:
            take_in(content, name, account=account)
        assert [finding.code for finding in refused.value.errors] == [code]
        assert not UsageImport.objects.exists()
        assert not UsageImportChunk.objects.exists()

    def test_takes_a_file_as_large_as_may_be(self, account: Account, settings: Any) -> None:
        content = make_lines(5)
        settings.BILLING_USAGE_IMPORT_MAX_BYTES = len(content)
        assert bring(content, account=account).status == "succeeded"

    def test_needs_an_account_somewhere(self) -> None:
        with pytest.raises(AccountNeeded):
            take_in(make_lines(1))
        assert take_in("account,service,quantity\n").account is None

    def test_rings_for_a_worker(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            usage_import = take_in(make_lines(2), account=account)
        assert sent_jobs.of("metering.work_usage_import") == [{"import_id": str(usage_import.pk)}]
        assert work_usage_import(str(usage_import.pk)) == "succeeded"
        assert [
            event.type for event in Event.objects.filter(object_id=usage_import.public_id).order_by("sequence")
        ] == [
            "usage_import.started",
            "usage_import.succeeded",
        ]


class TestRepeats:
    def test_the_same_file_again_is_all_duplicates_and_says_so(self, account: Account) -> None:
        first = bring(make_lines(5), account=account)
        second = bring(make_lines(5), "renamed.csv", account=account)
        assert (second.status, second.created_count, second.duplicate_count) == ("succeeded", 0, 5)
        assert [was_counted_before(each) for each in (first, second)] == [False, True]
        assert [find_earlier_import(each) for each in (first, second)] == [None, first]
        assert UsageEvent.objects.count() == 5

    def test_a_file_whose_keys_are_forgotten_is_refused(self, account: Account, settings: Any) -> None:
        settings.BILLING_USAGE_LOOKBACK_DAYS = 35
        first = bring(make_lines(5), account=account)
        other = make_account("acme/bob")

        def again(days: int, **options: Any) -> UsageImport:
            at = AT + timedelta(days=days)
            new = NewUsageImport("usage.csv", **{"account": account, **options})
            return start_import(new=new, content=[make_lines(5).encode()], at=at, actor=SYSTEM)

        assert again(33).status == "pending"
        with pytest.raises(UsageFileRepeated, match=first.public_id):
            again(34)
        with pytest.raises(UsageFileRepeated):
            again(400)
        assert again(400, account=other).status == "pending"
        assert again(400, check_only=True).status == "pending"

    def test_a_key_of_its_own_counts_once_in_a_file(self, account: Account) -> None:
        content = "service,quantity,idempotency_key\napi,1,a\napi,2,b\napi,3,a\n"
        done = bring(content, account=account)
        assert (done.created_count, done.duplicate_count) == (2, 1)


class TestResuming:
    def stop_after(self, usage_import: UsageImport, batches: int) -> UsageImport:
        """Work until so many batches are committed; then the database goes away."""
        times = [AT] * batches

        def now() -> datetime:
            if not times:
                raise OperationalError("gone")
            return times.pop()

        with pytest.raises(OperationalError):
            work_import(import_id=usage_import.pk, now=now, actor=SYSTEM)
        usage_import.refresh_from_db()
        return usage_import

    @pytest.mark.parametrize(
        ("batches", "phase", "done"),
        [(1, "check", 4), (2, "check", 8), (3, "write", 0), (4, "write", 4), (5, "write", 8)],
    )
    def test_goes_on_where_it_stopped(
        self, account: Account, monkeypatch: MonkeyPatch, batches: int, phase: str, done: int
    ) -> None:
        monkeypatch.setattr(working, "BATCH", 4)
        stopped = self.stop_after(take_in(make_lines(10), account=account), batches)
        assert (stopped.status, stopped.phase, stopped.lines_done) == ("running", phase, done)
        assert UsageEvent.objects.count() == stopped.created_count == (done if phase == "write" else 0)
        finished = work(stopped)
        assert (finished.status, finished.created_count, finished.duplicate_count) == ("succeeded", 10, 0)
        assert finished.lines_done == finished.lines_total == 10
        assert sum(UsageEvent.objects.values_list("value", flat=True)) == 45

    def test_errors_of_what_was_checked_before_are_named_once(self, account: Account, monkeypatch: MonkeyPatch) -> None:
        monkeypatch.setattr(working, "BATCH", 2)
        content = HEADER + "2026-03-01,api,x,\n2026-03-01,api,1,\n" * 3
        done = work(self.stop_after(take_in(content, account=account), 2))
        assert (done.error_count, [line for line, *_ in list_errors(done)]) == (3, [2, 4, 6])

    def test_what_changed_since_the_check_ends_it_with_the_lines(
        self, account: Account, monkeypatch: MonkeyPatch
    ) -> None:
        monkeypatch.setattr(working, "BATCH", 2)
        content = HEADER + "2026-03-01,api,1,\n" * 2 + "2026-03-01,tokens,1,\n"
        stopped = self.stop_after(take_in(content, account=account), 3)
        Meter.objects.filter(event_name="tokens").update(event_name="tokens-of-old")
        done = work(stopped)
        assert (done.status, list_errors(done)) == ("failed", [(4, "service", "meter_not_found")])
        assert done.error_detail == "1 line is wrong. 2 lines were counted before."
        assert (done.created_count, done.lines_done, UsageEvent.objects.count()) == (2, 2, 2)

    def test_a_mistake_of_ours_fails_it_and_keeps_what_was_written(
        self, account: Account, monkeypatch: MonkeyPatch
    ) -> None:
        monkeypatch.setattr(working, "BATCH", 4)
        stopped = self.stop_after(take_in(make_lines(10), account=account), 4)

        def fail(**_: Any) -> None:
            raise KeyError("a mistake")

        monkeypatch.setattr(working, "record_usage_events", fail)
        done = work(stopped)
        assert (done.status, done.error_code, done.created_count) == ("failed", "internal_error", 4)
        assert "KeyError" in done.error_detail

    def test_the_sweep_rings_for_what_stands_still(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        usage_import = take_in(make_lines(2), account=account)
        finished = bring(make_lines(3), account=account)
        assert finished.is_finished
        UsageImport.objects.update(updated_at=AT - timedelta(seconds=59))
        assert sweep_usage_imports() == 0
        UsageImport.objects.update(updated_at=AT - timedelta(seconds=60))
        with django_capture_on_commit_callbacks(execute=True):
            assert sweep_usage_imports() == 1
        assert sent_jobs.of("metering.work_usage_import") == [{"import_id": str(usage_import.pk)}]


class TestCanceling:
    def test_keeps_what_was_written_and_goes_no_further(self, account: Account, monkeypatch: MonkeyPatch) -> None:
        monkeypatch.setattr(working, "BATCH", 4)
        stopped = TestResuming().stop_after(take_in(make_lines(10), account=account), 4)
        canceled = cancel_import(import_id=stopped.pk, at=AT, actor=SYSTEM, reason="the wrong file")
        assert (canceled.status, canceled.lines_done, canceled.created_count) == ("canceled", 4, 4)
        assert work(canceled).status == "canceled"
        assert UsageEvent.objects.count() == 4
        assert not UsageImportChunk.objects.exists()
        with pytest.raises(UsageImportFinished):
            cancel_import(import_id=stopped.pk, at=AT, actor=SYSTEM)
        assert Event.objects.get(type="usage_import.canceled").reason == "the wrong file"
        # The rest comes with the same file again; what was written is known.
        again = bring(make_lines(10), account=account)
        assert (again.created_count, again.duplicate_count) == (6, 4)
