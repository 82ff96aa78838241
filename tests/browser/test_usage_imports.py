"""A usage file in the browser: handed in, watched while it is written, wrong lines read, refused requests looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import OperationalError
from django.urls import reverse
from pytest import MonkeyPatch

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from metering.models import UsageEvent, UsageImport
from metering.services.usage_imports import work_import, working
from tests.browser.conftest import THEMES
from tests.factories.metering import make_account, make_meter
from tests.support.api import make_client
from tests.support.jobs import SentJobs

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
LIST: Final = "admin:metering_usageimport_changelist"
PAGE: Final = "admin:metering_usageimport_change"
LINES: Final = 600


@pytest.fixture
def account() -> Account:
    make_meter("api", display_name="API requests")
    make_meter("storage", unit="GB", display_name="Storage")
    return make_account("acme/robotics", name="Acme Robotics")


def write_file(folder: Path, name: str, *, wrong: bool = False) -> Path:
    start = clock.now() - timedelta(days=25)
    rows = [
        f"{start + timedelta(minutes=number * 40):%Y-%m-%dT%H:%M:%SZ},{'storage' if number % 3 else 'api'},{number}"
        for number in range(LINES)
    ]
    if wrong:
        rows[7] = rows[7].replace("storage", "storrage")
        rows[41] = "yesterday,api,3"
        rows[200] = rows[200].rsplit(",", 1)[0] + ",-4"
        rows[310] = rows[310].rsplit(",", 1)[0]
    path = folder / name
    path.write_text("timestamp,service,quantity\n" + "\n".join(rows) + "\n")
    return path


def hand_in(visitor: Any, path: Path, reason: str) -> UsageImport:
    """Go through the form, once with an account that does not exist."""
    page = visitor.page
    visitor.go(reverse(LIST))
    page.click("text=Import a file")
    page.wait_for_selector("input[type=file][name=file]", state="attached")
    page.fill("input[name=account]", "acme/robotics")
    page.set_input_files("input[type=file][name=file]", path)
    page.fill("textarea[name=reason]", reason)
    visitor.take("usage-import-form", height=900)
    for account in ("acme/nobody", "acme/robotics"):
        page.set_input_files("input[type=file][name=file]", path)
        page.fill("input[name=account]", account)
        page.click(".ch-buttons button[type=submit]")
        page.wait_for_selector("text=There is no account" if account == "acme/nobody" else "text=are being checked")
    return UsageImport.objects.order_by("-id")[0]


def work_until(usage_import: UsageImport, batches: int) -> None:
    """Let a worker do so many batches and be gone."""
    left = [clock.now() for _ in range(batches)]

    def now() -> Any:
        if not left:
            raise OperationalError("gone")
        return left.pop()

    with pytest.raises(OperationalError):
        work_import(import_id=usage_import.pk, now=now, actor=SYSTEM)


class TestImport:
    def test_is_handed_in_watched_and_done(
        self,
        account: Account,
        open_window: Callable[..., Any],
        make_person: Callable[[str], Any],
        sent_jobs: SentJobs,
        monkeypatch: MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(working, "BATCH", 100)
        username = make_person("billing").username
        visitor = open_window()
        visitor.sign_in(username)
        visitor.go(reverse(LIST))
        assert "No file was imported yet" in visitor.text()
        path = write_file(tmp_path, "march-from-the-old-system.csv")
        usage_import = hand_in(visitor, path, "Moved from the old system")
        work_until(usage_import, 6 + 1 + 4)  # six batches and the end of the file, then four of six written
        for theme in THEMES:
            watcher = open_window(theme=theme)
            watcher.sign_in(username)
            watcher.go(reverse(PAGE, args=[usage_import.pk]))
            for expected in ("400 of 600 written", "Running", "Call off", "Acme Robotics"):
                assert expected in watcher.text(), expected
            watcher.take("usage-import-running", height=1000)
        assert sent_jobs.run()[0] == "metering.work_usage_import"
        # Nobody touches the pages: they come back by themselves.
        visitor.page.wait_for_selector("text=600 counted, 0 known before.", timeout=20_000)
        assert UsageEvent.objects.count() == LINES
        assert "Call off" not in visitor.text()
        again = hand_in(visitor, path, "Once more, to be sure")
        sent_jobs.run()
        for theme in THEMES:
            follower = open_window(theme=theme)
            follower.sign_in(username)
            follower.go(reverse(PAGE, args=[again.pk]))
            assert "Every one of 600 lines had been counted before: nothing changed." in follower.text()
            assert "march-from-the-old-system.csv, " in follower.text()
            follower.take("usage-import-repeated", height=1000)
            follower.go(reverse(LIST))
            assert "600 counted, 0 known before." in follower.text()
            follower.take("usage-imports", height=700)
        assert UsageEvent.objects.count() == LINES

    def test_names_the_wrong_lines(
        self,
        account: Account,
        open_window: Callable[..., Any],
        make_person: Callable[[str], Any],
        sent_jobs: SentJobs,
        tmp_path: Path,
    ) -> None:
        username = make_person("billing").username
        visitor = open_window()
        visitor.sign_in(username)
        usage_import = hand_in(visitor, write_file(tmp_path, "april.csv", wrong=True), "April, first try")
        sent_jobs.run()
        for theme in THEMES:
            reader = open_window(theme=theme)
            reader.sign_in(username)
            reader.go(reverse(PAGE, args=[usage_import.pk]))
            for expected in ("4 lines are wrong. Nothing was counted.", "storrage", "meter_not_found", "Failed"):
                assert expected in reader.text(), expected
            reader.take("usage-import-errors", height=1200)
        with visitor.page.expect_download() as download:
            visitor.go(reverse(PAGE, args=[usage_import.pk]))
            visitor.page.click("text=Download as CSV")
        lines = Path(download.value.path()).read_text().splitlines()
        assert [line.split(",")[:3] for line in lines] == [
            ["line", "column", "code"],
            ["9", "service", "meter_not_found"],
            ["43", "timestamp", "invalid"],
            ["202", "quantity", "invalid"],
            ["312", "", "invalid"],
        ]
        assert not UsageEvent.objects.exists()


class TestRejectedRequests:
    def test_are_looked_at(
        self, account: Account, open_window: Callable[..., Any], make_person: Callable[[str], Any], live_server: Any
    ) -> None:
        client: Any = make_client(subject="api-gateway")
        address = "/api/v1/billing/tenants/acme%2Frobotics/usage/batch"
        events = [
            {"metric_type": "api", "quantity": number, "idempotency_key": f"req-{number}"} for number in range(40)
        ]
        events[3] |= {"quantity": "-3", "metadata": {"route": "/v1/search", "api_key": "hidden-one"}}
        events[17] |= {"metric_type": "requests", "timestamp": "tomorrow"}
        for body in (
            json.dumps({"events": events}),
            json.dumps(events[4:5] * 1001),
            '{"events": [{"metric_type": "api"',
        ):
            assert client.generic("POST", address, body, content_type="application/json").status_code == 400
        username = make_person("viewer").username
        for theme in THEMES:
            visitor = open_window(theme=theme)
            visitor.sign_in(username)
            visitor.go(reverse("admin:metering_rejectedusagerequest_changelist"))
            for expected in ("batch_too_large", "malformed_body", "min_value", "Acme Robotics", "internal:api-gateway"):
                assert expected in visitor.text(), expected
            visitor.take("rejected-usage", height=700)
            visitor.page.click("tr:has-text('min_value') th a")
            visitor.page.wait_for_selector("text='/events/3/quantity'")
            text = visitor.text()
            assert "A quantity cannot be negative." in text
            assert "/v1/search" in text
            assert "hidden-one" not in text
            visitor.take("rejected-usage-request", height=1150)
