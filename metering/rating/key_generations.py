"""Which generations of counted keys to merge: few large ones are quicker to look through than many small ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MERGED_AT_ONCE: Final = 4
SIMILAR: Final = 4


@dataclass(frozen=True, slots=True)
class ClosedGeneration:
    """A generation that is only read, and the number of its keys."""

    number: int
    keys: int


def choose_merge(
    closed: Sequence[ClosedGeneration], *, at_least: int = MERGED_AT_ONCE, similar: int = SIMILAR
) -> tuple[int, ...]:
    """
    Return the numbers of the generations to merge, ascending; empty when none should be.

    They are at least `at_least` of similar size: the largest has at most `similar` times the keys of the smallest. Of
    several such sets it is the one with the smallest members, and all that are similar to its smallest. So a key is
    merged about as often as the logarithm of all keys, and the number of generations stays at that too.
    """
    by_size = sorted(closed, key=lambda each: (each.keys, each.number))
    for start, smallest in enumerate(by_size):
        alike = [each for each in by_size[start:] if each.keys <= similar * max(smallest.keys, 1)]
        if len(alike) >= at_least:
            return tuple(sorted(each.number for each in alike))
    return ()
