"""A repeat of a keyed POST gets the first answer and has no second effect."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.http import HttpResponse

from billing_site.platform.models import Event, IdempotencyKey
from billing_site.platform.tasks import expire_idempotency_keys
from tests.api.probe import Gate
from tests.support.api import BillingClient, make_client
from tests.support.problems import findings, problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db(transaction=True)]
ClockAt = Callable[[datetime], AbstractContextManager[None]]


def post(body: Any, key: str | None = "k-1", client: BillingClient | None = None, **headers: str) -> Any:
    if key is not None:
        headers["Idempotency-Key"] = key
    return (client or make_client()).post("/api/widgets", body, headers=headers)


def replayed(response: HttpResponse) -> bool:
    return "Idempotent-Replayed" in response.headers


class TestReplay:
    def test_same_answer_and_one_effect(self) -> None:
        body = {"name": "a", "unit_price": "0.5", "metadata": {"z": 1, "a": [0.1, None]}}
        first, second = post(body), post(body)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert (replayed(first), replayed(second)) == (False, True)
        assert second.headers["Location"] == "/widgets/1"
        assert first.headers["Request-Id"] != second.headers["Request-Id"]
        assert Event.objects.count() == 1

    def test_without_key_every_request_counts(self) -> None:
        assert not replayed(post({"name": "a"}, key=None))
        assert not replayed(post({"name": "a"}, key=None))
        assert Event.objects.count() == 2
        assert not IdempotencyKey.objects.exists()

    def test_order_and_spelling_of_the_body_do_not_matter(self) -> None:
        client = make_client()
        client.post(
            "/api/widgets",
            '{"name":"a","unit_price":"1"}',
            content_type="application/json",
            headers={"Idempotency-Key": "k"},
        )
        response = client.post(
            "/api/widgets",
            '{ "unitPrice": "1", "name": "a" }',
            content_type="application/vnd.billing.camel+json",
            headers={"Idempotency-Key": "k", "Accept": "application/vnd.billing.camel+json"},
        )
        assert replayed(response)
        assert json.loads(response.content)["unitPrice"] == "1"  # the stored answer in the dialect asked for now

    @pytest.mark.parametrize(
        "other",
        [
            {"client": lambda: make_client(subject="other")},
            {"client": lambda: make_client("internal", aud=["billing-internal", "x"], sub="svc2")},
            {"key": "k-2"},
        ],
    )
    def test_another_caller_or_key_is_another_request(self, other: dict[str, Any]) -> None:
        post({"name": "a"})
        values = {name: value() if callable(value) else value for name, value in other.items()}
        assert not replayed(post({"name": "a"}, **values))
        assert Event.objects.count() == 2

    def test_different_request_is_refused(self) -> None:
        post({"name": "a"})
        problem(post({"name": "b"}), "idempotency_key_reused", 422)
        response = make_client().post("/api/widgets?x=1", {"name": "a"}, headers={"Idempotency-Key": "k-1"})
        problem(response, "idempotency_key_reused", 422)
        assert replayed(post({"name": "a"}))  # the first request still has its answer

    @pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ü"])
    def test_unusable_key(self, key: str) -> None:
        body = problem(post({"name": "a"}, key=key), "validation_failed", 400)
        assert findings(body) == [("Idempotency-Key", "invalid")]
        assert not Event.objects.exists()

    def test_reads_do_not_take_keys(self) -> None:
        make_client().get("/api/widgets", headers={"Idempotency-Key": "k"})
        assert not IdempotencyKey.objects.exists()


class TestRefusals:
    def test_refusal_is_kept_and_its_writes_are_not(self) -> None:
        first = post({"name": "refused"})
        problem(first, "invalid_state", 409)
        assert not Event.objects.exists()
        second = post({"name": "refused"})
        assert problem(second, "invalid_state", 409)["instance"] == json.loads(first.content)["instance"]
        assert replayed(second)

    def test_malformed_body_is_kept_too(self) -> None:
        for expected in (False, True):
            headers = {"Idempotency-Key": "k"}
            response = make_client().post("/api/widgets", "{", content_type="application/json", headers=headers)
            problem(response, "malformed_body", 400)
            assert replayed(response) is expected

    def test_refusal_that_asks_to_be_retried_is_not_kept(self) -> None:
        for _ in range(2):
            response = post({"name": "busy"})
            problem(response, "collection_in_progress", 409)
            assert not replayed(response)
        assert not Event.objects.exists()

    def test_crash_leaves_nothing_and_may_be_retried(self) -> None:
        problem(post({"name": "crash"}), "internal_error", 500)
        assert not Event.objects.exists()
        assert not IdempotencyKey.objects.exists()
        problem(post({"name": "crash"}), "internal_error", 500)
        assert post({"name": "a"}).status_code == 201  # the key was never used up

    def test_token_problems_use_no_key(self) -> None:
        problem(post({"name": "a"}, client=make_client(scopes=["billing:read"])), "scope_missing", 403)
        assert post({"name": "a"}).status_code == 201


class TestConcurrency:
    def test_second_request_in_flight_is_told_so_and_later_gets_the_answer(self) -> None:
        Gate.reset()
        answers: list[Any] = []

        def first() -> None:
            try:
                answers.append(post({"name": "slow"}))
            finally:
                connections.close_all()

        thread = threading.Thread(target=first)
        thread.start()
        assert Gate.entered.wait(10)
        try:
            body = problem(post({"name": "slow"}), "idempotency_in_progress", 409)
            assert body["retryable"] is True
            problem(post({}, key="k-2"), "validation_failed", 400)  # other keys do not wait
            assert not answers  # the first was held all the while
        finally:
            Gate.release.set()
            thread.join()
        assert answers[0].status_code == 201
        assert replayed(post({"name": "slow"}))
        assert Event.objects.count() == 1

    def test_many_at_once_have_one_effect(self) -> None:
        start = threading.Barrier(6)
        outcomes: list[tuple[int, bool]] = []

        def work() -> None:
            try:
                start.wait()
                while (response := post({"name": "a"})).status_code == 409:  # the first is still running
                    pass
                outcomes.append((response.status_code, replayed(response)))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [(201, False)] + [(201, True)] * 5
        assert Event.objects.count() == 1


class TestRetention:
    def test_key_is_free_again_after_seven_days(self, clock_at: ClockAt) -> None:
        now = datetime.now(UTC)
        post({"name": "a"})
        with clock_at(now + timedelta(days=6, hours=23)):
            assert replayed(post({"name": "a"}))
        with clock_at(now + timedelta(days=7, minutes=1)):
            assert not replayed(post({"name": "b"}))
            assert replayed(post({"name": "b"}))
        assert Event.objects.count() == 2

    def test_job_forgets_old_answers_only(self, clock_at: ClockAt) -> None:
        post({"name": "a"}, key="old")
        with clock_at(datetime.now(UTC) + timedelta(days=4)):
            post({"name": "a"}, key="new")
        with clock_at(datetime.now(UTC) + timedelta(days=8)):
            assert expire_idempotency_keys() == 1
        assert [row.key for row in IdempotencyKey.objects.all()] == ["new"]
