"""The catalog's commands."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from catalog.data import read_default
from catalog.documents.schema import build_schema
from catalog.models import CatalogRevision, Plan
from tests.catalog.services.test_quotes import WORKED
from tests.factories.catalog import publish_catalog

REQUEST: dict[str, Any] = {"currency": "usd", "price": {"unit_amount": "0.5"}, "quantity": "3"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command(*arguments)
    return capsys.readouterr().out


class TestPrice:
    def price(self, request: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
        file = tmp_path / "request.json"
        file.write_text(json.dumps(request))
        return json.loads(run(capsys, "price", str(file)))

    def test_prices_one_request(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        answer = self.price(REQUEST, tmp_path, capsys)
        assert (answer["amount_decimal"], answer["amount"]) == ("1.5", 2)
        assert answer["tiers"] == [{"tier": 1, "quantity": "3", "unit": "0.5", "flat": "0", "amount_decimal": "1.5"}]

    def test_answers_a_list_in_its_order(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        requests = [{"currency": "usd", "price": price, **usage} for _, price, usage, _ in WORKED]
        answer = self.price(requests, tmp_path, capsys)
        assert [each["amount"] for each in answer] == [amount for *_, amount in WORKED]

    def test_reads_standard_input(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(
            "sys.stdin", io.StringIO('{"currency": "usd", "price": {"unit_amount": 7}, "quantity": 0.1}')
        )
        assert json.loads(run(capsys, "price"))["amount_decimal"] == "0.7"

    def test_problems_are_one_line_with_pointers(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(CommandError) as refusal:
            self.price([REQUEST, {**REQUEST, "price": {"tiers": []}, "quantity": "-1"}], tmp_path, capsys)
        assert "\n" not in str(refusal.value)
        assert "/1/price/tiers" in str(refusal.value)
        assert "/1/quantity: A quantity cannot be negative." in str(refusal.value)
        assert refusal.value.returncode == 1

    @pytest.mark.parametrize(
        ("content", "message"), [(b"{", "is not JSON. Line 1"), (b"\xff", "is not UTF-8"), (None, "cannot read")]
    )
    def test_says_what_is_wrong_with_a_file(self, content: bytes | None, message: str, tmp_path: Path) -> None:
        file = tmp_path / "request.json"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(CommandError, match=message):
            call_command("price", str(file))


class TestCatalogSchema:
    def test_prints_the_schema(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert json.loads(run(capsys, "catalog_schema")) == build_schema()


@pytest.mark.django_db
class TestBillingSeed:
    def test_publishes_the_default_catalog_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(capsys, "billing_seed") == "Revision 1 of default: 4 products, 14 meters, 16 plans.\n"
        assert run(capsys, "billing_seed") == "Revision 1 of default is the default catalog already.\n"
        (revision,) = CatalogRevision.objects.all()
        assert (revision.reason, revision.published_by) == ("Default catalog", "system:billing_seed")
        assert Plan.objects.filter(is_active=True).count() == len(read_default()["plans"])

    def test_leaves_another_catalog_alone_unless_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        publish_catalog()
        assert "stays; --replace publishes" in run(capsys, "billing_seed")
        assert CatalogRevision.objects.count() == 1
        assert run(capsys, "billing_seed", "--replace").startswith("Revision 2 of default: ")
        assert run(capsys, "billing_seed", "--org=acme").startswith("Revision 1 of acme: ")
