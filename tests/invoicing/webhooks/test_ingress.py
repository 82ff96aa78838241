"""The door of webhooks: who may come in, what is kept of what came, and how little it costs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from invoicing.models import InboundEvent
from invoicing.services.inbound_events import HANDLE_JOB
from invoicing.webhooks.signatures import (
    TOLERANCE_SECONDS,
    WebhookSignatureInvalid,
    WebhookSignatureMissing,
    check_signature,
    sign,
)
from tests.support.jobs import SentJobs
from tests.support.problems import findings, problem
from tests.support.webhooks import (
    DOOR,
    LOCAL_SECRET,
    STRIPE_SECRET,
    encode,
    make_event,
    post_body,
    post_event,
)

AT = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
ClockAt = Callable[[datetime], AbstractContextManager[None]]
DOORS = (DOOR, "/api/v1/billing/stripe/webhook", "/api/internal/stripe/webhook")
OTHER_SECRET = "whsec_" + "9" * 32


@pytest.mark.django_db
class TestReceipt:
    @pytest.mark.parametrize("path", DOORS)
    def test_says_what_came_by_our_name(self, path: str) -> None:
        event = make_event("payment_intent.succeeded", {"id": "pi_1", "object": "payment_intent"})
        answer = post_event(event, path=path)
        assert answer.status_code == 200
        assert json.loads(answer.content) == {
            "received": True,
            "type": "payment.completed",
            "id": event["id"],
            "duplicate": False,
        }

    def test_of_a_known_event_says_so_at_every_door_and_changes_nothing(self, sent_jobs: SentJobs) -> None:
        event = make_event("customer.updated", {"id": "cus_1", "object": "customer"})
        first = [json.loads(post_event(event, path=path).content)["duplicate"] for path in DOORS]
        assert first == [False, True, True]
        row = InboundEvent.objects.get()
        changed = {**event, "type": "customer.deleted"}
        assert json.loads(post_event(changed).content)["duplicate"] is True
        row.refresh_from_db()
        assert row.type == "customer.updated"

    def test_of_a_type_nobody_knows_keeps_its_name(self) -> None:
        answer = post_event(make_event("radar.early_fraud_warning.created", {"id": "issfr_1"}))
        assert json.loads(answer.content)["type"] == "radar.early_fraud_warning.created"

    def test_comes_in_the_other_spelling_too(self) -> None:
        body = encode(make_event("customer.created", {"id": "cus_1"}))
        headers = {
            "Accept": "application/vnd.billing.camel+json",
            "Stripe-Signature": sign(body=body, timestamp=int(time.time()), secret=STRIPE_SECRET),
        }
        answer = Client().post(DOOR, body, content_type="application/json", headers=headers)
        assert json.loads(answer.content)["received"] is True


@pytest.mark.django_db(transaction=True)
class TestStoring:
    def test_keeps_what_came_byte_for_byte_and_rings_once(self, clock_at: ClockAt, sent_jobs: SentJobs) -> None:
        event = make_event(
            "customer.subscription.updated",
            {"id": "sub_9", "object": "subscription", "name": "Zoë — ✓"},
            created=int(AT.timestamp()) - 7,
        )
        body = json.dumps(event, ensure_ascii=False, indent=3).encode() + b"\n"
        with clock_at(AT):
            assert post_body(body).status_code == 200
            assert post_body(body).status_code == 200
        row = InboundEvent.objects.get()
        assert bytes(row.body) == body
        assert (row.provider, row.event_id, row.type, row.neutral_type) == (
            "stripe",
            event["id"],
            "customer.subscription.updated",
            "subscription.updated",
        )
        assert (row.object_kind, row.object_id, row.livemode, row.api_version) == (
            "subscription",
            "sub_9",
            False,
            "2026-04-22.dahlia",
        )
        assert (row.occurred_at, row.received_at) == (AT - timedelta(seconds=7), AT)
        assert (row.status, row.attempts, row.account_id, row.outcome) == ("pending", 0, None, "")
        assert sent_jobs.of(HANDLE_JOB) == [{"event_id": str(row.pk)}]

    def test_costs_one_query(self) -> None:
        event = make_event("customer.created", {"id": "cus_1", "object": "customer"})
        post_event(make_event("customer.created", {"id": "cus_0"}))  # the connection is open
        for expected_status in (200, 200):  # a new event and a known one
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert post_event(event).status_code == expected_status
            statements = [query["sql"].split(None, 3)[:3] for query in queries]
            assert statements == [["INSERT", "INTO", "inbound_events"]]

    def test_events_without_an_object_are_kept(self) -> None:
        event = make_event("balance.available", {"object": "balance"})
        assert post_event(event).status_code == 200
        assert InboundEvent.objects.get().object_id == ""

    def test_events_that_only_name_their_object_are_kept(self) -> None:
        event = {
            "id": "evt_thin",
            "object": "v2.core.event",
            "type": "v1.billing.meter.error_report_triggered",
            "created": "2026-03-01T11:59:00.000Z",
            "livemode": False,
            "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
        }
        assert post_event(event).status_code == 200
        row = InboundEvent.objects.get()
        assert (row.object_kind, row.object_id) == ("billing.meter", "mtr_1")
        assert row.occurred_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)

    def test_an_event_of_the_other_mode_is_kept_and_never_applied(self, sent_jobs: SentJobs) -> None:
        answer = post_event(make_event("customer.deleted", {"id": "cus_1"}, livemode=True))
        assert answer.status_code == 200
        row = InboundEvent.objects.get()
        assert (row.status, row.livemode) == ("stored", True)
        assert row.outcome == "Not applied: a live event at a test site."
        assert row.handled_at is not None
        assert sent_jobs.of(HANDLE_JOB) == []

    def test_that_fails_is_told_so_that_the_provider_tries_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> bool:
            raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr("invoicing.webhooks.ingress.store_event", fail)
        answer = post_event(make_event("customer.created", {"id": "cus_1"}))
        problem(answer, "storage_unavailable", 503)
        assert answer.headers["Retry-After"]

    def test_a_broker_that_is_down_loses_nothing(self, settings: Any) -> None:
        settings.JOBS_SENDER = "tests.invoicing.webhooks.test_ingress.refuse_job"
        assert post_event(make_event("customer.created", {"id": "cus_1"})).status_code == 200
        assert InboundEvent.objects.get().status == "pending"


def refuse_job(name: str, arguments: dict[str, Any]) -> None:
    raise ConnectionError(f"no broker for {name} {arguments}")


@pytest.mark.django_db
class TestRefusals:
    @pytest.fixture(autouse=True)
    def _nothing_is_kept(self, db: None) -> Any:
        yield
        assert not InboundEvent.objects.exists()

    def test_without_a_signature(self) -> None:
        problem(post_event(make_event("customer.created", {"id": "c"}), signature=""), "webhook_signature_missing", 400)

    @pytest.mark.parametrize("path", DOORS)
    def test_with_the_wrong_secret(self, path: str) -> None:
        answer = post_event(make_event("customer.created", {"id": "c"}), secret=OTHER_SECRET, path=path)
        problem(answer, "webhook_signature_invalid", 401)

    @pytest.mark.parametrize("header", ["x", "t=,v1=", "t=1", "v1=aa", "t=1,v1=é", f"t={'9' * 400},v1=aa", "t=-1,v1=a"])
    def test_with_a_signature_that_is_none(self, header: str) -> None:
        answer = post_event(make_event("customer.created", {"id": "c"}), signature=header)
        problem(answer, "webhook_signature_invalid", 401)

    def test_with_one_byte_changed(self, clock_at: ClockAt) -> None:
        body = encode(make_event("customer.created", {"id": "c"}))
        signature = sign(body=body, timestamp=int(AT.timestamp()), secret=STRIPE_SECRET)
        with clock_at(AT):
            problem(post_body(body + b" ", signature=signature), "webhook_signature_invalid", 401)

    def test_when_it_is_older_than_300_seconds(self, clock_at: ClockAt) -> None:
        event = make_event("customer.created", {"id": "c"})
        with clock_at(AT):
            answer = post_event(event, signed_at=AT - timedelta(seconds=TOLERANCE_SECONDS + 1))
        problem(answer, "webhook_signature_invalid", 401)

    def test_of_providers_nobody_knows(self) -> None:
        event = make_event("customer.created", {"id": "c"})
        for provider in ("paypal", "Stripe", "../stripe", "stripe%00"):
            answer = post_event(event, path=f"/api/v1/billing/webhooks/{provider}")
            assert answer.status_code == 404, provider
        problem(post_event(event, path="/api/v1/billing/webhooks/paypal"), "provider_unknown", 404)

    def test_of_a_provider_without_a_secret(self, settings: Any) -> None:
        settings.BILLING_STRIPE_WEBHOOK_SECRETS = []
        for path in DOORS:
            problem(post_event(make_event("customer.created", {"id": "c"}), path=path), "provider_unknown", 404)

    def test_of_the_local_provider_in_live_mode(self, settings: Any) -> None:
        settings.BILLING_LIVEMODE = True
        event = make_event("customer.created", {"id": "c"}, livemode=True)
        answer = post_event(event, path="/api/v1/billing/webhooks/local", secret=LOCAL_SECRET, header="Local-Signature")
        problem(answer, "provider_unknown", 404)

    def test_signed_for_another_provider(self) -> None:
        event = make_event("customer.created", {"id": "c"})
        local = "/api/v1/billing/webhooks/local"
        answer = post_event(event, path=local, secret=STRIPE_SECRET, header="Local-Signature")
        problem(answer, "webhook_signature_invalid", 401)
        problem(post_event(event, path=local, secret=LOCAL_SECRET), "webhook_signature_missing", 400)

    def test_of_bodies_that_are_too_large(self, settings: Any) -> None:
        settings.BILLING_WEBHOOK_MAX_BYTES = 2000
        answer = post_event(make_event("customer.created", {"id": "c", "name": "x" * 2000}))
        assert [code for _, code in findings(problem(answer, "validation_failed", 400))] == ["body_too_large"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[1]",
            b'"x"',
            b"\xff\xfe",
            b"{}",
            b"[" * 100_000,
            b'{"id": "e", "type": "t"}',
            b'{"id": "e", "type": "t", "created": "soon"}',
            b'{"id": "e", "type": "t", "created": 99999999999999999999}',
            b'{"id": 5, "type": "t", "created": 1}',
            b'{"id": "e\\u0000", "type": "t", "created": 1}',
            b'{"id": "' + b"e" * 256 + b'", "type": "t", "created": 1}',
        ],
    )
    def test_of_signed_bodies_that_are_no_event(self, body: bytes) -> None:
        problem(post_body(body), "validation_failed", 400)

    @pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
    def test_of_other_methods(self, method: str) -> None:
        problem(getattr(Client(), method)(DOOR), "method_not_allowed", 405)


@pytest.mark.django_db
class TestSecrets:
    def test_the_old_and_the_new_one_hold_while_they_rotate(self, settings: Any) -> None:
        for secrets, answers in (
            ([STRIPE_SECRET], {STRIPE_SECRET: 200, OTHER_SECRET: 401}),
            ([OTHER_SECRET, STRIPE_SECRET], {STRIPE_SECRET: 200, OTHER_SECRET: 200}),
            ([OTHER_SECRET], {STRIPE_SECRET: 401, OTHER_SECRET: 200}),
        ):
            settings.BILLING_STRIPE_WEBHOOK_SECRETS = secrets
            for secret, status in answers.items():
                answer = post_event(make_event("customer.created", {"id": "c"}), secret=secret)
                assert answer.status_code == status, (secrets, secret)

    def test_a_header_with_two_signatures_holds_by_either(self) -> None:
        body, now = encode(make_event("customer.created", {"id": "c"})), int(time.time())
        right = sign(body=body, timestamp=now, secret=STRIPE_SECRET).partition(",")[2]
        header = f"t={now},v0=6f,v1={'0' * 64},{right}"
        assert post_body(body, signature=header).status_code == 200

    def test_of_the_local_provider_open_its_own_door(self) -> None:
        event = make_event("customer.created", {"id": "c"})
        answer = post_event(event, path="/api/v1/billing/webhooks/local", secret=LOCAL_SECRET, header="Local-Signature")
        assert answer.status_code == 200
        assert InboundEvent.objects.get().provider == "local"

    def test_one_event_id_of_two_providers_is_two_events(self) -> None:
        event = make_event("customer.created", {"id": "c"})
        post_event(event)
        local = post_event(event, path="/api/v1/billing/webhooks/local", secret=LOCAL_SECRET, header="Local-Signature")
        assert json.loads(local.content)["duplicate"] is False
        assert InboundEvent.objects.count() == 2

    def test_and_what_is_in_bodies_are_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        body = encode(make_event("charge.succeeded", {"id": "ch_1", "number": "4242424242424242"}))
        assert post_body(body).status_code == 200
        assert post_body(body, secret=OTHER_SECRET).status_code == 401
        assert post_body(body[:-1]).status_code == 400
        for word in (STRIPE_SECRET, OTHER_SECRET, "4242424242424242"):
            assert word not in caplog.text


class TestCheckSignature:
    """Beside the check of Stripe's own library: the two agree on what holds."""

    @given(
        body=st.text(max_size=60),
        age=st.integers(-1000, 1000),
        secrets=st.lists(st.sampled_from([STRIPE_SECRET, OTHER_SECRET]), min_size=1, max_size=2, unique=True),
        mangle=st.sampled_from(["", "v1=", "t=", " ", "v1=00,", "x=1,", "é"]),
    )
    def test_agrees_with_the_library(self, body: str, age: int, secrets: list[str], mangle: str) -> None:
        now = int(time.time())
        header = mangle + sign(body=body.encode(), timestamp=now - age, secret=STRIPE_SECRET)
        # Whole seconds at the limit pass while the two clocks are read.
        if abs(age - TOLERANCE_SECONDS) < 3:
            return
        assert holds_here(header, body, secrets, now) == any(holds_there(header, body, secret) for secret in secrets)

    def test_the_limit_is_300_seconds(self) -> None:
        header = sign(body=b"x", timestamp=int(AT.timestamp()) - 300, secret=STRIPE_SECRET)
        check_signature(header=header, body=b"x", secrets=[STRIPE_SECRET], at=AT)
        with pytest.raises(WebhookSignatureInvalid, match="300 seconds"):
            check_signature(header=header, body=b"x", secrets=[STRIPE_SECRET], at=AT + timedelta(seconds=1))

    def test_no_secret_signs_nothing(self) -> None:
        header = sign(body=b"x", timestamp=int(AT.timestamp()), secret="")
        with pytest.raises(WebhookSignatureInvalid):
            check_signature(header=header, body=b"x", secrets=[], at=AT)


def holds_here(header: str, body: str, secrets: list[str], now: int) -> bool:
    try:
        check_signature(header=header, body=body.encode(), secrets=secrets, at=datetime.fromtimestamp(now, UTC))
    except (WebhookSignatureInvalid, WebhookSignatureMissing):
        return False
    return True


def holds_there(header: str, body: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, header, secret, TOLERANCE_SECONDS))
    except stripe.SignatureVerificationError:
        return False
