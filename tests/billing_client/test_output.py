"""What commands print, in its three forms."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from billing_client.cli.arguments import GlobalOptions
from billing_client.cli.failures import CliError
from billing_client.cli.output import Document, Output, Table, format_csv, format_json, format_plain, write_file

TABLE = Table(["Name", "Amount"], [["Ärger", "1.0K"], ["B", "22"]], right=frozenset({"Amount"}))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestCsv:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
    def test_a_text_that_a_spreadsheet_would_run_is_quoted(self, text: str) -> None:
        rows = list(csv.reader(io.StringIO(format_csv(["a"], [[text]]), newline="")))
        assert rows[1][0].startswith("'")

    def test_numbers_stay_numbers(self) -> None:
        assert format_csv(["a", "b", "c"], [[-5, Decimal("-0.10"), None]]) == "a,b,c\r\n-5,-0.10,\r\n"

    def test_follows_the_standard(self) -> None:
        assert format_csv(["a", "b"], [['say "hi"', "x,y"]]) == 'a,b\r\n"say ""hi""","x,y"\r\n'


class TestPlain:
    def test_aligns_columns(self) -> None:
        assert format_plain(Document({}, [TABLE], ["done"])) == (
            "Name   Amount\n-----  ------\nÄrger    1.0K\nB          22\n\ndone\n"
        )

    def test_control_characters_cannot_drive_the_terminal(self) -> None:
        assert "\x1b" not in format_plain(Document({}, [Table(["A"], [["\x1b[31mred"]])]))


class TestJson:
    def test_keeps_order_and_letters(self) -> None:
        assert format_json({"b": "ä", "a": Decimal("1.50")}) == '{\n  "b": "ä",\n  "a": "1.50"\n}\n'


class TestOutput:
    def test_draws_lines_on_a_terminal_only(self) -> None:
        for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
            Output(GlobalOptions(color=False), stdout=stream).write(Document({}, [TABLE], ["done"]))
            assert ("╭" in stream.getvalue()) is drawn
            assert "done" in stream.getvalue()

    def test_quiet_prints_no_data_and_no_messages_but_errors(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        output = Output(GlobalOptions(quiet=True), stdout=out, stderr=err)
        output.write(Document({}, [TABLE]))
        output.say("hello")
        output.warn("hello")
        assert (out.getvalue(), err.getvalue()) == ("", "")
        output.fail(CliError("no", hint="yes", details=["/a: b"]))
        assert err.getvalue() == "Error: no\n/a: b\nHint: yes\n"

    def test_writes_to_a_file_also_when_quiet(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "data.json"
        out = io.StringIO()
        options = GlobalOptions(format="json", output=target, quiet=True)
        Output(options, stdout=out).write(Document({"a": 1}))
        assert target.read_text() == '{\n  "a": 1\n}\n'
        assert out.getvalue() == ""

    def test_refuses_csv_where_there_is_none(self) -> None:
        with pytest.raises(CliError, match="no csv form"):
            Output(GlobalOptions(format="csv"), stdout=io.StringIO()).write(Document({"a": 1}))


class TestWriteFile:
    def test_replaces_the_old_file_and_leaves_nothing_beside_it(self, tmp_path: Path) -> None:
        target = tmp_path / "x.csv"
        target.write_text("old")
        write_file(target, b"new")
        assert target.read_bytes() == b"new"
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]

    def test_failing_keeps_the_old_file(self, tmp_path: Path) -> None:
        target = tmp_path / "folder"
        target.mkdir()
        with pytest.raises(CliError, match="cannot write"):
            write_file(target, b"new")
        assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
