"""The doors of setups, and the one that takes no card numbers, with real requests."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from accounts.models import Account, PaymentMethod
from billing_site.platform.models import Event, IdempotencyKey
from invoicing.models import SetupIntent
from tests.factories.accounts import make_account, make_member
from tests.factories.payment_methods import make_payment_method
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/v1/billing/setup-intents"
TOKENIZE = "/api/v1/billing/card/tokenize"
VISA = "4242424242424242"
FIELDS = {
    "id", "account_id", "status", "usage", "payment_method_id", "client_secret", "last_error", "cancellation_reason",
    "canceled_at", "metadata", "created_at",
}  # fmt: skip


@pytest.fixture(autouse=True)
def account() -> Account:
    return make_account("acme", owner_user_id="alice")


def begin(**body: Any) -> dict[str, Any]:
    response = make_client("public", "alice").post(DOOR, body)
    assert response.status_code == 201, response.content
    return dict(response.json())


class TestDoors:
    def test_from_nothing_to_a_stored_method(self, account: Account) -> None:
        shown = begin(metadata={"from": "shop"})
        assert shown.keys() == FIELDS
        assert (shown["status"], shown["usage"], shown["account_id"]) == (
            "requires_payment_method", "off_session", account.public_id,
        )  # fmt: skip
        alice = make_client("public", "alice")
        assert alice.get(f"{DOOR}/{shown['id']}").json() == shown
        done = alice.post(f"{DOOR}/{shown['id']}/confirm", {"payment_method_id": "tok_visa"}).json()
        assert (done["status"], done["payment_method_id"]) == ("succeeded", PaymentMethod.objects.get().public_id)
        assert "client_secret" not in done  # it opens nothing any more
        problem(alice.post(f"{DOOR}/{shown['id']}/cancel", {}), "invalid_state", 409)

    def test_the_secret_is_the_owners(self, account: Account) -> None:
        shown = begin()
        make_member(account, "bob", "member")
        for client in (make_client(), make_client("public", "bob")):
            assert "client_secret" not in client.get(f"{DOOR}/{shown['id']}").json()
        assert "provider_ref" in make_client().get(f"{DOOR}/{shown['id']}").json()
        assert "secret" not in str(list(Event.objects.values_list("data", flat=True)))
        problem(make_client("public", "bob").post(DOOR, {}), "account_forbidden", 403)
        problem(make_client("public", "eve").get(f"{DOOR}/{shown['id']}"), "not_found", 404)

    def test_the_bank_may_ask_its_customer(self) -> None:
        answer = make_client("public", "alice").post(
            f"{DOOR}/{begin()['id']}/confirm", {"payment_method_id": "tok_authenticationrequired"}
        )
        assert answer.status_code == 200
        assert answer.json()["status"] == "requires_action"
        assert answer.json()["client_secret"]

    def test_refusals(self) -> None:
        alice, id = make_client("public", "alice"), begin()["id"]
        problem(alice.post(f"{DOOR}/{id}/confirm", {}), "payment_method_missing", 422)
        refused = alice.post(f"{DOOR}/{id}/confirm", {"payment_method_id": "tok_expired"})
        assert problem(refused, "card_verification_failed", 402)["decline_code"] == "expired_card"
        stranger = make_payment_method(make_account("other")).public_id
        problem(alice.post(f"{DOOR}/{id}/confirm", {"payment_method_id": stranger}), "not_found", 404)
        problem(alice.post(f"{DOOR}/{id}/confirm", {"payment_method_id": VISA}), "validation_failed", 400)
        problem(alice.get(f"{DOOR}/seti_nothing"), "not_found", 404)

    def test_a_method_that_is_named_waits_for_its_confirmation(self, account: Account) -> None:
        method = make_payment_method(account)
        shown = begin(payment_method_id=method.public_id, usage="on_session")
        assert (shown["status"], shown["payment_method_id"]) == ("requires_confirmation", method.public_id)

    def test_gives_up_with_a_reason(self) -> None:
        id = begin()["id"]
        shown = make_client("public", "alice").post(f"{DOOR}/{id}/cancel", {"cancellation_reason": "not now"}).json()
        assert (shown["status"], shown["cancellation_reason"]) == ("canceled", "not now")
        assert shown["canceled_at"]

    def test_a_silent_provider_can_be_asked_again(self) -> None:
        id = begin()["id"]
        answer = make_client("public", "alice").post(f"{DOOR}/{id}/confirm", {"payment_method_id": "tok_timeout"})
        assert problem(answer, "provider_unavailable", 503)["retryable"] is True
        assert SetupIntent.objects.get().status == "processing"

    def test_a_key_has_one_effect(self) -> None:
        alice, headers = make_client("public", "alice"), {"Idempotency-Key": "k"}
        first = alice.post(DOOR, {}, headers=headers).json()
        assert alice.post(DOOR, {}, headers=headers).json() == first
        problem(alice.post(DOOR, {"usage": "on_session"}, headers=headers), "idempotency_key_reused", 422)
        assert SetupIntent.objects.count() == 1
        path, body = f"{DOOR}/{first['id']}/confirm", {"payment_method_id": "tok_visa"}
        answers = [alice.post(path, body, headers=headers).json() for _ in range(2)]
        assert answers[0] == answers[1]
        assert answers[0]["status"] == "succeeded"
        assert PaymentMethod.objects.count() == 1


class Exploding:
    """A body that must not be read."""

    def read(self, *_args: int) -> bytes:
        raise AssertionError("the body was read")

    readline = readlines = __iter__ = read


class TestTokenizing:
    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
    def test_always_refuses_and_leaves_nothing(self, caplog: pytest.LogCaptureFixture, headers: dict[str, str]) -> None:
        caplog.set_level(logging.DEBUG)
        answer = make_client("public", "alice").post(
            TOKENIZE, {"card": {"number": VISA, "cvc": "123"}}, headers=headers
        )
        shown = problem(answer, "raw_card_data_refused", 503)
        assert shown["retryable"] is False
        assert shown["use_instead"] == ["/api/v1/billing/setup-intents", "/api/v1/billing/checkout-session"]
        assert VISA not in answer.content.decode()
        assert VISA not in caplog.text
        assert not IdempotencyKey.objects.exists()

    @pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", "x/y"])
    def test_does_not_even_read_the_body(self, kind: str) -> None:
        unread: dict[str, Any] = {"wsgi.input": Exploding()}
        answer = make_client("public", "alice").generic("POST", TOKENIZE, "never", content_type=kind, **unread)
        problem(answer, "raw_card_data_refused", 503)

    def test_not_without_a_token(self) -> None:
        answer = make_client("public", "alice", scopes=["billing:read"]).post(TOKENIZE, {})
        assert answer.status_code == 403
