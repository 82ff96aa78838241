"""Usage metrics for the payment provider over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, TestClock
from invoicing.gateways import registry
from invoicing.services.usage_exports import send_due_exports
from metering.models import UsageEvent, UsageExport, UsageExportCursor
from tests.factories.metering import make_account, make_meter
from tests.support.api import make_client
from tests.support.meter_provider import MeterProvider
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/internal/billing/usage-exports"
NOW = datetime(2026, 3, 15, 12, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def provider(clock_at: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = MeterProvider()
    monkeypatch.setattr(registry, "GATEWAYS", {"local": lambda: made})
    with clock_at(NOW):
        yield made


def send(headers: dict[str, str] | None = None, **body: Any) -> Any:
    return make_client().post(DOOR, {"account_id": "acme", **body}, headers=headers or {})


def count_usage() -> list[int]:
    return sorted(int(value) for value in UsageEvent.objects.values_list("value", flat=True))


class TestPost:
    def test_counts_the_metric_and_tells_the_provider(self, provider: MeterProvider) -> None:
        account, meter = make_account("acme", provider_customer_id="cus_7"), make_meter("llm_tokens")
        response = send(event_id="e1", event_type="usage_recorded", quantity=120)
        assert response.status_code == 201
        row = UsageExport.objects.get()
        assert response.json() == {
            "account_id": account.public_id,
            "meter_event_name": "llm_tokens",
            "quantity": 120,
            "idempotency_key": "e1",
            "status": "exported",
            "exported": True,
            "provider": "local",
            "provider_event_id": row.provider_event_id,
        }
        [(key, report)] = provider.counted.items()
        assert (key, report.event_name, report.customer_ref, int(report.value)) == ("e1", "llm_tokens", "cus_7", 120)
        assert report.timestamp == NOW
        usage = UsageEvent.objects.get()
        assert (usage.meter, usage.idempotency_key, int(usage.value)) == (meter, "e1", 120)
        assert usage.metadata == {"event_type": "usage_recorded", "feature": "llm:proxy"}
        assert (row.status, row.exported_at, row.hour) == ("exported", NOW, NOW.replace(minute=0))

    def test_repeated_is_a_duplicate_and_is_never_sent_again(self, provider: MeterProvider) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        first = send(event_id="e1", quantity=5).json()
        again = send(event_id="e1", quantity=900)
        assert again.status_code == 200
        assert again.json() == {**first, "status": "duplicate"}
        assert count_usage() == [5]
        assert provider.calls == ["e1"]

    def test_derives_the_quantity_from_the_data(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        assert send(event_id="e1", data={"prompt_tokens": 5, "completion_tokens": 6.0}).json()["quantity"] == 11
        assert count_usage() == [11]

    @pytest.mark.parametrize(
        "body",
        [{}, {"quantity": 0}, {"quantity": -5, "data": {"tokens": 5}}, {"data": {"tokens": 2.5}}, {"data": {"x": 1}}],
    )
    def test_refuses_without_a_quantity_above_zero(self, body: dict[str, Any]) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        problem(send(event_id="e1", **body), "quantity_not_derivable", 400)
        assert not UsageExport.objects.exists()
        assert count_usage() == []

    def test_refuses_an_unknown_account_and_meter_and_unreadable_fields(self) -> None:
        make_account("acme")
        problem(send(account_id="nobody", quantity=5), "not_found", 404)
        problem(send(quantity=5, meter_event_name="guesses"), "meter_not_found", 404)
        problem(send(quantity=5.5), "validation_failed", 400)
        problem(send(quantity=2**63), "validation_failed", 400)
        problem(make_client().post(DOOR, {"quantity": 5}), "account_required", 400)
        assert not UsageExport.objects.exists()

    def test_without_a_key_warns_that_equal_quantities_count_once(self, provider: MeterProvider) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        one, two, other = send(quantity=5).json(), send(quantity=5).json(), send(quantity=6).json()
        assert "Send event_id" in one["warning"]
        assert "this one was not" not in one["warning"]
        assert "this one was not" in two["warning"]
        assert (one["status"], two["status"], other["status"]) == ("exported", "duplicate", "exported")
        assert one["idempotency_key"] == two["idempotency_key"] != other["idempotency_key"]
        assert one["idempotency_key"].startswith("derived:")
        assert provider.total == 11  # 5 + 6

    def test_keyed_request_counts_once_and_is_replayed(self, provider: MeterProvider) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        first, again, other = (send({"Idempotency-Key": key}, quantity=5) for key in ("k1", "k1", "k2"))
        assert [each.status_code for each in (first, again, other)] == [201, 201, 201]
        assert again["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        assert "warning" not in first.json()
        assert provider.total == 10  # k1 and k2, 5 each
        problem(send({"Idempotency-Key": "k1"}, quantity=6), "idempotency_key_reused", 422)

    def test_tells_equal_keys_of_two_accounts_apart(self, provider: MeterProvider) -> None:
        make_meter("llm_tokens")
        for handle in ("acme", "other"):
            make_account(handle)
            assert send(account_id=handle, event_id="e1", quantity=5).json()["idempotency_key"] == "e1"
        assert provider.total == 10
        assert [each.startswith("key:") for each in provider.calls] == [False, True]

    def test_long_keys_get_an_identifier_the_provider_takes(self, provider: MeterProvider) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        keys = ["x" * 254 + end for end in "ab"]
        assert [send(event_id=key, quantity=5).json()["idempotency_key"] for key in keys] == keys
        assert [len(each) <= 100 for each in provider.calls] == [True, True]
        assert provider.total == 10

    def test_keeps_usage_of_an_unknown_center_unallocated(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        assert send(event_id="e1", quantity=5, data={"cost_center": "nowhere"}).status_code == 201
        assert UsageEvent.objects.get().cost_center is None

    def test_counts_what_the_feed_counted_before_once(self, provider: MeterProvider) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        make_client().post(
            "/api/internal/usage-events",
            {"event_type": "usage_recorded", "account_id": "acme", "event_id": "e1", "data": {"tokens": 5}},
        )
        assert send(event_id="e1", quantity=5).json()["status"] == "exported"
        assert count_usage() == [5]
        assert provider.total == 5

    def test_leaves_what_was_counted_before_to_the_total_of_its_hour(self, provider: MeterProvider) -> None:
        account = make_account("acme")
        make_meter("llm_tokens")
        UsageExportCursor.objects.create(account=account, next_at=NOW)
        make_client().post(
            "/api/internal/usage-events",
            {"event_type": "usage_recorded", "account_id": "acme", "event_id": "e1", "data": {"tokens": 5}},
        )
        answer = send(event_id="e1", quantity=5).json()
        assert (answer["status"], answer["exported"]) == ("duplicate", False)
        assert "total of its hour" in answer["reason"]
        assert provider.calls == []

    def test_of_an_account_on_a_test_clock_is_used_then_and_sent_now(self, provider: MeterProvider) -> None:
        then = NOW - timedelta(days=400)
        clock = TestClock.objects.create(name="last year", now_at=then)
        make_account("acme", test_clock=clock, provider_customer_id="cus_timeout")
        make_meter("llm_tokens")
        send(event_id="e1", quantity=5)
        row = UsageExport.objects.get()
        assert (UsageEvent.objects.get().timestamp, row.timestamp) == (then, then)
        assert (row.uncertain_since, row.next_attempt_at) == (NOW, NOW + timedelta(minutes=1))
        Account.objects.update(provider_customer_id="cus_7")
        assert send_due_exports(at=NOW + timedelta(minutes=1), limit=9) == 1
        assert list(provider.counted) == ["e1"]

    def test_speaks_the_camel_dialect_and_leaves_data_alone(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        body = {"accountId": "acme", "eventId": "e1", "data": {"total_tokens": 7, "someKey": 1}}
        kind = "application/vnd.billing.camel+json"
        answer = make_client().post(DOOR, json.dumps(body), content_type=kind, headers={"Accept": kind}).json()
        assert (answer["idempotencyKey"], answer["quantity"]) == ("e1", 7)
        told = {"eventType": "usage_recorded", **body, "eventId": "e2"}
        door = "/api/internal/usage-events"
        answer = make_client().post(door, json.dumps(told), content_type=kind, headers={"Accept": kind}).json()
        assert answer["data"] == {"total_tokens": 7, "someKey": 1}
        assert count_usage() == [7, 7]


class TestFailures:
    @pytest.mark.parametrize(
        ("customer", "reason"), [("cus_unknown", "no customer by this name"), ("cus_timeout", "did not answer in time")]
    )
    def test_are_kept_with_a_reason_and_a_repeat_tries_again(
        self, customer: str, reason: str, clock_at: Any, provider: MeterProvider
    ) -> None:
        account = make_account("acme", provider_customer_id=customer)
        make_meter("llm_tokens")
        first = send(event_id="e1", quantity=5)
        assert first.status_code == 201
        answer = first.json()
        assert (answer["status"], answer["exported"]) == ("failed", False)
        assert reason in answer["reason"]
        row = UsageExport.objects.get()
        assert (row.status, row.next_attempt_at) == ("failed", NOW + timedelta(minutes=1))
        account.provider_customer_id = "cus_7"
        account.save()
        with clock_at(NOW + timedelta(minutes=2)):
            again = send(event_id="e1", quantity=5)
        assert again.status_code == 200
        assert (again.json()["status"], again.json()["exported"]) == ("exported", True)
        assert count_usage() == [5]
        assert list(provider.counted) == ["e1"]

    def test_of_a_provider_that_is_not_here_wait_for_it(self, settings: Any) -> None:
        settings.BILLING_PAYMENT_PROVIDER = "stripe"
        make_account("acme")
        make_meter("llm_tokens")
        answer = send(event_id="e1", quantity=5).json()
        assert (answer["status"], answer["provider"]) == ("failed", "stripe")
        row = UsageExport.objects.get()
        assert (row.reason_code, row.uncertain_since) == ("no_processor_available", None)

    def test_that_no_repeat_would_mend_are_given_up(self) -> None:
        make_account("acme", provider_customer_id="cus_archived")
        make_meter("llm_tokens")
        send(event_id="e1", quantity=5)
        row = UsageExport.objects.get()
        assert (row.status, row.reason_code, row.next_attempt_at) == ("failed", "meter_archived", None)
        assert send(event_id="e1", quantity=5).json()["status"] == "failed"
        assert UsageExport.objects.get().attempts == 1
