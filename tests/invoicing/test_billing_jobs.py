"""Long work as jobs: what each kind leaves, and that a job never hangs, doubles or half succeeds."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from openpyxl import load_workbook  # type: ignore[import-untyped]

from accounts.models import Account, Subscription
from billing_site.platform.models import Event
from catalog.services.documents import read_document
from invoicing.models import BillingJob, BillingJobChunk, Invoice, InvoiceLine, Seller
from invoicing.queries.billing_jobs import SILENCE, list_waiting_jobs
from invoicing.queries.dry_runs import dry_run
from invoicing.services.billing_jobs import (
    JobFileGone,
    JobFinished,
    NewJob,
    cancel_job,
    open_job_file,
    producing,
    purge_job_files,
    sheets,
    start_job,
    work_job,
    working,
)
from tests.support import world
from tests.support.billing_job_states import begin_job
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def customers() -> list[Account]:
    """Two accounts with a fee of 10.00 and usage in November, billed until December."""
    world.publish()
    accounts = [world.open_account(f"customer-{number}") for number in range(2)]
    for number, account in enumerate(accounts):
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000 * (number + 1)], at=world.NOVEMBER + timedelta(days=4))
    world.run_cycle(as_of=world.DECEMBER)
    return accounts


def start(kind: str, file_format: str = "csv", **given: Any) -> BillingJob:
    return start_job(new=NewJob(kind, file_format, reason="to see", **given), at=JANUARY, actor=world.TESTER)


def work(job: BillingJob, at: datetime = JANUARY) -> BillingJob:
    return work_job(job_id=job.pk, now=lambda: at, actor=world.TESTER)


def do(kind: str, file_format: str = "csv", **given: Any) -> BillingJob:
    return work(start(kind, file_format, **given))


def read(job: BillingJob) -> bytes:
    return b"".join(open_job_file(job_id=job.pk, at=JANUARY, actor=world.TESTER)[1])


def read_csv(job: BillingJob) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read(job).decode())))


def ask_prices(**prices: Any) -> dict[str, Any]:
    return read_document(world.make_document(**prices)).as_document()


class TestDryRun:
    def test_leaves_the_lines_that_the_run_then_issues(self) -> None:
        before = Invoice.objects.count()
        job = do("dry_run", org_id="default", parameters={"as_of": JANUARY.isoformat()})
        assert (job.status, job.done, job.total) == ("succeeded", 2, 2)
        # 10.00 each in advance; the usage of November is billed already
        assert job.summary["totals"] == [{"currency": "usd", "amount": 2000}]
        assert job.summary["counts"][:2] == [["Subscriptions due", 2], ["Invoices that would be issued", 2]]
        assert Invoice.objects.count() == before
        rows = read_csv(job)
        world.run_cycle(as_of=JANUARY)
        lines = InvoiceLine.objects.filter(invoice__boundary=2).order_by("invoice__account__external_id", "position")
        assert [(row["external_id"], row["description"], row["amount"]) for row in rows] == [
            (line.invoice.account.external_id, line.description, f"{line.amount / 100:.2f}") for line in lines
        ]

    def test_names_what_would_be_held_and_what_would_fail(self) -> None:
        Seller.objects.update(review_amounts={"usd": 900})
        Subscription.objects.filter(account__external_id="customer-1").update(currency="eur")
        summary = do("dry_run", org_id="default", parameters={"as_of": JANUARY.isoformat()}).summary
        assert summary["counts"][2:] == [["Held for review", 1], ["Subscriptions that would fail", 1]]
        held, failed = sorted(summary["findings"], key=lambda row: row["text"], reverse=True)
        assert (held["name"], held["text"][:15]) == ("customer-0", "held for review")
        assert failed["text"].startswith("cannot be computed: ")
        assert summary["finding_count"] == 2


class TestWhatIf:
    def test_lists_accounts_with_the_largest_difference_first(self) -> None:
        catalog = ask_prices(input_price="0.0001")
        job = do("what_if", parameters={"period": "2023-11"}, catalog=catalog)
        # November's usage: 2,000,000 and 4,000,000 at 0.00005 → 0.0001 minor units: 1.00 and 2.00 more
        assert [(row["name"], row["would_be"] - row["issued"]) for row in job.summary["accounts"]] == [
            ("Customer-1", 200),
            ("Customer-0", 100),
        ]
        (total,) = job.summary["totals"]
        assert total["would_be"] - total["issued"] == 300
        assert {row["difference"] for row in read_csv(job)} == {"0.00", "1.00", "2.00"}

    def test_takes_some_accounts(self, customers: list[Account]) -> None:
        parameters = {"period": "2023-11", "accounts": [str(customers[0].pk)]}
        job = do("what_if", parameters=parameters, catalog=ask_prices(fee=1100))
        # the fees of November and December, 1.00 more each
        assert [(row["name"], row["would_be"] - row["issued"]) for row in job.summary["accounts"]] == [
            ("Customer-0", 200)
        ]
        assert job.summary["account_count"] == 1

    def test_says_what_keeps_its_price(self) -> None:
        catalog = ask_prices()
        catalog["plans"] = [plan for plan in catalog["plans"] if plan["id"] != "pro"]
        job = do("what_if", parameters={"period": "2023-11"}, catalog=catalog)
        assert job.summary["accounts"] == []
        assert sum(count for _, count in job.summary["kept"]) > 0


class TestShadow:
    def test_finds_nothing_where_nothing_changed(self) -> None:
        job = do("shadow", parameters={"period": "2023-11"})
        assert job.summary["counts"][0] == ["Invoices computed again", 4]
        assert job.summary["findings"] == []
        assert read_csv(job) == []

    def test_names_each_difference_with_its_line(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("UPDATE invoice_lines SET amount = 999 WHERE type <> 'usage' AND amount = 1000")
            cursor.execute("SET LOCAL session_replication_role = origin")
        job = do("shadow", parameters={"period": "2023-11"})
        wrong = [row for row in read_csv(job) if (row["issued"], row["computed"]) == ("999", "1000")]
        assert len(wrong) == 4 and all("line" in row["where"] for row in wrong), wrong
        assert {row["invoice"] for row in wrong} == set(Invoice.objects.values_list("number_text", flat=True))
        assert job.summary["finding_count"] == len(read_csv(job))


class TestExports:
    def test_account_data_is_a_table_for_each_part(self, customers: list[Account]) -> None:
        job = do("account_export", account=customers[0], parameters={"detailed": True})
        assert job.file_name == "account-customer-0.zip"
        with zipfile.ZipFile(io.BytesIO(read(job))) as archive:
            found = {
                name: list(csv.DictReader(io.StringIO(archive.read(name).decode()))) for name in archive.namelist()
            }
        assert set(found) == {f"{name}.csv" for name in ("customer", "subscriptions", "invoices", "payments", "usage")}
        assert [row["quantity"] for row in found["usage.csv"]] == ["2000000"]
        assert {row["number"] for row in found["invoices.csv"]} == set(
            Invoice.objects.filter(account=customers[0]).values_list("number_text", flat=True)
        )

    def test_the_journal_balances(self) -> None:
        job = do("journal", "xlsx", org_id="default", parameters={"month": "2023-11"})
        sheet = load_workbook(io.BytesIO(read(job))).active
        rows = list(sheet.iter_rows(min_row=2, values_only=True))
        assert len(rows) == job.summary["counts"][0][1] == job.done > 0
        debit, credit = (sum(Decimal(str(row[place] or 0)) for row in rows) for place in (4, 5))
        assert debit == credit == Decimal(job.summary["totals"][0]["amount"]) / 100

    def test_a_report_has_major_units_in_a_workbook_and_minor_ones_in_json(self) -> None:
        parameters = {"report": "revenue-by-plan", "start": "2023-11", "end": "2023-12"}
        found = json.loads(read(do("report", "json", parameters=parameters)))["revenue-by-plan"]
        sheet = load_workbook(io.BytesIO(read(do("report", "xlsx", parameters=parameters)))).active
        head, *rows = list(sheet.iter_rows(values_only=True))
        place = head.index("revenue")
        assert [Decimal(str(row[place])) for row in rows] == [Decimal(row["revenue"]) / 100 for row in found]
        assert sum(row["revenue"] for row in found) == sum(
            line.amount - line.discount for line in InvoiceLine.objects.filter(invoice__number__isnull=False)
        )

    def test_a_long_table_goes_on_in_the_next_worksheet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sheets, "SHEET_ROWS", 2)
        file = io.BytesIO()
        sheets.write_sheets(file, [sheets.Sheet("lines", ("a",), ([str(n)] for n in range(3)))], "xlsx")
        book = load_workbook(io.BytesIO(file.getvalue()))
        assert [[cell.value for (cell,) in page.iter_rows()] for page in book] == [["a", "0", "1"], ["a", "2"]]

    def test_no_cell_is_a_formula(self) -> None:
        for file_format in ("csv", "xlsx"):
            file = io.BytesIO()
            sheets.write_sheets(file, [sheets.Sheet("x", ("a", "b"), [["=1+1", "-5.00"]])], file_format)
            if file_format == "csv":
                assert file.getvalue().decode() == "a,b\r\n'=1+1,-5.00\r\n"
            else:
                cells = list(load_workbook(io.BytesIO(file.getvalue())).active.iter_rows(min_row=2, values_only=True))
                assert cells == [("'=1+1", "-5.00")]


class TestWorking:
    def test_is_sent_to_a_worker_once_it_is_stored(
        self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            job = start("report", parameters={"report": "aging"})
        assert sent_jobs.of("invoicing.work_billing_job") == [{"job_id": str(job.pk)}]

    def test_tells_how_far_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[int, int | None]] = []
        real = dry_run

        def watch(**given: Any) -> Iterator[Any]:
            for batch in real(**given, size=1):
                seen.append(BillingJob.objects.values_list("done", "total").get())
                yield batch

        monkeypatch.setattr(producing, "dry_run", watch)
        do("dry_run", org_id="default", parameters={"as_of": JANUARY.isoformat()})
        assert seen == [(0, None), (1, 2)]

    def test_stops_when_it_is_called_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = start("dry_run", org_id="default", parameters={"as_of": JANUARY.isoformat()})
        real = dry_run

        def call_off(**given: Any) -> Iterator[Any]:
            cancel_job(job_id=job.pk, at=JANUARY, actor=world.TESTER, reason="not needed")
            yield from real(**given)

        monkeypatch.setattr(producing, "dry_run", call_off)
        assert work(job).status == "canceled"
        assert not BillingJobChunk.objects.exists()
        with pytest.raises(JobFinished):
            cancel_job(job_id=job.pk, at=JANUARY, actor=world.TESTER)

    def test_fails_in_words(self) -> None:
        job = do("report", parameters={"report": "no-such-report"})
        assert (job.status, job.error_code) == ("failed", "not_found")
        assert job.error_detail == "No such report, or not visible to you."
        job = do("journal", org_id="default", parameters={})
        assert (job.error_code, job.error_detail) == (
            "internal_error",
            "Unexpected failure (KeyError); the log has the details.",
        )

    def test_of_a_dead_worker_is_taken_up_again(self) -> None:
        job = start("report", parameters={"report": "aging"})
        begin_job(job)
        job.refresh_from_db()
        assert (job.status, job.attempt) == ("running", 1)
        assert job.heartbeat_at is not None
        silent: datetime = job.heartbeat_at + SILENCE
        assert list_waiting_jobs(at=silent - timedelta(seconds=1)) == []
        assert work(job, silent - timedelta(seconds=1)).attempt == 1
        assert list_waiting_jobs(at=silent) == [job.pk]
        job = work(job, silent)
        assert (job.status, job.attempt) == ("succeeded", 2)

    def test_fails_when_its_workers_keep_dying(self) -> None:
        job = start("report", parameters={"report": "aging"})
        at = JANUARY
        with mock.patch.object(working, "make_work", side_effect=OperationalError):
            for _ in range(working.ATTEMPTS):
                with pytest.raises(OperationalError):
                    work(job, at)
                at += SILENCE
        job = work(job, at)
        assert (job.status, job.error_code, job.attempt) == ("failed", "worker_lost", 3)
        assert list_waiting_jobs(at=at + SILENCE) == []

    def test_a_worker_that_comes_back_writes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = start("report", parameters={"report": "aging"})
        real = producing.make_work

        def be_slow(found: BillingJob, tell: Any) -> Any:
            monkeypatch.setattr(working, "make_work", real)
            assert work(job, JANUARY + SILENCE).status == "succeeded"
            return real(found, tell)

        monkeypatch.setattr(working, "make_work", be_slow)
        assert work(job).attempt == 2
        assert BillingJobChunk.objects.count() == 1
        assert Event.objects.filter(type="billing_job.succeeded").count() == 1

    def test_waits_for_the_sweep_when_the_message_was_lost(self) -> None:
        job = start("report", parameters={"report": "aging"})
        assert list_waiting_jobs(at=JANUARY) == []
        assert list_waiting_jobs(at=JANUARY + timedelta(minutes=1)) == [job.pk]


class TestFiles:
    def test_are_kept_for_some_days(self, settings: Any) -> None:
        settings.BILLING_JOB_FILE_DAYS = 3
        job = do("what_if", parameters={"period": "2023-11"}, catalog=ask_prices())
        assert purge_job_files(at=JANUARY + timedelta(days=3, seconds=-1)) == 0
        assert read(job)
        assert purge_job_files(at=JANUARY + timedelta(days=3)) == 1
        job.refresh_from_db()
        assert (job.status, job.catalog, job.has_file) == ("succeeded", None, False)
        assert not BillingJobChunk.objects.exists()
        with pytest.raises(JobFileGone, match="dropped"):
            read(job)
        assert purge_job_files(at=JANUARY + timedelta(days=4)) == 0

    def test_come_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(working, "CHUNK_BYTES", 100)
        job = do("dry_run", org_id="default", parameters={"as_of": JANUARY.isoformat()})
        assert BillingJobChunk.objects.filter(job=job).count() == -(-job.file_size // 100) > 1
        assert len(read(job)) == job.file_size

    def test_leave_a_trail(self) -> None:
        read(do("report", parameters={"report": "aging"}))
        found = Event.objects.filter(type__startswith="billing_job.").order_by("sequence")
        assert list(found.values_list("type", flat=True)) == [
            "billing_job.started",
            "billing_job.succeeded",
            "billing_job.downloaded",
        ]
