"""Usage files: mappings, rows, events. What is wrong is named with file, line and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from billing_client.usage_import.events import EventReader
from billing_client.usage_import.mapping import GENERIC, Mapping, MappingInvalid, Source, parse_mapping
from billing_client.usage_import.rows import FileInvalid, read_rows

INPUT = parse_mapping("meter=input,quantity=ContextTokens,timestamp=TIMESTAMP")
OUTPUT = parse_mapping("meter=output,quantity=GeneratedTokens,timestamp=TIMESTAMP")
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"


def read(path: Path, *mappings: Mapping) -> list[dict[str, Any]]:
    reader = EventReader(path, mappings or (GENERIC,), "d1")
    reader.check_columns()
    return [event.body for event in reader.read()]


def refuse(path: Path, *mappings: Mapping) -> str:
    with pytest.raises(FileInvalid) as caught:
        read(path, *mappings)
    return str(caught.value)


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


class TestParseMapping:
    def test_reads_every_field(self) -> None:
        mapping = parse_mapping(
            "meter=@Kind, quantity==1, timestamp=At, key=Id, unit==GB, resource=R, actor=A, cost_center=C,"
            "dimension.model=Model, dimension.region==eu"
        )
        assert mapping.meter == Source(column="Kind")
        assert mapping.quantity == Source(text="1")
        assert mapping.unit == Source(text="GB")
        assert mapping.dimensions == (("model", Source(column="Model")), ("region", Source(text="eu")))
        assert mapping.columns == ("Kind", "At", "Id", "R", "A", "C", "Model")

    def test_a_comma_in_a_column_is_escaped(self) -> None:
        assert parse_mapping(r"meter=m,quantity=Tokens\, all").quantity == Source(column="Tokens, all")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("quantity=A", '"meter" is missing'),
            ("meter=m", '"quantity" is missing'),
            ("meter=m,quantity", '"quantity" is not of the form field=COLUMN'),
            ("meter=m,quantity=A,amount=B", '"amount" is no field'),
            ("meter=m,quantity=A,quantity=B", '"quantity" is given twice'),
            ("meter=m,quantity=A,dimension.=B", '"dimension." is no field'),
        ],
    )
    def test_says_what_is_wrong(self, text: str, message: str) -> None:
        with pytest.raises(MappingInvalid, match=message):
            parse_mapping(text)


class TestEvents:
    def test_one_row_becomes_an_event_per_mapping(self, csv_file: Path) -> None:
        csv_file.write_text(TRACE)
        assert read(csv_file, INPUT, OUTPUT) == [
            {
                "metric_type": "input",
                "quantity": "374",
                "timestamp": "2023-11-16T18:15:46.680590Z",
                "idempotency_key": "d1:2:input",
            },
            {
                "metric_type": "output",
                "quantity": "44",
                "timestamp": "2023-11-16T18:15:46.680590Z",
                "idempotency_key": "d1:2:output",
            },
        ]

    def test_the_same_meter_twice_in_a_row_is_two_events(self, csv_file: Path) -> None:
        csv_file.write_text("a,b\n1,2\n")
        both = [parse_mapping(f"meter=m,quantity={column}") for column in "ab"]
        assert [event["idempotency_key"] for event in read(csv_file, *both)] == ["d1:2:m", "d1:2:m:2"]

    def test_the_generic_form_needs_no_mapping(self, csv_file: Path) -> None:
        csv_file.write_text(
            "timestamp,service,quantity,metadata\n"
            '2026-01-31T23:30:00+01:00,api,1.50,"{""model"": ""a""}"\n'
            "2026-01-31,storage,2,\n"
        )
        assert read(csv_file) == [
            {
                "metric_type": "api",
                "quantity": "1.50",
                "timestamp": "2026-01-31T22:30:00Z",
                "metadata": {"model": "a"},
                "idempotency_key": "d1:2:api",
            },
            {
                "metric_type": "storage",
                "quantity": "2",
                "timestamp": "2026-01-31T00:00:00Z",
                "idempotency_key": "d1:3:storage",
            },
        ]

    def test_keys_and_dimensions_come_from_columns(self, csv_file: Path) -> None:
        csv_file.write_text("n,id,model\n1,req-1,small\n2,req-2,\n")
        mapping = parse_mapping("meter=m,quantity=n,key=id,dimension.model=model,dimension.region==eu")
        assert [(event["idempotency_key"], event["metadata"]) for event in read(csv_file, mapping)] == [
            ("req-1", {"model": "small", "region": "eu"}),
            ("req-2", {"region": "eu"}),
        ]

    def test_json_lines_have_the_same_keys(self, tmp_path: Path) -> None:
        path = tmp_path / "usage.jsonl"
        rows = [{"service": "api", "quantity": 1.25, "metadata": {"a": 1}}, {"service": "api", "quantity": "3"}]
        path.write_text("\n\n".join(json.dumps(row) for row in rows))
        assert [(event["quantity"], event["idempotency_key"]) for event in read(path)] == [
            ("1.25", "d1:1:api"),
            ("3", "d1:3:api"),
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2023-11-16T18:15:46Z", "2023-11-16T18:15:46Z"),
            ("2023-11-16 18:15", "2023-11-16T18:15:00Z"),
            ("2023-11-16T18:15:46.1+0530", "2023-11-16T12:45:46.100000Z"),
            ("2023-11-16 18:15:46.123456999 UTC", "2023-11-16T18:15:46.123456Z"),
        ],
    )
    def test_times_become_utc_and_are_never_moved_forward(self, csv_file: Path, text: str, expected: str) -> None:
        csv_file.write_text(f"timestamp,service,quantity\n{text},api,1\n")
        assert read(csv_file)[0]["timestamp"] == expected

    def test_a_quoted_value_may_run_over_lines(self, csv_file: Path) -> None:
        csv_file.write_text('service,quantity,metadata\napi,1,"{""a"":\n""b""}"\napi,x,\n')
        assert refuse(csv_file).startswith("trace.csv, line 4, column quantity:")


class TestRefusals:
    def test_name_file_line_and_column(self, csv_file: Path) -> None:
        rows = "".join(f"2023-11-16 18:15:46,{n},1\n" for n in range(15))
        csv_file.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}2023-11-16 18:15:46,12x,1\n")
        assert refuse(csv_file, INPUT) == 'trace.csv, line 17, column ContextTokens: "12x" is not a number'

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("api,,", "column quantity: is empty"),
            ('api,"1,000",', 'column quantity: "1,000" is not a number'),
            ("api,-1,", 'column quantity: "-1" is below zero'),
            ("api,NaN,", 'column quantity: "NaN" is not a number'),
            ("api,Infinity,", 'column quantity: "Infinity" is not a number'),
            ("api,0x10,", 'column quantity: "0x10" is not a number'),
            ("api,１２,", 'column quantity: "１２" is not a number'),
            ("api,0.0000000000001,", 'column quantity: "0.0000000000001" has more than 12 decimals'),
            ("api,1e30,", 'column quantity: "1e30" is too large'),
            (",1,", "column service: is empty"),
            ("api,1,yesterday", 'column timestamp: "yesterday" is not a time such as 2026-01-31T12:00:00Z'),
            ("api,1,2026-02-30", 'column timestamp: "2026-02-30" is not a time: day is out of range for month'),
            ("api,1", "has 2 values, the header has 3"),
            ("api,1,,", "has 4 values, the header has 3"),
            ('api,1,"x', "a quoted value is not closed"),
            ('api,1,"x"y', "a quoted value is followed by more text"),
            ("api,1,\0", "holds the character NUL"),
        ],
    )
    def test_say_what_is_wrong_with_the_row(self, csv_file: Path, row: str, reason: str) -> None:
        csv_file.write_text(f"service,quantity,timestamp\napi,1,\n{row}\n")
        separator = ", " if reason.startswith("column") else ": "
        assert refuse(csv_file) == f"trace.csv, line 3{separator}{reason}"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "trace.csv: is empty"),
            (b"\n", "trace.csv, line 1: has no header"),
            (b"a,,b\n", "trace.csv, line 1: a column has no name"),
            (b"a,a\n", "trace.csv, line 1, column a: there are two columns of this name"),
            (b"a,b\n", "trace.csv, line 1, column service: is not in the file, which has a, b"),
            (b"service,quantity\napi,1\nap\xff,1\n", "trace.csv, line 3: is not UTF-8 text"),
            (b"service,quantity\n" + b"x" * 1_000_001, "trace.csv, line 2: is longer than 1,000,000 bytes"),
        ],
    )
    def test_say_what_is_wrong_with_the_file(self, csv_file: Path, content: bytes, message: str) -> None:
        csv_file.write_bytes(content)
        assert refuse(csv_file) == message

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "line 2: is not valid JSON: Expecting property name enclosed in double quotes at character 3"),
            ("[1]", "line 2: is not a JSON object"),
            ('{"service": "a", "quantity": NaN}', "line 2: is not valid JSON"),
            ('{"service": "a", "quantity": true}', 'line 2, column quantity: "True" is not a number'),
            ('{"service": "a"}', "line 2, column quantity: is missing"),
            ('{"quantity": 1}', "line 2, column service: is missing"),
            ('{"service": "a", "quantity": 1, "metadata": [1]}', 'line 2, column metadata: "[1]" is not a JSON object'),
        ],
    )
    def test_say_what_is_wrong_with_a_json_line(self, tmp_path: Path, line: str, reason: str) -> None:
        path = tmp_path / "u.jsonl"
        path.write_text(f'{{"service": "a", "quantity": 1}}\n{line}\n')
        assert refuse(path) == f"u.jsonl, {reason}"


class TestRows:
    def test_a_byte_order_mark_and_windows_lines_are_no_trouble(self, csv_file: Path) -> None:
        csv_file.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4")
        assert [(row.line, dict(row.values)) for row in read_rows(csv_file)] == [
            (2, {"a": "1", "b": "2"}),
            (4, {"a": "3", "b": "4"}),
        ]
