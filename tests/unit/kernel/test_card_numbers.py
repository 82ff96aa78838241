"""Recognising card numbers."""

from __future__ import annotations

import pytest

from billing_site.kernel.card_numbers import (
    HIDDEN,
    find_card_numbers,
    hide_card_numbers,
    looks_like_card_number,
    may_hold_card_number,
)

VISA = "4242424242424242"


class TestLooksLikeCardNumber:
    @pytest.mark.parametrize(
        "text",
        [
            VISA,
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            f" {VISA}\n",
            "5555555555554444",  # Mastercard
            "2223003122003222",
            "378282246310005",  # American Express
            "30569309025904",  # Diners Club
            "6011111111111117",  # Discover
            "3566002020360505",  # JCB
            "6200000000000005",  # UnionPay
            "6759649826438453",  # Maestro
            "4222222222222",  # Visa of 13 digits
        ],
    )
    def test_knows_the_numbers_of_the_networks(self, text: str) -> None:
        assert looks_like_card_number(text)

    @pytest.mark.parametrize(
        "text",
        [
            "4242424242424241",  # checksum
            "424242424242",  # 12 digits
            "42424242424242424242",  # 20 digits
            "1700000000000",  # a time in milliseconds
            f"order {VISA}",
            f"{VISA}x",
            "",
            "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
        ],
    )
    def test_leaves_the_rest(self, text: str) -> None:
        assert not looks_like_card_number(text)

    def test_tells_an_id_with_a_right_checksum_from_a_card_unless_any_will_do(self) -> None:
        number = "1700000000000001"
        assert not looks_like_card_number(number)
        assert looks_like_card_number(number, issued_only=False)


class TestFindCardNumbers:
    def test_points_at_them_however_deep(self) -> None:
        body = {"notes": VISA, "metadata": {"a": [1, {"pan": int(VISA)}], "b": "fine"}, VISA: "key"}
        assert list(find_card_numbers(body)) == ["/notes", "/metadata/a/1/pan", ""]

    def test_leaves_amounts_and_quantities_alone(self) -> None:
        body = {"amount": int(VISA), "quantity": VISA, "value": VISA, "up_to": int(VISA), "flag": True}
        assert list(find_card_numbers(body)) == []
        assert len(list(find_card_numbers(body, issued_only=False))) == 4

    def test_never_says_a_key_that_is_one(self) -> None:
        assert list(find_card_numbers({"metadata": {VISA: 1}})) == ["/metadata"]


def test_one_scan_tells_whether_to_look() -> None:
    assert may_hold_card_number(b'{"a": "4242 4242 4242 4242"}')
    assert may_hold_card_number(b'{"a": "\\u0034242424242424242"}')
    assert not may_hold_card_number(b'{"a": "424242424242", "b": 12}')


def test_texts_are_cleaned() -> None:
    assert hide_card_numbers(f"paid with {VISA}, thanks") == f"paid with {HIDDEN}, thanks"
    assert hide_card_numbers("4242 4242 4242 4242") == HIDDEN
    kept = "evt_4242424242424242 1700000000000001 4242424242424241"
    assert hide_card_numbers(kept) == kept
