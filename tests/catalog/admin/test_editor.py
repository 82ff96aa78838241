"""The editor: forms that give back what they were made from, and the document that edits make."""

from __future__ import annotations

import html
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing_site.platform.models import Event
from catalog.data import read_sample
from catalog.models import CatalogDraft
from catalog.services.documents import check_document
from catalog.services.drafts import create_draft, update_draft
from tests.factories.catalog import AT, PUBLISHER, find_entry, make_document
from tests.support.forms import read_form

pytestmark = pytest.mark.django_db
SignIn = Callable[..., Client]

FREE, PRO, PAYG = 0, 1, 2


def url_of(draft: CatalogDraft, name: str, *arguments: object) -> str:
    return reverse(f"admin:catalog_catalogdraft_{name}", args=[draft.pk, *arguments])


def open_form(client: Client, draft: CatalogDraft, section: str, index: int) -> dict[str, str]:
    answer = client.get(url_of(draft, "entry", section, index))
    assert answer.status_code == 200
    return read_fields(answer)


def read_fields(answer: Any) -> dict[str, str]:
    fields = read_form(answer.content.decode(), "ch-editor")
    fields.pop("csrfmiddlewaretoken", None)  # masked anew each time; these clients do not need it
    return fields


def save(client: Client, draft: CatalogDraft, section: str, index: int, **changes: str) -> Any:
    """Post the form of an entry as it is, with some fields changed (names with `__` for `-`)."""
    fields = open_form(client, draft, section, index)
    fields |= {name.replace("__", "-"): value for name, value in changes.items()}
    return client.post(url_of(draft, "entry", section, index), {**fields, "_continue": "1"}, follow=True)


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def plan_of(draft: CatalogDraft, index: int) -> dict[str, Any]:
    draft.refresh_from_db()
    plan: dict[str, Any] = draft.document["plans"][index]
    return plan


def store(draft: CatalogDraft, document: dict[str, Any]) -> CatalogDraft:
    return update_draft(draft_id=draft.pk, document=document, at=AT, actor=PUBLISHER).draft


USAGE = {"currency": "usd", "interval": "month", "meter": "api"}
TIERS = [{"up_to": "1000", "unit_amount": "1", "flat_amount": "500"}, {"up_to": None, "unit_amount": "0.5"}]
EVERY_MODEL: list[dict[str, Any]] = [
    {"currency": "usd", "unit_amount": 2900, "interval": "month"},
    {"currency": "usd", "unit_amount": "29000", "interval": "year", "lookup_key": "pro/yearly", "model": "flat"},
    {"currency": "eur", "model": "volume", "interval": "month", "interval_count": 3, "tiers": TIERS},
    {**USAGE, "unit_amount": "0.005", "free_quantity": "100", "transform_quantity": {"divide_by": "60", "round": "up"}},
    {**USAGE, "interval": "year", "model": "graduated", "tiers": TIERS, "bill_zero_usage": False},
    {**USAGE, "interval": "week", "model": "package", "unit_amount": "500", "package_size": "100"},
    {
        **USAGE,
        "interval": "day",
        "model": "percentage",
        "percent": "1.2",
        "fixed_amount": "10",
        "free_events": 3,
        "free_amount": 5000,
        "event_minimum": "5",
        "event_maximum": "900",
    },
    {
        **USAGE,
        "meter": "llm_input_tokens",
        "model": "graduated_percentage",
        "tiers": [{"up_to": 100000, "percent": "2"}, {"percent": "1", "flat_amount": "7"}],
        "minimum_amount": "1000",
        "maximum_amount": "900000",
    },
    {**USAGE, "meter": "llm_output_tokens", "model": "stairstep", "tiers": [{"flat_amount": "100"}]},
    {**USAGE, "interval_count": 2, "model": "dynamic"},
    {
        **USAGE,
        "interval_count": 4,
        "unit_amount": "0.5",
        "variants": [
            {"when": {"model": "large", "region": "eu"}, "unit_amount": "2"},
            {"when": {"model": "small"}, "unit_amount": "0.1", "free_quantity": "5"},
        ],
    },
]


