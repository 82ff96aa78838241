"""
Run the endpoint checker on the generated OpenAPI schema and judge its findings.

    check_owned.py SCHEMA OWNED CHECKER

OWNED has one `METHOD path` per line. A finding for one of them is a failure; everything else that is missing is
printed as a summary, so that nobody forgets it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FINDING = re.compile(r"^.{19} (?P<method>[A-Z]+) +(?P<path>/\S*) ")


def read_owned(path: Path) -> set[tuple[str, str]]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {(parts[0], parts[1]) for line in lines if line and not line.startswith("#") and (parts := line.split())}


def run_checker(checker: str, schema: str, *options: str) -> str:
    command = [sys.executable, checker, schema, *options]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode not in {0, 1}:
        sys.exit(f"the endpoint check could not run:\n{answer.stdout}{answer.stderr}")
    return answer.stdout


def main(schema: str, owned_file: str, checker: str) -> int:
    owned = read_owned(Path(owned_file))
    findings = run_checker(checker, schema).splitlines()
    unread = [line for line in findings if not FINDING.match(line)]
    broken = [line for line in findings if (match := FINDING.match(line)) and (match["method"], match["path"]) in owned]
    print("\n── endpoints: everything the API promises in the end")
    print(run_checker(checker, schema, "--summary"), end="")
    missing = [line for line in findings if line not in broken]
    print(f"\n── endpoints: {len(missing)} findings outside the {len(owned)} endpoints of {owned_file}")
    print("\n".join(missing))
    print(f"\n── endpoints of {owned_file}: {len(broken)} findings")
    print("\n".join(broken) or f"all {len(owned)} are complete")
    return 1 if broken or unread else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
