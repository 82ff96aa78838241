"""Card numbers are refused at every door, and nothing of them stays."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from accounts.models import Account, CostCenter
from billing_site.platform.models import IdempotencyKey
from tests.factories.accounts import make_account
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

VISA = "4242424242424242"
CENTERS = "/api/v1/billing/cost-centers"
METHODS = "/api/v1/billing/payment-methods"


@pytest.fixture(autouse=True)
def account() -> Account:
    return make_account("acme")


class TestEveryDoor:
    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"description": VISA}, "/description"),
            ({"description": "4242 4242 4242 4242"}, "/description"),
            ({"code": int(VISA)}, "/code"),
            ({"card": {"number": VISA}}, "/card/number"),
        ],
    )
    def test_refuses_and_says_nothing_of_it(
        self, changes: dict[str, Any], pointer: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        body = {"account": "acme", "name": "Ops", "code": "ops", **changes}
        answer = make_client().post(CENTERS, body, headers={"Idempotency-Key": "k"})
        assert findings(problem(answer, "validation_failed", 400)) == [(pointer, "card_number_refused")]
        assert "4242" not in answer.content.decode()
        assert "4242" not in caplog.text
        assert not CostCenter.objects.exists()
        assert not IdempotencyKey.objects.exists()

    def test_also_in_the_other_spelling_and_behind_escapes(self) -> None:
        text = '{"account": "acme", "name": "\\u0034242424242424242", "code": "ops"}'
        answer = make_client().generic("POST", CENTERS, text, content_type="application/vnd.billing.camel+json")
        assert findings(problem(answer, "validation_failed", 400)) == [("/name", "card_number_refused")]

    @pytest.mark.parametrize("text", ["1700000000000001", "4242424242424241", "4111-1111"])
    def test_takes_what_only_resembles_one(self, text: str) -> None:
        body = {"account": "acme", "name": "Ops", "code": "ops", "description": text}
        assert make_client().post(CENTERS, body).status_code == 201

    def test_does_not_dig_without_end(self) -> None:
        text = '{"name": "4242 4242 4242 4242", "metadata": ' + '{"a":' * 900 + "1" + "}" * 901
        answer = make_client().generic("POST", CENTERS, text, content_type="application/json")
        assert answer.status_code == 400

    def test_leaves_broken_json_to_the_parser(self) -> None:
        text = f'{{"name": "{VISA}"'
        answer = make_client().generic("POST", CENTERS, text, content_type="application/json")
        assert "4242" not in str(problem(answer, "malformed_body", 400))


class TestDoorsOfPaymentMethods:
    @pytest.mark.parametrize(
        ("changes", "finding"),
        [
            ({"provider_ref": VISA}, ("/provider_ref", "card_number_refused")),
            ({"provider_ref": "1700000000000001"}, ("/provider_ref", "card_number_refused")),
            ({"metadata": {"x": int(VISA)}}, ("/metadata/x", "card_number_refused")),
            ({"metadata": {"cvc": "1"}}, ("/metadata/cvc", "card_data_refused")),
            ({"card": {"security_code": "123"}}, ("/card/security_code", "card_data_refused")),
            ({"card": {"cardCvv": 123}}, ("/card/cardCvv", "card_data_refused")),
        ],
    )
    def test_take_no_digits_and_no_security_code(self, changes: dict[str, Any], finding: tuple[str, str]) -> None:
        answer = make_client().post(METHODS, {"account": "acme", "provider_ref": "tok_visa", **changes})
        assert findings(problem(answer, "validation_failed", 400)) == [finding]