class TestRoundTrip:
    def test_every_plan_of_the_sample_comes_back_as_it_was(self, sign_in: SignIn) -> None:
        draft = create_draft(title="Sample", document=read_sample(), at=AT, actor=PUBLISHER).draft
        client = sign_in("billing")
        for section in ("plans", "products", "meters"):
            for index in range(len(draft.document[section])):
                before = deepcopy(draft.document)
                save(client, draft, section, index)
                draft.refresh_from_db()
                assert draft.document == before, (section, index)
        assert not Event.objects.filter(type="catalog_draft.updated").exists()

    def test_every_model_comes_back_as_it_was(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        document = make_document()
        document["plans"][PRO] |= {
            "prices": EVERY_MODEL,
            "description": "Two\n\n  lines ",
            "limits": {"agents": 10, "seats": None},
            "popular": False,
            "trial_period_days": 14,
            "proration": "second",
            "proration_basis": "fixed_30",
        }
        draft = store(draft, document)
        save(sign_in("billing"), draft, "plans", PRO)
        assert plan_of(draft, PRO) == document["plans"][PRO]

    def test_a_plan_with_many_prices_is_one_form(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        document = make_document()
        document["plans"][PRO]["prices"] = [
            {**USAGE, "interval_count": count, "model": "graduated", "tiers": TIERS} for count in range(1, 61)
        ]
        draft = store(draft, document)
        client = sign_in("billing")
        assert len(open_form(client, draft, "plans", PRO)) > 1_000
        save(client, draft, "plans", PRO, prices__59__tiers__1__unit_amount="0.4")
        assert plan_of(draft, PRO)["prices"][59]["tiers"][1]["unit_amount"] == "0.4"
        assert plan_of(draft, PRO)["prices"][:59] == document["plans"][PRO]["prices"][:59]

    def test_mistakes_come_back_as_they_were(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        document = make_document()
        document["plans"][PRO] |= {
            "name": None,
            "features": "llm",
            "limits": [1],
            "surprise": {"x": 1},
            "trial_period_days": "soon",
            "proration": "by ear",
            "proration_basis": ["actual"],
            "prices": [
                {"currency": "usd", "unit_amount": 12.5, "interval": "fortnight", "model": "magic", "tiers": "many"},
                {**USAGE, "unit_amount": "12,5", "package_size": "3", "tiers": [{"up_to": "x", "extra": True}]},
            ],
            "quotas": [{"feature": "f", "limit": "1e3", "more": 1}],
        }
        draft = store(draft, document)
        assert len(check_document(document)) > 8
        save(sign_in("billing"), draft, "plans", PRO)
        assert plan_of(draft, PRO) == document["plans"][PRO]

    @pytest.mark.parametrize("section", ["products", "meters"])
    def test_products_and_meters_come_back_as_they_were(
        self, draft: CatalogDraft, sign_in: SignIn, section: str
    ) -> None:
        document = make_document()
        document["products"][0] |= {"metadata": {"tier": [1]}, "lookup_key": "p/1", "description": "a\nb"}
        document["meters"][0] |= {"dimensions": ["model", "region"], "aggregation_formula": "sum"}
        draft = store(draft, document)
        save(sign_in("billing"), draft, section, 0)
        draft.refresh_from_db()
        assert draft.document == document


class TestEditing:
    def test_a_price_becomes_graduated(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        answer = save(
            client,
            draft,
            "plans",
            PAYG,
            prices__0__model="graduated",
            prices__0__tiers__0__up_to="1000",
            prices__0__tiers__0__unit_amount="1",
            prices__0__tiers__7__up_to="10000",
            prices__0__tiers__7__unit_amount="0.8",
            prices__0__tiers__3__up_to="",
            prices__0__tiers__3__unit_amount="0.5",
        )
        assert "Saved." in text_of(answer)
        price = plan_of(draft, PAYG)["prices"][0]
        assert price == {
            "currency": "usd",
            "meter": "llm_input_tokens",
            "interval": "month",
            "billing_timing": "arrears",
            "model": "graduated",
            "tiers": [  # in the order of the page
                {"up_to": "1000", "unit_amount": "1"},
                {"up_to": "10000", "unit_amount": "0.8"},
                {"up_to": None, "unit_amount": "0.5"},
            ],
        }
        event = Event.objects.latest("sequence")
        assert (event.type, event.reason) == ("catalog_draft.updated", "plan ai-payg edited")

    def test_a_fee_is_a_whole_number_and_usage_a_decimal(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        save(client, draft, "plans", PRO, prices__0__unit_amount="3900")
        save(client, draft, "plans", PAYG, prices__0__unit_amount="1")
        assert plan_of(draft, PRO)["prices"][0]["unit_amount"] == 3900
        assert plan_of(draft, PAYG)["prices"][0]["unit_amount"] == "1"
        assert check_document(draft.document).is_valid

    def test_the_head_of_a_plan(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        save(
            sign_in("billing"),
            draft,
            "plans",
            PRO,
            name="Professional",
            product_id="ai",
            trial_period_days="30",
            proration="none",
            proration_basis="",
            features="service:api\r\n\r\n support:phone ",
            limits="agents = 3\r\nseats=-1",
            contact_sales="on",
            category="",
        )
        plan = plan_of(draft, PRO)
        assert (plan["name"], plan["product_id"], plan["trial_period_days"]) == ("Professional", "ai", 30)
        assert plan["proration"] == "none"
        assert "proration_basis" not in plan
        assert plan["features"] == ["service:api", "support:phone"]
        assert plan["limits"] == {"agents": 3, "seats": -1}
        assert plan["contact_sales"] is True
        assert "category" not in plan

    def test_what_is_wrong_is_stored_and_said_beside_its_field(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        answer = save(sign_in("billing"), draft, "plans", PRO, prices__1__unit_amount="12,50", trial_period_days="x")
        page = text_of(answer)
        assert "2 findings keep this draft from being published." in page
        assert plan_of(draft, PRO)["prices"][1]["unit_amount"] == "12,50"
        for name in ("prices-1-unit_amount", "trial_period_days"):
            assert f'id="id_{name}_errors"' in page
            assert f'aria-describedby="id_{name}_errors"' in page

    def test_a_quota(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        save(sign_in("billing"), draft, "plans", FREE, quotas__0__limit="20000", quotas__0__enforcement="soft")
        [quota] = plan_of(draft, FREE)["quotas"]
        assert (quota["limit"], quota["enforcement"], quota["upgrade_plan_id"]) == (20000, "soft", "pro")

    def test_variants_keep_what_the_form_does_not_show(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        document = make_document()
        document["plans"][PRO]["prices"] = [
            {**USAGE, "unit_amount": "1", "variants": [{"when": {"a": "b"}, "unit_amount": "2", "free_quantity": "5"}]}
        ]
        draft = store(draft, document)
        client = sign_in("billing")
        save(client, draft, "plans", PRO, **{"prices__0__variants__0__when": "a=b, c = d"})
        assert plan_of(draft, PRO)["prices"][0]["variants"] == [
            {"when": {"a": "b", "c": "d"}, "unit_amount": "2", "free_quantity": "5"}
        ]

    def test_a_product_and_a_meter(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        save(client, draft, "products", 0, name="The platform")
        save(client, draft, "meters", 0, unit="calls", dimensions="model\r\nregion", aggregation_type="count")
        draft.refresh_from_db()
        assert draft.document["products"][0] == {"id": "platform", "name": "The platform"}
        assert draft.document["meters"][0]["dimensions"] == ["model", "region"]
        assert draft.document["meters"][0]["aggregation_type"] == "count"

    def test_an_edit_of_what_somebody_changed_meanwhile_is_refused_and_kept(
        self, draft: CatalogDraft, sign_in: SignIn
    ) -> None:
        client = sign_in("billing")
        fields = open_form(client, draft, "plans", PRO)
        other = deepcopy(draft.document)
        find_entry(other, "plans", "free")["name"] = "Gratis"
        draft = store(draft, other)
        url = url_of(draft, "entry", "plans", PRO)
        assert "Saved." in text_of(client.post(url, {**fields, "name": "Mine", "_continue": "1"}, follow=True))
        answer = client.post(url, {**fields, "name": "Mine as well", "_continue": "1"})
        assert answer.status_code == 409
        assert "Somebody changed this plan while you edited it." in text_of(answer)
        assert "Mine as well" in text_of(answer)
        assert plan_of(draft, PRO)["name"] == "Mine"

    def test_a_secret_is_refused_and_kept_on_the_page_alone(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        answer = save(sign_in("billing"), draft, "plans", PRO, description="sk_" + "live_abc")
        assert answer.status_code == 409
        assert "looks like a provider's secret key" in text_of(answer)
        assert "description" not in plan_of(draft, PRO)


class TestRows:
    """The buttons as the server understands them, without the script."""

    def press(self, client: Client, draft: CatalogDraft, operation: str, fields: dict[str, str]) -> dict[str, str]:
        answer = client.post(url_of(draft, "entry", "plans", PRO), {**fields, "_do": operation})
        assert answer.status_code == 200
        return read_fields(answer)

    def test_come_and_go_without_being_stored(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        before = deepcopy(draft.document)
        fields = open_form(client, draft, "plans", PRO)
        fields = self.press(client, draft, "add-price", fields)
        assert (fields["prices-3-currency"], fields["prices-3-interval"], fields["prices-3-from"]) == (
            "usd",
            "month",
            "",
        )
        fields = self.press(client, draft, "remove-price:0", fields)
        assert "prices-3-currency" not in fields
        assert [fields[f"prices-{number}-from"] for number in range(3)] == ["1", "2", ""]
        fields |= {"prices-2-model": "volume", "prices-2-meter": "api"}
        fields = self.press(client, draft, "add-tier:2", fields)
        fields = self.press(client, draft, "add-tier:2", {**fields, "prices-2-tiers-0-unit_amount": "5"})
        assert fields["prices-2-tiers-1-unit_amount"] == "5"  # the last one stays the last
        fields = self.press(client, draft, "remove-tier:2:0", fields)
        assert "prices-2-tiers-1-up_to" not in fields
        fields = self.press(client, draft, "add-variant:2", fields)
        fields = self.press(client, draft, "add-quota", fields)
        fields = self.press(client, draft, "copy-price:0", fields)
        assert [fields[f"prices-{number}-unit_amount"] for number in range(2)] == ["29000", "29000"]
        fields = self.press(client, draft, "remove-quota:0", fields)
        fields = self.press(client, draft, "remove-variant:3:0", fields)
        draft.refresh_from_db()
        assert draft.document == before
        client.post(url_of(draft, "entry", "plans", PRO), {**fields, "_save": "1"})
        prices = plan_of(draft, PRO)["prices"]
        assert [price.get("unit_amount") for price in prices] == [29000, 29000, 2700, None]
        assert prices[3]["tiers"] == [{"up_to": None, "unit_amount": "5"}]

    @pytest.mark.parametrize("operation", ["nothing", "remove-price:99", "add-tier", "add-tier:99", "copy-price:-1"])
    def test_an_unknown_button_does_nothing(self, draft: CatalogDraft, sign_in: SignIn, operation: str) -> None:
        client = sign_in("billing")
        fields = open_form(client, draft, "plans", PRO)
        assert self.press(client, draft, operation, fields) == fields

    def test_a_quote_is_drawn(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        fields = open_form(client, draft, "plans", PRO) | {"prices-0-quote_quantity": "3"}
        answer = client.post(url_of(draft, "entry", "plans", PRO), {**fields, "_do": "quote:0"})
        assert "87.00 USD" in text_of(answer)  # 3 x 29.00


class TestEntries:
    def test_a_plan_is_added_to_a_product(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        url = url_of(draft, "new_entry", "plans")
        page = client.get(url, {"product": "ai"}).content.decode()
        fields = read_form(page, "ch-editor")
        assert fields["product_id"] == "ai"
        assert "ch-errors" not in page.split("<template")[0]
        client.post(url, {**fields, "id": "ai-team", "name": "Team", "_save": "1"})
        assert plan_of(draft, 3) == {"id": "ai-team", "product_id": "ai", "name": "Team"}
        assert Event.objects.latest("sequence").reason == "plan ai-team added"

    @pytest.mark.parametrize("section", ["products", "meters"])
    def test_other_entries_are_added(self, draft: CatalogDraft, sign_in: SignIn, section: str) -> None:
        fields = {"id": "new", "name": "new", "unit": "u", "seen": ""}
        sign_in("billing").post(url_of(draft, "new_entry", section), {**fields, "_save": "1"})
        draft.refresh_from_db()
        assert draft.document[section][-1]["name"] == "new"

    def test_a_plan_is_copied_without_what_must_be_unique(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        document = make_document()
        document["plans"][PRO]["prices"][0]["lookup_key"] = "pro-monthly"
        draft = store(draft, document)
        client = sign_in("billing")
        for _ in range(2):
            client.post(url_of(draft, "copy", PRO))
        draft.refresh_from_db()
        assert [plan["id"] for plan in draft.document["plans"]] == ["free", "pro", "pro-copy-2", "pro-copy", "ai-payg"]
        copy = draft.document["plans"][3]
        assert copy["name"] == "Pro (copy)"
        assert "lookup_key" not in copy["prices"][0]
        assert "popular" not in copy
        assert check_document(draft.document).is_valid

    @pytest.mark.parametrize(("section", "index"), [("plans", PAYG), ("products", 1), ("meters", 0)])
    def test_entries_are_removed(self, draft: CatalogDraft, sign_in: SignIn, section: str, index: int) -> None:
        before = draft.document[section]
        answer = sign_in("billing").post(url_of(draft, "remove", section, index), follow=True)
        assert "removed from this draft." in text_of(answer)
        draft.refresh_from_db()
        assert draft.document[section] == before[:index] + before[index + 1 :]

    def test_a_change_is_undone_from_the_comparison(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        before = deepcopy(draft.document)
        document = deepcopy(draft.document)
        document["plans"][PRO]["name"] = "Professional"
        document["plans"].pop(FREE)
        document["plans"].append({"id": "team", "product_id": "ai", "name": "Team"})
        document["meters"][0]["unit"] = "calls"
        draft = store(draft, document)
        client = sign_in("billing")
        page = text_of(client.get(url_of(draft, "changes")))
        for label in ("Put back", "Undo", "Remove"):
            assert label in page
        for section, key in (("plans", "free"), ("plans", "pro"), ("plans", "team"), ("meters", "api")):
            answer = client.post(url_of(draft, "undo", section), {"key": key}, follow=True)
            assert f"{key} is again as published." in text_of(answer)
        draft.refresh_from_db()
        assert draft.document == before
        assert client.post(url_of(draft, "undo", "plans"), {"key": "nothing"}).status_code == 404
        assert client.get(url_of(draft, "undo", "plans")).status_code == 405
        viewer = sign_in("viewer")
        assert viewer.post(url_of(draft, "undo", "plans"), {"key": "pro"}).status_code == 403

    def test_what_is_not_there_is_not_found(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        for name, arguments in (
            ("entry", ("plans", 99)),
            ("entry", ("secrets", 0)),
            ("new_entry", ("prices",)),
        ):
            assert client.get(url_of(draft, name, *arguments)).status_code == 404
        assert client.post(url_of(draft, "remove", "plans", 99)).status_code == 404
        assert client.post(url_of(draft, "copy", 99)).status_code == 404
        assert client.get(url_of(draft, "copy", PRO)).status_code == 405
        assert client.get(url_of(draft, "remove", "plans", PRO)).status_code == 405

    def test_is_not_for_viewers(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("viewer")
        page = client.get(url_of(draft, "entry", "plans", PRO)).content.decode()
        assert "<fieldset" in page
        assert set(read_form(page, "ch-editor")) == {"csrfmiddlewaretoken", "seen"}  # the rest cannot be used
        for name, arguments in (
            ("entry", ("plans", PRO)),
            ("remove", ("plans", PRO)),
            ("copy", (PRO,)),
            ("new_entry", ("plans",)),
        ):
            assert client.post(url_of(draft, name, *arguments), {"name": "x"}).status_code == 403
        assert Client().get(url_of(draft, "entry", "plans", PRO)).status_code == 302


class TestQuote:
    def ask(self, client: Client, draft: CatalogDraft, **fields: str) -> dict[str, Any]:
        given = {f"prices-4-{name}": value for name, value in fields.items()}
        answer = client.post(url_of(draft, "quote", PRO), {"_price": "4", **given})
        assert answer.status_code == 200
        shown: dict[str, Any] = answer.json()
        return shown

    def test_answers_amount_and_steps(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        shown = self.ask(
            sign_in("billing"),
            draft,
            currency="usd",
            meter="api",
            model="graduated",
            **{
                "tiers-0-up_to": "1000",
                "tiers-0-unit_amount": "1",
                "tiers-5-up_to": "10000",
                "tiers-5-unit_amount": "0.8",
                "tiers-2-up_to": "",
                "tiers-2-unit_amount": "0.5",
            },
            quote_quantity="15000",
        )
        assert shown["title"] == "graduated, 3 tiers / month"
        assert shown["amount"] == "107.00 USD"  # policies, worked examples
        assert [row["amount"] for row in shown["rows"]] == ["10.00 USD", "72.00 USD", "25.00 USD"]
        assert shown["errors"] == []

    def test_counts_events_where_the_price_does(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        shown = self.ask(
            sign_in("billing"),
            draft,
            currency="usd",
            meter="api",
            model="percentage",
            percent="1.2",
            fixed_amount="10",
            free_events="3",
            quote_events="4",
            quote_value="5000",
        )
        assert shown["amount"] == "0.70 USD"  # the fourth event of 50.00: 0.60 + 0.10
        shown = self.ask(
            sign_in("billing", name="other"),
            draft,
            currency="usd",
            meter="api",
            model="dynamic",
            quote_events="2",
            quote_value="3",
            quote_unit="50",
        )
        assert shown["amount"] == "3.00 USD"  # 2 x 3 x 0.50

    def test_takes_dimensions_and_names_the_rounding(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        shown = self.ask(
            sign_in("billing"),
            draft,
            currency="usd",
            meter="api",
            model="per_unit",
            unit_amount="1",
            **{"variants-0-when": "model=large", "variants-0-unit_amount": "0.25"},
            quote_quantity="10",
            quote_dimensions="model=large",
        )
        assert (shown["amount"], shown["exact"]) == ("0.03 USD", "exactly 0.025 USD")

    def test_says_what_is_wrong_instead(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        shown = self.ask(client, draft, currency="usd", model="package", unit_amount="x", quote_quantity="1")
        assert shown["amount"] == ""
        assert {error["field"] for error in shown["errors"]} == {"unit_amount", "package_size"}
        shown = self.ask(client, draft, currency="usd", unit_amount="100", quote_quantity="-1")
        assert [error["field"] for error in shown["errors"]] == ["quote_quantity"]
        assert self.ask(client, draft, currency="usd", unit_amount="100")["errors"] == []

    def test_knows_no_other_price_and_stores_nothing(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("viewer")
        assert client.post(url_of(draft, "quote", PRO), {"_price": "4"}).status_code == 400
        assert client.get(url_of(draft, "quote", PRO)).status_code == 405
        assert self.ask(client, draft, currency="usd", unit_amount="100", quote_quantity="2")["amount"] == "2.00 USD"
        assert not Event.objects.filter(type="catalog_draft.updated").exists()
