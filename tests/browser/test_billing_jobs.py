"""A dry run in the browser: asked for, watched while it runs, read, downloaded."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from django.urls import reverse

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from invoicing.models import BillingJob
from invoicing.services.billing_jobs import NewJob, start_job, work_job
from tests.browser.conftest import THEMES
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
LIST: Final = "admin:invoicing_billingjob_changelist"
PAGE: Final = "admin:invoicing_billingjob_change"


@pytest.fixture
def _customers(transactional_db: None) -> None:
    """Four accounts billed until December; one of them would be held for review."""
    world.publish()
    for number, name in enumerate(("Alpenglow", "Birchwood", "Cobalt Labs", "Dune & Co")):
        account = world.open_account(f"customer-{number}", name=name)
        world.subscribe(account, "pro", quantity=number + 1)
        world.use(account, "input_tokens", [2_000_000 * (number + 1)], at=world.NOVEMBER + timedelta(days=4))
    world.run_cycle(as_of=world.DECEMBER)


class TestDryRun:
    @pytest.mark.usefixtures("_customers")
    def test_is_started_watched_and_downloaded(
        self, open_window: Callable[..., Any], make_person: Callable[[str], Any], sent_jobs: SentJobs
    ) -> None:
        username = make_person("billing").username
        visitor = open_window()
        visitor.sign_in(username)
        visitor.go(reverse(LIST))
        assert "No job yet" in visitor.text()
        page = visitor.page
        page.click("text=Dry run")
        page.wait_for_selector("select[name=org_id]")
        page.fill("input[name=as_of]", "2024-01-01")
        page.fill("textarea[name=reason]", "Before the January run")
        visitor.take("job-form", height=1000)
        page.click(".ch-buttons button[type=submit]")
        page.wait_for_selector("text=Waiting for a worker.")
        job = BillingJob.objects.get()
        BillingJob.objects.update(done=1, total=4)
        page.wait_for_selector("text=1 of 4", timeout=20_000)
        visitor.take("job-waiting", height=1000)
        assert "invoicing.work_billing_job" in sent_jobs.run()
        # Nobody touches the page: it comes back by itself.
        page.wait_for_selector("text=Subscriptions due", timeout=20_000)
        for expected in ("Succeeded", "100.00 USD", "Nothing would be held for review"):
            assert expected in visitor.text(), expected
        with page.expect_download() as download:
            page.click(f"text={BillingJob.objects.get().file_name}")
        with Path(download.value.path()).open(newline="") as file:
            rows = list(csv.DictReader(file))
        # (1 + 2 + 3 + 4) seats at 10.00
        assert sum(Decimal(row["amount"]) for row in rows) == 100
        self._look_at_a_what_if(open_window, username, job)

    def _look_at_a_what_if(self, open_window: Callable[..., Any], username: str, dry_run: BillingJob) -> None:
        document = world.make_document(fee=1100, input_price="0.0001")
        asked = NewJob("what_if", "xlsx", parameters={"period": "2023-11", "prices": "Spring prices"}, catalog=document)
        job = start_job(new=asked, at=clock.now(), actor=world.TESTER)
        work_job(job_id=job.pk, now=clock.now, actor=SYSTEM)
        for theme in THEMES:
            reader = open_window(theme=theme)
            reader.sign_in(username)
            reader.go(reverse(PAGE, args=[job.pk]))
            for expected in ("By account, the largest difference first", "Dune & Co", "prices of Spring prices"):
                assert expected in reader.text(), expected
            reader.take("job-what-if", height=1300)
            reader.go(reverse(PAGE, args=[dry_run.pk]))
            reader.take("job-dry-run", height=1100)
            reader.go(reverse(LIST))
            reader.take("jobs", height=700)
