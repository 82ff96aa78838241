"""Text that is not quite JSON is refused with its place."""

from __future__ import annotations

import pytest

from catalog.documents.parsing import DocumentUnreadable, parse_document


class TestParseDocument:
    def test_reads_json(self) -> None:
        assert parse_document('{"a": [1, {"b": "c"}]}') == {"a": [1, {"b": "c"}]}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{\n  "a": 1,\n}', "Line 3, column 1"),
            ("", "Line 1, column 1"),
            ('{"a": 1, "b": {"x": 1, "x": 2}}', "“x” twice"),
            ('{"a": NaN}', "NaN"),
            ("[" * 100_000, "nested too deeply"),
            ('{"a": ' + "9" * 5_000 + "}", "too many digits"),
        ],
    )
    def test_says_what_is_wrong(self, text: str, says: str) -> None:
        with pytest.raises(DocumentUnreadable, match=says):
            parse_document(text)
