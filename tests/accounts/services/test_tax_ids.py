"""Tax numbers by country."""

from __future__ import annotations

import pytest

from accounts.services.tax_ids import TaxIdRefused, clean_tax_id


class TestCleaning:
    @pytest.mark.parametrize(
        ("country", "given", "stored"),
        [
            ("DE", "de 136 695 976", "DE136695976"),
            ("DE", "136695976", "DE136695976"),
            ("GR", "EL094259216", "EL094259216"),
            ("AT", "ATU13585627", "ATU13585627"),
            ("FR", "FR 40 303 265 045", "FR40303265045"),
            ("FR", "552 008 443", "552 008 443"),  # SIREN
            ("GB", "GB 980 7806 84", "GB 980 7806 84"),
            ("CH", "CHE-100.155.212", "CHE-100.155.212"),
            ("US", "91-1144442", "91-1144442"),
            ("AU", "83 914 571 673", "83 914 571 673"),
            ("BR", "16.727.230/0001-97", "16.727.230/0001-97"),
        ],
    )
    def test_takes_numbers_of_the_country(self, country: str, given: str, stored: str) -> None:
        assert clean_tax_id(given, country=country) == stored

    @pytest.mark.parametrize(
        ("country", "given"),
        [
            ("DE", "DE136695977"),  # last digit
            ("DE", "FR40303265045"),  # of another country
            ("GR", "DE136695976"),
            ("NL", "NL123"),
            ("US", "07-1144442"),  # no such prefix
            ("AU", "99 999 999 999"),
            ("CH", "CHE-100.155.213"),
        ],
    )
    def test_refuses_others_and_names_the_country(self, country: str, given: str) -> None:
        with pytest.raises(TaxIdRefused, match=f"no tax number of {country}"):
            clean_tax_id(given, country=country)

    @pytest.mark.parametrize(("country", "given"), [("", "DE1"), ("KE", "P051234567Z"), ("DE", "")])
    def test_keeps_what_it_has_no_rule_for(self, country: str, given: str) -> None:
        assert clean_tax_id(given, country=country) == given
