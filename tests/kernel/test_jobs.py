"""Jobs go out by name when the transaction commits, and never take the request down with them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from billing_site.kernel import jobs
from tests.support.jobs import SentJob, SentJobs


def fail_to_send(name: str, arguments: dict[str, Any]) -> None:
    """A broker that is down; its error quotes its address, as real ones do."""
    raise ConnectionError("redis://:hunter2@cache/0 refused")


@pytest.mark.django_db(transaction=True)
class TestEnqueue:
    def test_sends_when_the_transaction_commits(self, sent_jobs: SentJobs) -> None:
        with transaction.atomic():
            jobs.enqueue("invoicing.render_document", invoice_id="in_1")
            assert sent_jobs == []
        assert sent_jobs == [SentJob("invoicing.render_document", {"invoice_id": "in_1"})]

    def test_sends_nothing_of_a_transaction_that_fails(self, sent_jobs: SentJobs) -> None:
        with pytest.raises(RuntimeError), transaction.atomic():
            jobs.enqueue("invoicing.render_document", invoice_id="in_1")
            raise RuntimeError
        assert sent_jobs == []

    def test_sends_nothing_of_a_savepoint_that_fails(self, sent_jobs: SentJobs) -> None:
        with transaction.atomic():
            jobs.enqueue("first", id="1")
            with pytest.raises(RuntimeError), transaction.atomic():
                jobs.enqueue("second", id="2")
                raise RuntimeError
        assert sent_jobs.names == ["first"]

    def test_sends_at_once_outside_a_transaction(self, sent_jobs: SentJobs) -> None:
        jobs.enqueue("sweep", id="1")
        assert sent_jobs.names == ["sweep"]

    def test_a_broker_that_is_down_fails_nothing_and_is_logged_without_its_password(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.JOBS_SENDER = f"{__name__}.fail_to_send"
        with caplog.at_level(logging.WARNING), transaction.atomic():
            jobs.enqueue("invoicing.render_document", invoice_id="in_1")
        assert "invoicing.render_document" in caplog.text
        assert "ConnectionError" in caplog.text
        assert "hunter2" not in caplog.text


@pytest.mark.django_db
class TestSentJobs:
    def test_arguments_must_survive_json(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        from tests.support.jobs import record_job

        with pytest.raises(TypeError):
            record_job("x", {"when": object()})

    def test_are_visible_in_a_rolled_back_test_too(
        self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            jobs.enqueue("sweep", id="1")
        assert sent_jobs.of("sweep") == [{"id": "1"}]
