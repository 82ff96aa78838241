"""What docs/catalog.md shows is valid and comes out as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from catalog.documents.price_models import MODEL_RULES
from catalog.documents.validation import validate_document
from catalog.services.quotes import quote_request

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "catalog.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```json\n(.*?)```(?:\n\n→ ([0-9]+))?", TEXT, re.DOTALL)
DOCUMENTS = [json.loads(block) for block, amount in BLOCKS if not amount]
EXAMPLES = [(json.loads(block), int(amount)) for block, amount in BLOCKS if amount]


class TestCatalogGuide:
    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_documents_can_be_published(self, document: dict[str, Any]) -> None:
        assert list(validate_document(document)) == []

    @pytest.mark.parametrize(("request_", "amount"), EXAMPLES)
    def test_examples_come_out_as_written(self, request_: dict[str, Any], amount: int) -> None:
        assert quote_request(request_).amount == amount

    def test_every_model_has_an_example(self) -> None:
        assert {request["price"].get("model", "per_unit") for request, _ in EXAMPLES} == set(MODEL_RULES)
        assert len(DOCUMENTS) == 1

    def test_the_table_names_every_model(self) -> None:
        assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) >= set(MODEL_RULES)
