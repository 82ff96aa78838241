"""Which generations of keys are merged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metering.rating.key_generations import ClosedGeneration, choose_merge


def sized(*keys: int) -> list[ClosedGeneration]:
    return [ClosedGeneration(number, size) for number, size in enumerate(keys, start=1)]


class TestChooseMerge:
    def test_waits_for_four_of_similar_size(self) -> None:
        assert choose_merge(sized()) == ()
        assert choose_merge(sized(100, 100, 100)) == ()
        assert choose_merge(sized(100, 100, 100, 100)) == (1, 2, 3, 4)

    def test_four_times_is_similar_and_more_is_not(self) -> None:
        assert choose_merge(sized(400, 100, 200, 300)) == (1, 2, 3, 4)
        assert choose_merge(sized(401, 100, 200, 300)) == ()

    def test_leaves_a_large_one_alone_until_there_are_others_like_it(self) -> None:
        assert choose_merge(sized(9_000, 100, 100, 100, 100)) == (2, 3, 4, 5)
        assert choose_merge(sized(9_000, 8_000, 9_500, 7_000, 100, 100)) == (1, 2, 3, 4)

    def test_takes_the_smallest_set_first_and_all_of_it(self) -> None:
        assert choose_merge(sized(*[9_000] * 4, *[100] * 5)) == (5, 6, 7, 8, 9)

    def test_empty_ones_are_similar_to_each_other(self) -> None:
        assert choose_merge(sized(0, 0, 0, 4)) == (1, 2, 3, 4)
        assert choose_merge(sized(0, 0, 0, 5)) == ()

    @given(st.lists(st.integers(1, 10**9), max_size=300))
    def test_ends_with_few_generations_and_every_key(self, sizes: list[int]) -> None:
        generations = sized(*sizes)
        merges = 0
        while chosen := choose_merge(generations):
            merges += 1
            merged = [each for each in generations if each.number in chosen]
            assert len(merged) >= 4
            assert max(each.keys for each in merged) <= 4 * min(each.keys for each in merged)
            rest = [each for each in generations if each.number not in chosen]
            number = 1 + max(each.number for each in generations)
            generations = [*rest, ClosedGeneration(number, sum(each.keys for each in merged))]
        assert sum(each.keys for each in generations) == sum(sizes)
        assert merges <= len(sizes) / 3
        # At most three within each factor of four: 300 times 10^9 keys make no more than 20 such steps.
        assert len(generations) <= 60
