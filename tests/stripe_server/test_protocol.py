"""The server on the wire: keys, headers, forms, idempotency, pages, expansion, trouble."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.stripe_server.errors import StripeError
from tests.stripe_server.forms import decode_form
from tests.stripe_server.idempotency import KEPT_SECONDS
from tests.stripe_server.server import StripeServer


@pytest.fixture
def http(stripe_server: StripeServer) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=stripe_server.url, headers={"Authorization": f"Bearer {stripe_server.test_key}"}
    ) as client:
        yield client


def make(http: httpx.Client, name: str = "A", *, key: str | None = None, **form: str) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return http.post("/v1/products", data={"name": name, **form}, headers=headers)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


class TestForms:
    def test_nest_by_brackets(self) -> None:
        text = "a=1&b[c]=2&b[d][e]=&f[]=x&f[]=y&g[0][h]=p&g[1][h]=q&g[1][i]=r"
        assert decode_form(text) == {
            "a": "1",
            "b": {"c": "2", "d": {"e": ""}},
            "f": ["x", "y"],
            "g": [{"h": "p"}, {"h": "q", "i": "r"}],
        }

    def test_fill_a_member_until_a_key_repeats(self) -> None:
        assert decode_form("t[][a]=1&t[][b]=2&t[][a]=3") == {"t": [{"a": "1", "b": "2"}, {"a": "3"}]}

    @pytest.mark.parametrize("text", ["a=1&a[b]=2", "[a]=1", "a[b=1", "a=1&a[]=2"])
    def test_that_contradict_themselves_are_refused(self, text: str) -> None:
        with pytest.raises(StripeError):
            decode_form(text)


class TestKeys:
    def test_may_come_as_bearer_or_as_user_name(self, stripe_server: StripeServer) -> None:
        address = f"{stripe_server.url}/v1/balance"
        assert httpx.get(address, auth=(stripe_server.test_key, "")).status_code == 200
        live = httpx.get(address, headers={"Authorization": f"Bearer {stripe_server.live_key}"})
        assert live.json()["livemode"] is True

    @pytest.mark.parametrize("header", ["", "Bearer", "Basic !!", "Bearer sk_" + "test_" + "wrong"])
    def test_that_are_missing_or_unknown_are_refused(self, stripe_server: StripeServer, header: str) -> None:
        answer = httpx.get(f"{stripe_server.url}/v1/balance", headers={"Authorization": header})
        assert answer.status_code == 401
        assert error_of(answer)["type"] == "invalid_request_error"
        assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'

    def test_of_test_and_live_mode_see_different_objects(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        id = make(http).json()["id"]
        live = httpx.get(f"{stripe_server.url}/v1/products/{id}", auth=(stripe_server.live_key, ""))
        assert live.status_code == 404
        assert stripe_server.objects("product", livemode=True) == []


class TestHeaders:
    def test_echo_the_version_and_name_the_request(self, http: httpx.Client) -> None:
        answer = http.get("/v1/balance", headers={"Stripe-Version": "2025-03-31.basil"})
        assert answer.headers["stripe-version"] == "2025-03-31.basil"
        assert answer.headers["request-id"].startswith("req_")
        assert http.get("/v1/balance").headers["stripe-version"] == "2026-04-22.dahlia"

    def test_with_a_version_that_is_none_are_refused(self, http: httpx.Client) -> None:
        answer = http.get("/v1/balance", headers={"Stripe-Version": "newest"})
        assert (answer.status_code, error_of(answer)["message"]) == (400, "Invalid Stripe API version: newest")


class TestErrors:
    @pytest.mark.parametrize(
        ("form", "code", "param"),
        [
            ({}, "parameter_missing", "name"),
            ({"name": ""}, "parameter_invalid_empty", "name"),
            ({"name": "A", "colour": "red"}, "parameter_unknown", "colour"),
            ({"name": "A", "active": "maybe"}, "parameter_invalid_boolean", "active"),
            ({"name": "A", "package_dimensions[depth]": "1"}, "parameter_unknown", "package_dimensions[depth]"),
        ],
    )
    def test_name_the_parameter(self, http: httpx.Client, form: dict[str, str], code: str, param: str) -> None:
        answer = http.post("/v1/products", data=form)
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
        assert error["doc_url"].endswith(code.replace("_", "-"))

    def test_for_a_json_body_name_the_form(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        answer = http.post("/v1/products", json={"name": "A"})
        assert "application/x-www-form-urlencoded" in error_of(answer)["message"]
        assert stripe_server.objects("product") == []

    def test_for_an_unknown_path(self, http: httpx.Client) -> None:
        answer = http.get("/v1/gadgets")
        assert answer.status_code == 404
        assert error_of(answer)["message"] == "Unrecognized request URL (GET: /v1/gadgets)."

    @pytest.mark.parametrize(
        ("form", "message"),
        [
            ({"currency": "xxx", "unit_amount": "1"}, "Invalid currency: xxx."),
            ({"currency": "usd"}, "Prices require an `unit_amount`"),
            ({"currency": "usd", "unit_amount": "-1"}, "greater than or equal to 0"),
            ({"currency": "usd", "unit_amount": "1.5"}, "Invalid integer: 1.5"),
            ({"currency": "usd", "unit_amount_decimal": "0.0000000000001"}, "at maximum 12 decimal places"),
            ({"currency": "usd", "unit_amount": "1", "unit_amount_decimal": "1"}, "only specify one of"),
            ({"currency": "usd", "unit_amount": "1", "product": "prod_x"}, "No such product: 'prod_x'"),
            (
                {"currency": "usd", "unit_amount": "1", "recurring[interval]": "month", "recurring[meter]": "mtr_x"},
                "A price with a meter must be metered",
            ),
            (
                {
                    "currency": "usd",
                    "unit_amount": "1",
                    "recurring[interval]": "year",
                    "recurring[interval_count]": "4",
                },
                "three years",
            ),
            ({"currency": "usd", "billing_scheme": "tiered", "tiers_mode": "volume"}, "Missing required param: tiers"),
            (
                {
                    "currency": "usd",
                    "billing_scheme": "tiered",
                    "tiers_mode": "volume",
                    "tiers[0][up_to]": "5",
                    "tiers[0][unit_amount]": "1",
                },
                "The last tier",
            ),
        ],
    )
    def test_of_prices(self, http: httpx.Client, form: dict[str, str], message: str) -> None:
        product = make(http).json()["id"]
        answer = http.post("/v1/prices", data={"product": product, **form})
        assert answer.status_code == 400
        assert message in error_of(answer)["message"]


class TestIdempotencyKeys:
    def test_answer_the_same_again(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        first, second = make(http, key="k1"), make(http, key="k1")
        assert second.json() == first.json()
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert second.headers["original-request"] == first.headers["request-id"] != second.headers["request-id"]
        assert len(stripe_server.objects("product")) == 1

    def test_answer_as_it_was_then(self, http: httpx.Client) -> None:
        id = make(http, key="k1").json()["id"]
        http.delete(f"/v1/products/{id}")
        assert make(http, key="k1").json()["id"] == id
        assert http.get(f"/v1/products/{id}").status_code == 404

    def test_refuse_another_request(self, http: httpx.Client) -> None:
        make(http, key="k1")
        answer = make(http, "B", key="k1")
        assert (answer.status_code, error_of(answer)["type"]) == (400, "idempotency_error")

    def test_remember_what_an_endpoint_refused(self, http: httpx.Client) -> None:
        form = {"product": "prod_x", "currency": "usd", "unit_amount": "1"}
        for replayed in (None, "true"):
            answer = http.post("/v1/prices", data=form, headers={"Idempotency-Key": "k1"})
            assert answer.status_code == 400
            assert answer.headers.get("idempotent-replayed") == replayed

    def test_forget_requests_that_never_ran(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        assert make(http, key="k1", colour="red").status_code == 400
        stripe_server.fail_next(429)
        assert make(http, key="k1").status_code == 429
        assert make(http, key="k1").status_code == 200

    def test_remember_a_failure_of_the_service(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.fail_next(500)
        assert make(http, key="k1").status_code == 500
        again = make(http, key="k1")
        assert (again.status_code, again.headers["idempotent-replayed"]) == (500, "true")
        assert make(http, key="k2").status_code == 200

    def test_are_forgotten_after_a_day(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        first = make(http, key="k1").json()["id"]
        stripe_server.clock.advance(seconds=KEPT_SECONDS)
        assert make(http, key="k1").json()["id"] != first

    def test_are_taken_while_a_request_runs(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.delay_next(0.4, method="POST")
        answers: list[httpx.Response] = []
        slow = threading.Thread(target=lambda: answers.append(make(http, key="k1")))
        slow.start()
        while not stripe_server.requests:
            pass
        quick = make(http, key="k1")
        slow.join()
        assert (quick.status_code, error_of(quick)["code"]) == (409, "idempotency_key_in_use")
        assert answers[0].status_code == 200
        assert len(stripe_server.objects("product")) == 1


class TestLists:
    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("limit=0", "greater than or equal to 1"),
            ("limit=101", "less than or equal to 100"),
            ("starting_after=prod_x", "No such product"),
            ("starting_after=a&ending_before=b", "only specify one of"),
            ("colour=red", "Received unknown parameter: colour"),
            ("expand[]=default_price", "cannot be expanded (default_price)"),
            ("expand[]=data.name", "cannot be expanded (name)"),
        ],
    )
    def test_refuse_what_makes_no_sense(self, http: httpx.Client, query: str, message: str) -> None:
        answer = http.get(f"/v1/products?{query}")
        assert answer.status_code == 400
        assert message in error_of(answer)["message"]

    def test_have_ten_objects_unless_told(self, http: httpx.Client) -> None:
        for number in range(11):
            make(http, str(number))
        page = http.get("/v1/products").json()
        assert (page["object"], page["url"], len(page["data"]), page["has_more"]) == ("list", "/v1/products", 10, True)

    def test_can_be_cut_by_age(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        old = make(http).json()
        stripe_server.clock.advance(seconds=100)
        new = make(http, "B").json()
        for query, expected in (
            (f"created[gt]={old['created']}", [new["id"]]),
            (f"created[lte]={old['created']}", [old["id"]]),
            (f"created={new['created']}", [new["id"]]),
        ):
            page = http.get(f"/v1/products?{query}").json()
            assert [product["id"] for product in page["data"]] == expected, query


class TestExpansion:
    def test_follows_ids_to_their_objects(self, http: httpx.Client) -> None:
        product = make(http).json()["id"]
        price = http.post("/v1/prices", data={"product": product, "currency": "usd", "unit_amount": "5"}).json()["id"]
        form = {"default_price": price, "expand[]": "default_price.product"}
        answer = http.post(f"/v1/products/{product}", data=form).json()
        assert answer["default_price"]["unit_amount"] == 5
        assert answer["default_price"]["product"]["id"] == product
        assert http.get(f"/v1/products/{product}").json()["default_price"] == price


class TestTrouble:
    def test_before_loses_the_request(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.drop_next()
        with pytest.raises(httpx.RemoteProtocolError):
            make(http)
        assert stripe_server.objects("product") == []

    def test_after_loses_the_answer(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.drop_next(moment="after")
        with pytest.raises(httpx.RemoteProtocolError):
            make(http)
        assert len(stripe_server.objects("product")) == 1

    def test_strikes_where_it_was_planned(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.fail_next(503, skip=1, times=2, method="POST", path="/products")
        assert [make(http).status_code for _ in range(4)] == [200, 503, 503, 200]
        stripe_server.fail_next(500, times=None)
        assert [http.get("/v1/balance").status_code for _ in range(3)] == [500, 500, 500]
        stripe_server.heal()
        assert http.get("/v1/balance").status_code == 200

    def test_strikes_each_one_of_several(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.fail_next(500, every=3, times=None, method="POST")
        assert [make(http).status_code for _ in range(7)] == [200, 200, 500, 200, 200, 500, 200]
        stripe_server.heal()
        stripe_server.drop_next(every=2, moment="after", path="/v1/prod*")
        made = 0
        for _ in range(3):
            try:
                made += make(http).status_code == 200
            except httpx.RemoteProtocolError:
                made += 10
        assert made == 12

    def test_strikes_a_pattern_of_paths(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        id = make(http).json()["id"]
        stripe_server.fail_next(500, path="/v1/products/*", times=None)
        assert http.get("/v1/products").status_code == 200
        assert http.get(f"/v1/products/{id}").status_code == 500

    def test_gives_up_on_what_was_done(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        """A timeout whose request succeeded."""
        stripe_server.delay_next(2, moment="after", path="/products")
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/products", data={"name": "A"}, timeout=0.2)
        assert len(stripe_server.objects("product")) == 1

    def test_may_refuse_what_was_done(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        stripe_server.fail_next(500, moment="after", headers={"Stripe-Should-Retry": "false"})
        answer = make(http)
        assert (answer.status_code, answer.headers["stripe-should-retry"]) == (500, "false")
        assert error_of(answer)["type"] == "api_error"
        assert len(stripe_server.objects("product")) == 1
