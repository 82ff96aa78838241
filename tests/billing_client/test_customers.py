"""billing customer update."""

from __future__ import annotations

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Service, problem


class TestUpdate:
    def test_sends_what_is_named_and_shows_the_account(self, billing: Billing, service: Service) -> None:
        outcome = billing("customer", "update", "--name=Acme 2", "--phone=", "--tax-id", "DE136695976")
        assert (outcome.code, outcome.err) == (0, "Customer updated\n")
        (request,) = service.requests
        assert (request.method, request.path) == ("PATCH", "/api/v1/billing/accounts/acme%2Falice")
        assert request.data == {"name": "Acme 2", "phone": "", "tax_id": "DE136695976"}
        assert "Acme 2" in outcome.out

    def test_puts_the_parts_of_the_address_together(self, billing: Billing, service: Service) -> None:
        words = [
            "--address=Am Hof 1",
            "--city=Bonn",
            "--state=NW",
            "--zip=53113",
            "--country=de",
            "--email=ap@x.example",
        ]
        assert billing("customer", "update", *words).err == "Customer updated\n"
        assert service.requests[0].data == {
            "email": "ap@x.example",
            "address": {"line1": "Am Hof 1", "city": "Bonn", "state": "NW", "postal_code": "53113", "country": "de"},
        }

    def test_names_another_account(self, billing: Billing, service: Service) -> None:
        billing("customer", "update", "--company=Acme", "--account", "acc_9")
        assert service.requests[0].path == "/api/v1/billing/accounts/acc_9"

    def test_without_anything_to_change_asks_nobody(self, billing: Billing, service: Service) -> None:
        outcome = billing("customer", "update")
        assert (outcome.code, service.requests) == (1, [])
        assert outcome.err.startswith("Error: nothing to change")

    def test_says_what_was_refused(self, billing: Billing, service: Service) -> None:
        detail = "'DE1' is no tax number of DE."
        findings = [{"pointer": "/tax_id", "code": "invalid_tax_id", "detail": detail}]
        service.fail_next(problem(400, "validation_failed", detail, errors=findings))
        outcome = billing("customer", "update", "--tax-id=DE1")
        assert (outcome.code, outcome.out) == (1, "")
        assert detail in outcome.err

    def test_is_sent_again_when_the_service_was_away(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(503, "storage_unavailable", "The database cannot be reached."))
        assert billing("customer", "update", "--name=Acme 2").code == 0
        assert [request.method for request in service.requests] == ["PATCH", "PATCH"]

    @pytest.mark.parametrize("form", ["json", "csv"])
    def test_has_every_form(self, billing: Billing, form: str) -> None:
        assert "acc_1" in billing("customer", "update", "--name=Acme 2", f"--format={form}").out
