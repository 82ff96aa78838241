"""The dispute doors, by real requests: list, show, hand in evidence, accept, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.queries.proof import prove_ledger
from billing_site.kernel import clock
from invoicing.gateways.local import LocalGateway
from invoicing.models import Dispute
from invoicing.services.disputes import record_dispute
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.card_payments import make_card_paid
from tests.support.problems import problem
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db
DISPUTES = "/api/v1/billing/disputes"


@pytest.fixture
def client() -> BillingClient:
    return make_client()


@pytest.fixture
def dispute() -> Dispute:
    _, intent = make_card_paid()
    state = LocalGateway().open_dispute(payment_ref=intent.provider_ref)
    found = record_dispute(state=state, provider_type="local", at=clock.now(), actor=TESTER)
    assert found is not None
    return found


def test_shows_and_lists(client: BillingClient, dispute: Dispute) -> None:
    intent = dispute.payment_intent
    shown = client.get(f"{DISPUTES}/{dispute.public_id}").json()
    assert [shown[name] for name in ("id", "payment_intent_id", "amount", "currency", "status", "reason")] == [
        *(dispute.public_id, intent.public_id, 1000, "usd", "needs_response", "fraudulent"),
    ]
    for query in ({}, {"account": "acme"}, {"status": "needs_response"}, {"payment_intent_id": intent.public_id}):
        assert client.get(DISPUTES, query).json()["items"] == [shown]
    world.open_account("other")
    for query in ({"account": "other"}, {"status": "won"}, {"payment_intent_id": "pi_x"}):
        assert client.get(DISPUTES, query).json()["items"] == []
    problem(make_client(org="elsewhere").get(f"{DISPUTES}/{dispute.public_id}"), "not_found", 404)
    problem(make_client(audience="public", subject="acme").get(DISPUTES), "audience_rejected", 403)


def test_evidence_is_handed_in_once(client: BillingClient, dispute: Dispute) -> None:
    path = f"{DISPUTES}/{dispute.public_id}"
    kept = client.patch(path, {"customer_name": "Ada", "submit": False}).json()
    assert (kept["status"], kept["evidence"]) == ("needs_response", {"customer_name": "Ada"})
    done = client.patch(path, {"product_description": "Seats"}).json()
    assert (done["status"], done["evidence"]) == (
        "under_review",
        {"customer_name": "Ada", "product_description": "Seats"},
    )
    assert problem(client.patch(path, {}), "invalid_state", 409)["current_status"] == "under_review"
    problem(client.patch(path, {"shoe_size": "44"}), "validation_failed", 400)


def test_accepting_loses_it_once_per_key(client: BillingClient, dispute: Dispute) -> None:
    path, headers = f"{DISPUTES}/{dispute.public_id}/close", {"Idempotency-Key": "close-1"}
    answers = [client.post(path, headers=headers).json() for _ in range(2)]
    assert [answer["status"] for answer in answers] == ["lost", "lost"]
    assert problem(client.post(path), "invalid_state", 409)["current_status"] == "lost"
    assert prove_ledger().holds


@pytest.mark.parametrize("scopes", [["billing:read"], ["billing:money"]])
def test_answers_need_their_own_scope(dispute: Dispute, scopes: list[str]) -> None:
    caller, path = make_client(scopes=scopes), f"{DISPUTES}/{dispute.public_id}"
    problem(caller.patch(path, {}), "scope_missing", 403)
    problem(caller.post(f"{path}/close"), "scope_missing", 403)


def test_of_unknown_disputes_is_refused(client: BillingClient) -> None:
    calls: list[Any] = [client.get(f"{DISPUTES}/dp_x"), client.patch(f"{DISPUTES}/dp_x", {})]
    for answer in [*calls, client.post(f"{DISPUTES}/dp_x/close")]:
        problem(answer, "not_found", 404)
