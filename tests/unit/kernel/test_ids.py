"""Ids: UUIDv7 in order, public text that round-trips and refuses everything else."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.ids import decode_id, encode_id, new_uuid


class TestNewUuid:
    def test_is_a_uuid_of_version_7_with_the_present_in_front(self) -> None:
        before = time.time_ns() // 1_000_000
        value = new_uuid()
        assert value.version == 7
        assert value.variant == uuid.RFC_4122
        assert before <= value.int >> 80 <= time.time_ns() // 1_000_000 + 1

    def test_grows_within_a_process(self) -> None:
        values = [new_uuid() for _ in range(20_000)]
        assert values == sorted(values)
        assert len(set(values)) == len(values)

    def test_grows_when_the_clock_steps_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = new_uuid()
        monkeypatch.setattr("billing_site.kernel.ids.time.time_ns", lambda: 1_000_000_000)
        assert first < new_uuid() < new_uuid()

    def test_is_unique_across_threads(self) -> None:
        found: list[uuid.UUID] = []

        def collect() -> None:
            found.extend([new_uuid() for _ in range(2_000)])

        threads = [threading.Thread(target=collect) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 16_000


class TestPublicId:
    @given(st.uuids())
    def test_round_trips(self, value: uuid.UUID) -> None:
        text = encode_id("in", value)
        assert decode_id("in", text) == value
        assert len(text) == len("in_") + 26
        assert text == text.lower()

    @given(st.uuids(), st.uuids())
    def test_sorts_like_the_uuid(self, one: uuid.UUID, other: uuid.UUID) -> None:
        assert (encode_id("acc", one) < encode_id("acc", other)) == (one < other)

    def test_accepts_upper_case_and_blanks_around(self) -> None:
        value = new_uuid()
        assert decode_id("sub", f"  {encode_id('sub', value).upper()} ") == value

    def test_works_with_a_prefix_of_two_words(self) -> None:
        value = new_uuid()
        assert decode_id("plan_version", encode_id("plan_version", value)) == value

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "in",
            "in_",
            "in_short",
            "acc_" + "0" * 26,  # another prefix
            "in_" + "0" * 25,
            "in_" + "0" * 27,
            "in_" + "u" * 26,  # not in the alphabet
            "in_" + "i" * 26,
            "in_" + "8" + "0" * 25,  # 2 to the power of 128
            "in_" + "z" * 26,
            "0" * 26,
            "in_" + "é" * 26,
            "in_" + "٣" * 26,  # a digit, but not of this alphabet
        ],
    )
    def test_answers_none_for_anything_else(self, text: str) -> None:
        assert decode_id("in", text) is None

    @given(st.text(max_size=40))
    def test_never_raises(self, text: str) -> None:
        assert decode_id("in", text) is None or text.strip().lower().startswith("in_")
