"""What must never be readable in a log line, and what must."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from billing_site.platform.logs import REDACTED, make_formatter, redact, redact_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhY21lIn0.s5c-0hJ7l2sVQ_x"


class TestRedactText:
    @pytest.mark.parametrize(
        ("text", "secret", "kept"),
        [
            (f"Authorization: Bearer {JWT}", JWT, "Authorization: Bearer"),
            (f"token={JWT}&next=/", "eyJ", "&next=/"),
            (f"cut off: {JWT.split('.', maxsplit=1)[0]}", "eyJhbGci", "cut off"),
            ("bearer abc.def-123456 refused", "abc.def-123456", "refused"),
            ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "Basic"),
            ("key sk_live_51HxAbCdEf failed", "51HxAbCdEf", "key sk_"),
            ("restricted rk_test_9aBcDeFgHi", "9aBcDeFgHi", "restricted rk_"),
            ("endpoint whsec_MfKQ9r8GKYqrTwjU+/=", "MfKQ9r8GKYqrTwjU", "endpoint whsec_"),
            ("postgres://billing:s3cr3t@db:5432/x", "s3cr3t", "postgres://billing:"),
            ("redis://:hunter2@cache/0", "hunter2", "@cache/0"),
            ("amqp://u:p@ss:w0rd@mq/vhost", "ss:w0rd", "@mq/vhost"),
        ],
    )
    def test_hides_the_secret_and_keeps_the_rest(self, text: str, secret: str, kept: str) -> None:
        hidden = redact_text(text)
        assert secret not in hidden
        assert REDACTED in hidden
        assert kept in hidden

    @pytest.mark.parametrize(
        "text",
        [
            "invoice in_01hzy3k2 finalized for acc_01hzy3k1",
            "http://127.0.0.1:8087/api/v1/billing/invoices?limit=5",
            "task_risk_report_done",
            "a bearer of news",
            "postgres://billing@db:5432/x",
            "mailto:someone@example.org",
        ],
    )
    def test_leaves_ordinary_text_alone(self, text: str) -> None:
        assert redact_text(text) == text

    def test_is_stable_when_applied_twice(self) -> None:
        once = redact_text(f"Bearer {JWT} sk_test_abcdefgh redis://:pw@h/0")
        assert redact_text(once) == once


class TestRedact:
    def test_goes_into_nested_values_without_changing_them(self) -> None:
        original = {"headers": {"Authorization": "anything", "Accept": "*/*"}, "urls": ["redis://:pw@h/0"], "n": 3}
        assert redact(original) == {
            "headers": {"Authorization": REDACTED, "Accept": "*/*"},
            "urls": [f"redis://:{REDACTED}@h/0"],
            "n": 3,
        }
        assert original["headers"] == {"Authorization": "anything", "Accept": "*/*"}

    @pytest.mark.parametrize(
        "name", ["password", "client_secret", "api_key", "AUTHORIZATION", "sessionCookie", "token"]
    )
    def test_hides_by_name_whatever_the_value(self, name: str) -> None:
        assert redact({name: "plain"}) == {name: REDACTED}

    def test_keeps_counts_that_only_sound_secret(self) -> None:
        assert redact({"input_tokens": 512, "token_count": "512"}) == {"input_tokens": 512, "token_count": "512"}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a logger of its own writes through the JSON formatter."""
    buffer = io.StringIO()
    handler = logging.StreamHandler(buffer)
    handler.setFormatter(make_formatter(json=True))
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield buffer
    logger.removeHandler(handler)
    logger.propagate = True
    structlog.contextvars.clear_contextvars()


class TestFormatter:
    def test_writes_one_json_object_for_a_standard_record(self, stream: io.StringIO) -> None:
        logging.getLogger("tests.logs").info("sent to %s", "redis://:pw@h/0", extra={"invoice": "in_1"})
        line = json.loads(stream.getvalue())
        assert line["event"] == f"sent to redis://:{REDACTED}@h/0"
        assert (line["level"], line["logger"], line["invoice"]) == ("info", "tests.logs", "in_1")
        assert line["timestamp"].endswith("Z")

    def test_writes_a_structlog_record_with_its_context(self, stream: io.StringIO) -> None:
        structlog.contextvars.bind_contextvars(request_id="r-1")
        structlog.get_logger("tests.logs").info("issued", number="INV-1", authorization=f"Bearer {JWT}")
        line = json.loads(stream.getvalue())
        assert (line["event"], line["number"], line["request_id"]) == ("issued", "INV-1", "r-1")
        assert line["authorization"] == REDACTED

    def test_hides_secrets_quoted_by_a_traceback(self, stream: io.StringIO) -> None:
        try:
            raise ConnectionError("postgres://billing:s3cr3t@db/x refused")
        except ConnectionError:
            logging.getLogger("tests.logs").exception("no database")
        line = json.loads(stream.getvalue())
        assert "s3cr3t" not in stream.getvalue()
        assert "ConnectionError" in line["exception"]

    def test_writes_readable_lines_for_people(self) -> None:
        record = logging.LogRecord("x", logging.WARNING, __file__, 1, f"Bearer {JWT}", None, None)
        line = make_formatter(json=False).format(record)
        assert "warning" in line
        assert "eyJ" not in line
