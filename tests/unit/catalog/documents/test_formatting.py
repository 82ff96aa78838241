"""A formatted document reads well and reads back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from catalog.data import read_sample
from catalog.documents.formatting import format_document, order_document

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


class TestFormatDocument:
    @given(values)
    def test_reads_back_unchanged(self, value: object) -> None:
        assert json.loads(format_document(value)) == value

    def test_puts_keys_in_reading_order(self) -> None:
        shuffled = json.loads(json.dumps(read_sample(), sort_keys=True))
        ordered = order_document(shuffled)
        assert ordered == shuffled
        assert list(ordered) == ["version", "products", "meters", "plans"]
        assert list(ordered["plans"][1])[:4] == ["id", "name", "product_id", "category"]
        assert list(ordered["plans"][1]["prices"][0]) == ["currency", "unit_amount", "interval"]

    def test_keeps_small_objects_on_one_line(self) -> None:
        document = {"plans": [{"id": "pro", "prices": [{"currency": "usd", "unit_amount": 2900, "note": "x" * 90}]}]}
        assert format_document(document).splitlines() == [
            "{",
            '  "plans": [',
            "    {",
            '      "id": "pro",',
            '      "prices": [',
            "        {",
            '          "currency": "usd",',
            '          "unit_amount": 2900,',
            f'          "note": "{"x" * 90}"',
            "        }",
            "      ]",
            "    }",
            "  ]",
            "}",
        ]
        assert format_document({"a": {"b": 1}}) == '{\n  "a": {"b": 1}\n}\n'
