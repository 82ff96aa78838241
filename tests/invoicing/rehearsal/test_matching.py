"""Pairing expected with actual documents."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.rehearsal.expected import INVOICE, Entry
from invoicing.rehearsal.matching import Comparison, are_equal, compare_entries, pair_up

Document = dict[str, object]


def entry(line: int = 1, *, lines: tuple[Entry, ...] | None = None, exact: bool = False, **values: str | None) -> Entry:
    return Entry(line, values, lines, exact)


def document(total: str, *, account: str = "acme", lines: tuple[Document, ...] = ()) -> Document:
    return {"account": account, "total": total, "lines": list(lines)}


def compare(entries: list[Entry], documents: list[Document], *, exact: bool = False) -> list[Comparison]:
    return compare_entries(entries, documents, kinds=INVOICE, exact=exact, describe=lambda actual: str(actual["total"]))


def unmet(comparisons: list[Comparison]) -> list[tuple[str, str, str]]:
    return [
        (value.name, value.expected, value.actual) for each in comparisons for value in each.values if not value.met
    ]


class TestPairUp:
    @given(
        st.lists(st.integers(0, 3), max_size=5),
        st.lists(st.integers(0, 3), max_size=5),
        st.booleans(),
    )
    def test_keeps_the_order_and_finds_a_perfect_match_when_there_is_one(
        self, expected: list[int], actual: list[int], exact: bool
    ) -> None:
        pairs = pair_up(len(expected), len(actual), lambda i, j: 0 if expected[i] == actual[j] else 1, exact=exact)
        assert [i for i, _ in pairs if i is not None] == list(range(len(expected)))
        assert [j for _, j in pairs if j is not None] == list(range(len(actual)))
        perfect = all(j is not None and expected[i] == actual[j] for i, j in pairs if i is not None)
        assert perfect == is_subsequence(expected, actual)

    def test_leaves_no_expected_one_without_a_partner_while_there_are_any(self) -> None:
        pairs = pair_up(2, 3, lambda *_: 1, exact=False)
        assert sum(i is not None and j is not None for i, j in pairs) == 2


def is_subsequence(expected: list[int], actual: list[int]) -> bool:
    rest = iter(actual)
    return all(any(each == other for other in rest) for each in expected)


class TestCompareEntries:
    def test_passes_over_documents_nobody_lists(self) -> None:
        found = compare([entry(total="3")], [document("1"), document("2"), document("3")])
        assert [each.label for each in found] == ["3"]
        assert unmet(found) == []

    def test_reports_them_when_exact(self) -> None:
        found = compare([entry(total="3")], [document("1"), document("3")], exact=True)
        assert unmet(found) == [("document", "not listed", "1")]

    def test_reports_a_document_that_does_not_exist(self) -> None:
        found = compare([entry(1, total="1"), entry(2, total="2")], [document("2")])
        assert unmet(found) == [("document", "total 1", "does not exist")]
        assert found[0].line == 1

    def test_minds_the_order(self) -> None:
        found = compare([entry(total="2"), entry(total="1")], [document("1"), document("2")])
        assert len(unmet(found)) == 2

    def test_pairs_by_account_before_amount(self) -> None:
        found = compare([entry(account="b", total="9")], [document("9", account="a"), document("8", account="b")])
        assert unmet(found) == [("total", "9", "8")]

    def test_compares_only_what_is_named(self) -> None:
        assert unmet(compare([entry(account="acme")], [document("5")])) == []

    def test_compares_lines_inside(self) -> None:
        lines: tuple[Document, ...] = ({"type": "usage", "amount": "1.00"}, {"type": "usage", "amount": "2.00"})
        expected = entry(lines=(entry(type="usage", amount="2.5"),), exact=False)
        assert unmet(compare([expected], [document("3", lines=lines)])) == [("line 1 amount", "2.5", "1.00")]

    def test_forbids_lines_that_are_not_listed_when_exact(self) -> None:
        lines: tuple[Document, ...] = (
            {"type": "usage", "meter": "calls", "quantity": "1", "amount": "1.00"},
            {"type": "usage", "meter": "jobs", "quantity": "4", "amount": "2.00"},
        )
        expected = entry(lines=(entry(amount="1"),), exact=True)
        assert unmet(compare([expected], [document("3", lines=lines)])) == [
            ("line 2", "not listed", "usage jobs: 4 = 2.00")
        ]


@pytest.mark.parametrize(
    ("kind", "expected", "actual", "equal"),
    [
        ("number", "10", "10.00", True),
        ("number", "-0.00", "0", True),
        ("number", "10", "10.01", False),
        ("text", "10", "10.00", False),
        ("text", None, None, True),
        ("text", None, "x", False),
        ("number", "1", None, False),
    ],
)
def test_values_are_compared_by_what_they_mean(kind: str, expected: str, actual: str, equal: bool) -> None:
    assert are_equal(kind, expected, actual) is equal  # type: ignore[arg-type]


def test_a_hundred_by_a_hundred_is_no_effort() -> None:
    many = [document(str(number % 7)) for number, _ in product(range(10), range(10))]
    assert unmet(compare([entry(total=str(number // 10 % 7)) for number in range(100)], many, exact=True)) == []
