"""Several legal entities per organization: who bills whom, by which numbers, and what documents keep of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image

from accounts.models import Account
from billing_site.kernel.errors import ValidationFailed
from billing_site.platform.models import Event
from invoicing.models import Invoice, NumberCounter, Seller, SellerLogo
from invoicing.queries.previews import preview_subscriptions
from invoicing.queries.sellers import find_sellers
from invoicing.services.seller_logos import change_logo
from invoicing.services.sellers import (
    PrefixTaken,
    SellerMismatch,
    assign_seller,
    create_seller,
    ensure_default_seller,
    ensure_sellers,
    make_default_seller,
    update_seller,
)
from invoicing.services.verification import verify_invoice
from tests.support import world

pytestmark = pytest.mark.django_db

AT = world.OCTOBER
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><rect width="40" height="20" fill="#1d4e89"/></svg>'


def draw_png(width: int = 40, height: int = 20, color: str = "navy") -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def found(name: str = "Acme GmbH", prefix: str = "DE", **values: Any) -> Seller:
    return create_seller(
        org_id="default",
        values={"name": name, "invoice_prefix": prefix, "credit_note_prefix": f"{prefix}-CN", **values},
        at=AT,
        actor=world.TESTER,
    )


def give(account: Account, seller: Seller | None) -> Seller:
    return assign_seller(
        account_id=account.id,
        seller_id=seller.id if seller is not None else None,
        at=AT,
        actor=world.TESTER,
        reason="moved to Germany",
    )


def change(seller: Seller, **changes: Any) -> Seller:
    return update_seller(seller_id=seller.id, changes=changes, at=AT, actor=world.TESTER)


@pytest.fixture
def default() -> Seller:
    return ensure_default_seller("default")


class TestEnsureSellers:
    def test_makes_one_default_for_each_organization(self) -> None:
        accounts = [Account(org_id="north"), Account(org_id="south"), Account(org_id="north")]
        sellers = ensure_sellers(accounts)
        assert sellers.of(accounts[0]) == sellers.of(accounts[2]) != sellers.of(accounts[1])
        assert Seller.objects.filter(is_default=True).count() == 2

    def test_asks_once_however_many_accounts_there_are(self, default: Seller) -> None:
        german = found()
        accounts = [world.open_account(f"c{number}") for number in range(6)]
        for account in accounts[:3]:
            give(account, german)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            sellers = ensure_sellers(accounts)
        assert len(queries) == 1
        assert [sellers.of(account).name for account in accounts] == ["Acme GmbH"] * 3 + [default.name] * 3

    def test_a_choice_for_another_organization_does_not_count(self, default: Seller) -> None:
        account = world.open_account()
        give(account, found())
        Account.objects.filter(id=account.id).update(org_id="elsewhere")
        account.refresh_from_db()
        assert ensure_sellers([account]).of(account).org_id == "elsewhere"

    def test_the_database_keeps_one_default(self, default: Seller) -> None:
        other = found()
        with pytest.raises(IntegrityError, match="sellers_one_default"), transaction.atomic():
            Seller.objects.filter(id=other.id).update(is_default=True)


class TestCreateSeller:
    def test_the_first_of_an_organization_is_its_default(self) -> None:
        assert found().is_default
        assert not found("Acme Inc", "US").is_default
        assert Event.objects.filter(type="seller.created").count() == 2

    @pytest.mark.parametrize("taken", [{"invoice_prefix": "INV"}, {"credit_note_prefix": "CN"}])
    def test_prefixes_are_not_shared(self, default: Seller, taken: dict[str, str]) -> None:
        with pytest.raises(PrefixTaken):
            found(**taken) if "credit_note_prefix" in taken else found(prefix="INV")

    def test_the_two_prefixes_of_a_seller_differ(self) -> None:
        with pytest.raises(PrefixTaken):
            found(credit_note_prefix="DE")

    @pytest.mark.parametrize("yearly", [False, True])
    def test_a_prefix_that_another_seller_once_had_stays_its_own(self, default: Seller, yearly: bool) -> None:
        if yearly:
            change(default, numbering="yearly")
        world.publish()
        world.subscribe(world.open_account())
        change(default, invoice_prefix="NEW")
        with pytest.raises(PrefixTaken):
            found(prefix="INV")
        assert change(default, invoice_prefix="INV").invoice_prefix == "INV"

    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("name", " ", "required"),
            ("invoice_prefix", "INV-2026", "invalid"),
            ("invoice_prefix", "A" * 16, "invalid"),
            ("iban", "DE89 3704 0044 0532 0130 01", "invalid"),
            ("bic", "NOBANK", "invalid"),
            ("language", "klingon", "invalid"),
            ("country", "XX", "invalid"),
            ("due_days", 400, "out_of_range"),
            ("numbering", "daily", "choice_unknown"),
            ("other_tax_ids", [{"label": "HRB", "value": ""}], "invalid"),
            ("other_tax_ids", [{"label": "x", "value": "1"}] * 7, "invalid"),
            ("org_id", "other", "unknown"),
        ],
    )
    def test_says_which_value_cannot_be(self, name: str, value: object, code: str) -> None:
        with pytest.raises(ValidationFailed) as refused:
            change(found(), **{name: value})
        assert [(each.pointer, each.code) for each in refused.value.errors] == [(f"/{name}", code)]

    def test_codes_are_stored_in_their_usual_spelling(self) -> None:
        seller = found(iban="de89 3704 0044 0532 0130 00", bic="cobadeffxxx", language="de_at", country="de")
        assert (seller.iban, seller.bic, seller.language, seller.country) == (
            "DE89370400440532013000",
            "COBADEFFXXX",
            "de-AT",
            "DE",
        )


class TestAssignSeller:
    def test_later_invoices_are_issued_by_it(self, default: Seller) -> None:
        world.publish()
        account, other = world.open_account("acme"), world.open_account("umbrella")
        world.subscribe(account)
        give(account, found(rounding="half_even"))
        world.subscribe(other)
        world.run_cycle(as_of=world.DECEMBER + timedelta(hours=1))
        issued = [(each.account_id, each.number_text, each.seller_snapshot["name"]) for each in world.list_invoices()]
        assert issued == [
            (account.id, "INV-0001", default.name),
            (other.id, "INV-0002", default.name),
            (account.id, "DE-0001", "Acme GmbH"),
            (other.id, "INV-0003", default.name),
        ]
        moved = Invoice.objects.get(number_text="DE-0001")
        assert moved.trace["rounding"] == "half_even"
        assert verify_invoice(moved).holds

    def test_a_preview_follows_its_policies(self, default: Seller) -> None:
        world.publish()
        account = world.open_account()
        subscription = world.subscribe(account)
        give(account, found(rounding="half_even"))
        (preview,) = preview_subscriptions(subscription_ids=[subscription.id], as_of=world.DECEMBER)
        assert [draft.facts.rounding for draft in preview.drafts] == ["half_even"]

    def test_none_gives_the_account_back_to_the_default(self, default: Seller) -> None:
        account, german = world.open_account(), found()
        assert give(account, german) == german
        assert give(account, None) == default
        told = Event.objects.filter(type="account.seller_changed").order_by("id")
        assert [((each.previous_data or {})["seller"], each.data["seller"]) for each in told] == [
            (default.public_id, german.public_id),
            (german.public_id, default.public_id),
        ]

    def test_the_same_again_tells_nothing(self, default: Seller) -> None:
        account, german = world.open_account(), found()
        give(account, german)
        give(account, german)
        assert Event.objects.filter(type="account.seller_changed").count() == 1

    def test_a_seller_of_another_organization_is_refused(self, default: Seller) -> None:
        foreign = create_seller(org_id="elsewhere", values={"name": "Else"}, at=AT, actor=world.TESTER)
        with pytest.raises(SellerMismatch):
            give(world.open_account(), foreign)


class TestMakeDefaultSeller:
    def test_takes_over_the_accounts_that_were_given_to_none(self, default: Seller) -> None:
        kept, rest, german = world.open_account("kept"), world.open_account("rest"), found()
        give(kept, default)
        make_default_seller(seller_id=german.id, at=AT, actor=world.TESTER)
        sellers = find_sellers([kept, rest])
        assert (sellers.of(kept), sellers.of(rest)) == (default, german)
        assert list(Seller.objects.filter(is_default=True)) == [german]


class TestNumbering:
    def test_a_yearly_series_begins_anew(self, default: Seller) -> None:
        change(default, numbering="yearly")
        world.publish()
        for number in range(2):
            world.subscribe(world.open_account(f"c{number}"), at=datetime(2023, 12, 15, tzinfo=UTC))
        world.run_cycle(as_of=datetime(2024, 1, 15, 1, tzinfo=UTC))
        numbers = [each.number_text for each in world.list_invoices()]
        assert numbers == ["INV-2023-0001", "INV-2023-0002", "INV-2024-0001", "INV-2024-0002"]

    def test_sellers_count_apart(self, default: Seller) -> None:
        world.publish()
        german = found()
        for number in range(4):
            account = world.open_account(f"c{number}")
            if number % 2:
                give(account, german)
            world.subscribe(account)
        assert sorted(Invoice.objects.values_list("number_text", flat=True)) == [
            "DE-0001",
            "DE-0002",
            "INV-0001",
            "INV-0002",
        ]
        assert dict(NumberCounter.objects.values_list("series", "last_number")) == {"DE": 2, "INV": 2}


class TestChangeLogo:
    @pytest.mark.parametrize(("content", "kind"), [(draw_png(), "image/png"), (SVG, "image/svg+xml")])
    def test_knows_the_picture_by_its_content(self, default: Seller, content: bytes, kind: str) -> None:
        logo = change_logo(seller_id=default.id, content=content, at=AT, actor=world.TESTER)
        assert logo is not None
        assert logo.format == kind
        assert bytes(logo.content) == content

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"GIF89a",
            draw_png()[:60],
            b"\x89PNG\r\n\x1a\n" + b"x" * 200_001,
            draw_png(width=3001),
            b"<svg/>",
            SVG.replace(b"<rect", b"<script>alert(1)</script><rect"),
            SVG.replace(b"<rect", b'<image href="file:///etc/passwd"/><rect'),
            SVG.replace(b"<rect", b'<use href="https://example.com/x.svg#a"/><rect'),
            SVG.replace(b"<rect", b'<rect onload="alert(1)"'),
            SVG.replace(b"#1d4e89", b"url(https://example.com/fill)"),
            b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG,
        ],
        ids=lambda content: content[:24].decode("latin-1"),
    )
    def test_refuses_what_is_no_harmless_picture(self, default: Seller, content: bytes) -> None:
        with pytest.raises(ValidationFailed):
            change_logo(seller_id=default.id, content=content, at=AT, actor=world.TESTER)
        assert not SellerLogo.objects.exists()

    def test_a_stored_picture_never_changes(self, default: Seller) -> None:
        change_logo(seller_id=default.id, content=SVG, at=AT, actor=world.TESTER)
        with pytest.raises(IntegrityError), transaction.atomic():
            SellerLogo.objects.update(content=b"other")

    def test_the_same_picture_is_stored_once(self, default: Seller) -> None:
        for content in (SVG, draw_png(), SVG, None, SVG):
            change_logo(seller_id=default.id, content=content, at=AT, actor=world.TESTER)
        assert SellerLogo.objects.count() == 2
        assert Event.objects.filter(type="seller.logo_changed").count() == 5


def fill_in(form: Any) -> dict[str, Any]:
    """What a browser would send of a form as it is shown."""
    shown = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None or value is False else value for name, value in shown.items()}


class TestPages:
    @pytest.fixture
    def client(self) -> Client:
        user = User.objects.create_user("ada", is_staff=True)
        user.groups.add(Group.objects.get(name="admin"))
        client = Client()
        client.force_login(user)
        return client

    def test_a_seller_is_added(self, client: Client, default: Seller) -> None:
        url = reverse("admin:invoicing_seller_add")
        form = client.get(url).context["adminform"].form
        posted = fill_in(form) | {
            "name": "Acme GmbH",
            "org_id": "default",
            "invoice_prefix": "DE",
            "credit_note_prefix": "DE-CN",
            "iban": "DE89 3704 0044 0532 0130 00",
            "other_tax_ids": "HRB: 12345\n\nTax number: 30/123/45678",
        }
        assert client.post(url, posted).status_code == 302
        seller = Seller.objects.get(name="Acme GmbH")
        assert not seller.is_default
        assert seller.iban == "DE89370400440532013000"
        assert seller.other_tax_ids == [
            {"label": "HRB", "value": "12345"},
            {"label": "Tax number", "value": "30/123/45678"},
        ]

    def test_a_wrong_iban_is_told_beside_its_field(self, client: Client, default: Seller) -> None:
        url = reverse("admin:invoicing_seller_change", args=[default.pk])
        form = client.get(url).context["adminform"].form
        posted = fill_in(form) | {"iban": "DE00123"}
        page = client.post(url, posted)
        assert page.context["adminform"].form.errors["iban"] == ["This is no IBAN with right check digits."]

    def test_a_logo_is_put_up_and_shown(self, client: Client, default: Seller) -> None:
        file = SimpleUploadedFile("logo.svg", SVG, content_type="image/svg+xml")
        url = reverse("admin:invoicing_seller_picture", args=[default.pk])
        assert client.get(url).status_code == 200
        assert client.post(url, {"_confirmed": "1", "reason": "new brand", "logo": file}).status_code == 302
        shown = client.get(reverse("admin:invoicing_seller_change", args=[default.pk])).content.decode()
        assert 'src="data:image/svg+xml;base64,' in shown

    def test_an_account_is_given_to_a_seller(self, client: Client, default: Seller) -> None:
        account, german = world.open_account(), found()
        url = reverse("admin:accounts_account_choose_seller", args=[account.pk])
        assert "Acme GmbH (DE)" in client.get(url).content.decode()
        answer = client.post(url, {"_confirmed": "1", "reason": "moved to Germany", "seller": str(german.id)})
        assert answer.status_code == 302
        assert find_sellers([account]).of(account) == german
