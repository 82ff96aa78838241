"""Country codes."""

from __future__ import annotations

import pytest

from billing_site.kernel.countries import is_country, list_countries


class TestIsCountry:
    @pytest.mark.parametrize("code", ["DE", "US", "IN", "XK"])
    def test_knows_countries(self, code: str) -> None:
        assert is_country(code)

    @pytest.mark.parametrize("code", ["de", "EU", "ZZ", "XX", "USA", "", "U"])
    def test_knows_nothing_else(self, code: str) -> None:
        assert not is_country(code)

    def test_every_code_has_two_capital_letters(self) -> None:
        assert len(list_countries()) > 240
        assert all(len(code) == 2 and code.isascii() and code.isupper() for code in list_countries())
