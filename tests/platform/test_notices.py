"""Messages out: written with their cause, sent once, tried again."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing_site.platform.models import Notice, NoticeChannel
from billing_site.platform.services import notices
from billing_site.platform.services.notices import (
    KEPT,
    LOST_AFTER,
    WAITS,
    Attachment,
    Composed,
    DeliveryRefused,
    NewNotice,
    purge_notices,
    queue_notices,
    send_notice,
    sweep_notices,
)
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db

AT = datetime(2024, 3, 1, 9, tzinfo=UTC)
MAIL = NewNotice("alert:1", NoticeChannel.MAIL, "Cost is\n above", "5.00 USD of 4.00 USD", recipient="ops@example.com")
CHAT = NewNotice("alert:2", NoticeChannel.CHAT, "Cost of <!channel>", "A & B")


class ChatRoom(HTTPServer):
    """A real server that takes messages, and answers `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}/hook?secret=1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        room = self.server
        assert isinstance(room, ChatRoom)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        room.got.append({"host": self.headers["Host"], "path": self.path, "body": body})
        self.send_response(room.status)
        if room.status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the console."""


@pytest.fixture
def room(settings: Any) -> Iterator[ChatRoom]:
    server = ChatRoom()
    settings.BILLING_CHAT_WEBHOOK_URL, settings.BILLING_ALLOW_PRIVATE_URLS = server.url, True
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def queue(new: NewNotice) -> Notice:
    assert queue_notices([new]) == 1
    return Notice.objects.get(key=new.key)


class TestQueueNotices:
    def test_writes_a_row_and_rings_after_the_commit(
        self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            notice = queue(MAIL)
            assert sent_jobs == []
        assert sent_jobs.of("platform.send_notices") == [{"notice_ids": [str(notice.pk)]}]
        assert (notice.status, notice.subject, notice.attempts) == ("pending", "Cost is above", 0)

    @pytest.mark.parametrize("recipient", ["", "no address", "a@b"])
    def test_keeps_a_mail_that_has_nowhere_to_go_as_failed(self, recipient: str, sent_jobs: SentJobs) -> None:
        notice = queue(replace(MAIL, recipient=recipient))
        assert notice.status == "failed"
        assert notice.error
        assert not sent_jobs
        assert sweep_notices(at=AT) == 0

    def test_rings_for_twenty_at_a_time(self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True), CaptureQueriesContext(connection) as queries:
            assert queue_notices([replace(MAIL, key=f"n{number}") for number in range(45)]) == 45
        assert [len(job["notice_ids"]) for job in sent_jobs.of("platform.send_notices")] == [20, 20, 5]
        assert len(queries) == 2

    def test_tells_the_same_thing_once(self) -> None:
        queue(MAIL)
        assert queue_notices([MAIL]) == 0
        assert Notice.objects.count() == 1


class TestSendNotice:
    def test_sends_mail_that_says_it_is_automatic(self) -> None:
        notice = queue(MAIL)
        assert send_notice(notice_id=notice.pk, at=AT)
        [message] = mail.outbox
        assert (message.subject, message.body, message.to) == ("Cost is above", MAIL.body, ["ops@example.com"])
        assert message.extra_headers["Auto-Submitted"] == "auto-generated"
        assert notice.public_id in message.extra_headers["Message-ID"]
        notice.refresh_from_db()
        assert (notice.status, notice.sent_at, notice.attempts) == ("sent", AT, 1)

    def test_sends_nothing_a_second_time(self) -> None:
        notice = queue(MAIL)
        assert [send_notice(notice_id=notice.pk, at=AT) for _ in range(2)] == [True, False]
        assert len(mail.outbox) == 1

    def test_leaves_alone_what_somebody_else_is_sending(self) -> None:
        notice = queue(MAIL)
        Notice.objects.update(attempts=1, due_at=AT + LOST_AFTER)  # claimed, its outcome unknown
        assert not send_notice(notice_id=notice.pk, at=AT)
        assert send_notice(notice_id=notice.pk, at=AT + LOST_AFTER)
        assert len(mail.outbox) == 1

    def test_waits_longer_after_each_failure_and_gives_up(self, settings: Any) -> None:
        settings.EMAIL_BACKEND = ""
        notice, at = queue(MAIL), AT
        for wait in WAITS:
            assert not send_notice(notice_id=notice.pk, at=at)
            notice.refresh_from_db()
            assert (notice.status, notice.due_at) == ("pending", at + wait)
            assert not send_notice(notice_id=notice.pk, at=at + wait - timedelta(seconds=1))
            at += wait
        assert not send_notice(notice_id=notice.pk, at=at)
        notice.refresh_from_db()
        assert (notice.status, notice.attempts, notice.due_at) == ("failed", len(WAITS) + 1, None)
        assert notice.error == "No mail server is set: BILLING_EMAIL_URL."

    @pytest.mark.parametrize(
        ("codes", "status", "error"),
        [
            ([550], "failed", "The mail server refuses the address."),
            ([451], "pending", "The mail was not taken: SMTPRecipientsRefused."),
        ],
    )
    def test_does_not_try_again_what_the_server_refuses_for_good(
        self, monkeypatch: pytest.MonkeyPatch, codes: list[int], status: str, error: str
    ) -> None:
        def refuse(*_: object) -> None:
            raise smtplib.SMTPRecipientsRefused({str(code): (code, b"no") for code in codes})

        monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        notice = queue(MAIL)
        assert not send_notice(notice_id=notice.pk, at=AT)
        notice.refresh_from_db()
        assert (notice.status, notice.error) == (status, error)

    def test_posts_to_the_chat_without_mentions(self, room: ChatRoom) -> None:
        notice = queue(CHAT)
        assert send_notice(notice_id=notice.pk, at=AT)
        [got] = room.got
        # The call goes to a checked address, the name stays the server's.
        assert got["host"] == f"localhost:{room.server_port}"
        assert got["path"] == "/hook?secret=1"
        assert got["body"] == {"text": "*Cost of &lt;!channel&gt;*\nA &amp; B"}

    @pytest.mark.parametrize("status", [302, 404, 500])
    def test_only_a_2xx_has_arrived(self, room: ChatRoom, status: int) -> None:
        room.status = status
        notice = queue(CHAT)
        assert not send_notice(notice_id=notice.pk, at=AT)
        notice.refresh_from_db()
        assert notice.error == f"The other side answered {status}."
        assert len(room.got) == 1  # a redirect is not followed

    def test_keeps_the_secret_address_out_of_the_error(self, settings: Any) -> None:
        settings.BILLING_CHAT_WEBHOOK_URL = "https://127.0.0.1/hook?secret=1"
        notice = queue(CHAT)
        assert not send_notice(notice_id=notice.pk, at=AT)
        notice.refresh_from_db()
        assert notice.error == "The address is not a public one."


class TestComposers:
    """Messages whose text is written when they are sent."""

    @pytest.fixture
    def written(self, monkeypatch: pytest.MonkeyPatch) -> list[Notice]:
        written: list[Notice] = []

        def write(notice: Notice) -> Composed:
            written.append(notice)
            if notice.about == "gone":
                raise LookupError(notice.about)
            if notice.about == "over":
                raise DeliveryRefused("It is over.")
            file = Attachment("a.pdf", b"%PDF", "application/pdf")
            return Composed("Better\nsubject", "Text", "<p>Text</p>", (file,))

        monkeypatch.setattr(notices, "_composers", {"test": write})
        return written

    def queue(self, about: str = "") -> Notice:
        return queue(replace(MAIL, body="", about=about, composer="test"))

    def test_write_text_html_and_files_when_it_is_sent(self, written: list[Notice]) -> None:
        notice = self.queue()
        assert written == []
        assert send_notice(notice_id=notice.pk, at=AT)
        [message] = mail.outbox
        assert isinstance(message, EmailMultiAlternatives)
        assert (message.subject, message.body) == ("Better subject", "Text")
        assert message.alternatives == [("<p>Text</p>", "text/html")]
        assert message.attachments == [("a.pdf", b"%PDF", "application/pdf")]
        notice.refresh_from_db()
        assert (notice.subject, notice.body) == ("Better subject", "Text")

    def test_that_fail_are_asked_again_and_stop_nobody(self, written: list[Notice]) -> None:
        notice = self.queue("gone")
        queue(replace(MAIL, key="other"))
        assert sweep_notices(at=AT) == 1
        notice.refresh_from_db()
        assert (notice.status, notice.error) == ("pending", "The message could not be written: LookupError.")
        assert notice.due_at == AT + WAITS[0]

    def test_may_withdraw_it(self, written: list[Notice]) -> None:
        notice = self.queue("over")
        assert not send_notice(notice_id=notice.pk, at=AT)
        notice.refresh_from_db()
        assert (notice.status, notice.error) == ("failed", "It is over.")

    def test_that_nobody_knows_make_no_message(self) -> None:
        notice = queue(replace(MAIL, composer="unknown"))
        assert not send_notice(notice_id=notice.pk, at=AT)
        notice.refresh_from_db()
        assert notice.error == "The message could not be written: KeyError."


class TestSweepNotices:
    def test_sends_what_was_left_behind_and_what_is_due_again(self) -> None:
        for number, due in enumerate([None, AT - timedelta(minutes=1), AT + timedelta(minutes=1)]):
            notice = queue(NewNotice(f"n{number}", NoticeChannel.MAIL, f"S{number}", "B", recipient="a@example.com"))
            Notice.objects.filter(pk=notice.pk).update(due_at=due)
        assert sweep_notices(at=AT) == 2
        assert [message.subject for message in mail.outbox] == ["S1", "S0"]
        assert sweep_notices(at=AT) == 0


class TestPurgeNotices:
    def test_forgets_what_ended_long_ago_and_nothing_that_waits(self) -> None:
        for number in range(3):
            queue(NewNotice(f"n{number}", NoticeChannel.MAIL, f"S{number}", "B", recipient="a@example.com"))
        for key, at in (("n0", AT), ("n1", AT + timedelta(seconds=1))):
            assert send_notice(notice_id=Notice.objects.get(key=key).pk, at=at)
        Notice.objects.filter(key="n2").update(updated_at=AT)
        assert purge_notices(at=AT + KEPT + timedelta(seconds=1)) == 1
        assert set(Notice.objects.values_list("key", flat=True)) == {"n1", "n2"}
