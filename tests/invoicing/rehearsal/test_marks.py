"""YAML read so that nothing changes its meaning on the way."""

from __future__ import annotations

import pytest

from invoicing.rehearsal.marks import FileUnreadable, Mistakes, compose, find_line, to_plain


def read(text: str) -> object:
    mistakes = Mistakes()
    value = to_plain(compose(text), mistakes)
    assert mistakes.collect() == []
    return value


class TestToPlain:
    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("NO", "NO"),  # Norway
            ("off", "off"),
            ("12:30", "12:30"),
            ("010", 10),
            ("1_000", "1_000"),
            ("2024-03-01", "2024-03-01"),
            ("2024-03-01T09:00:00Z", "2024-03-01T09:00:00Z"),
            ("0.10", "0.10"),
            ("1e3", "1e3"),
            ("-7", -7),
            ('"7"', "7"),
            ("true", True),
            ("~", None),
        ],
    )
    def test_keeps_what_is_written(self, written: str, value: object) -> None:
        assert read(f"key: {written}") == {"key": value}

    def test_reads_an_anchor_wherever_it_is_used(self) -> None:
        assert read("a: &x {b: 1}\nc: *x") == {"a": {"b": 1}, "c": {"b": 1}}

    @pytest.mark.parametrize(
        ("text", "line", "what"),
        [
            ("a: 1\nb: 2\na: 3", 3, "twice"),
            ("a: &x [*x]", 1, "too deeply"),
            ("a: 1\nb: !!python/name:os.system x", 2, "tag"),
            ("[1, 2]: 3", 1, "plain word"),
        ],
    )
    def test_reports_what_json_cannot_say(self, text: str, line: int, what: str) -> None:
        mistakes = Mistakes()
        to_plain(compose(text), mistakes)
        (found,) = mistakes.collect()
        assert (found.line, what in found.what) == (line, True)


class TestCompose:
    @pytest.mark.parametrize(
        ("text", "line"), [("", 1), ("a: 1\nb: [", 2), ("a: 1\n---\nb: 2", 2), ("a: 1\nb: \x01", 2), ("a: *gone", 1)]
    )
    def test_refuses_what_is_not_one_document(self, text: str, line: int) -> None:
        with pytest.raises(FileUnreadable) as refusal:
            compose(text)
        assert [mistake.line for mistake in refusal.value.mistakes] == [line]


class TestFindLine:
    @pytest.mark.parametrize(
        ("pointer", "line"), [("", 1), ("/plans/1/name", 4), ("/plans/1/gone/deeper", 4), ("/a~1b", 5), ("/plans/9", 3)]
    )
    def test_names_the_line_of_a_pointer_or_what_is_around_it(self, pointer: str, line: int) -> None:
        node = compose("first: 1\nplans:\n  - name: x\n  - name: y\na/b: 1")
        assert find_line(node, pointer) == line
