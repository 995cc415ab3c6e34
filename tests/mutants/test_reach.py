from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.reach import TRACER, is_reached, read_trace, read_v8_coverage


def make_mutant(path: str, *lines: int) -> Mutant:
    edit = Edit("number", 0, 1, b"", range(lines[0], lines[-1] + 1))
    return Mutant(f"app:{path}:1:number#1", path, edit, "", "")


def test_the_tracer_names_the_lines_that_ran(tmp_path: Path) -> None:
    """In threads too."""
    (tmp_path / "app.py").write_text(
        "import threading\ndef f(a):\n    if a:\n        return 1\n    return 2\n"
        "threading.Thread(target=f, args=(1,)).start()\n"
    )
    log = tmp_path / "trace.log"
    environment = {
        "PYTHONPATH": str(TRACER),
        "KEBPF_TRACED": str(tmp_path),
        "KEBPF_TRACE_LOG": str(log),
    }
    subprocess.run([sys.executable, tmp_path / "app.py"], env=environment, check=True)
    lines = read_trace(log.read_text().splitlines(), tmp_path)
    assert lines == {"app.py": {1, 2, 3, 4, 6}}
    assert is_reached(make_mutant("app.py", 4), lines)
    assert not is_reached(make_mutant("app.py", 5), lines)
    assert is_reached(make_mutant("app.py", 5, 6), lines)
    assert not is_reached(make_mutant("other.py", 4), lines)


def test_v8_counts_by_the_innermost_range(tmp_path: Path) -> None:
    text = "f(1);\nfunction f(a) {\n  if (!a) {\n    b();\n  }\n}\n"
    (tmp_path / "app.js").write_text(text)
    begin = text.index("{\n    b")
    ranges = [
        {"startOffset": 0, "endOffset": len(text), "count": 1},
        {"startOffset": begin, "endOffset": text.index("  }\n}") + 3, "count": 0},
    ]
    script = {"url": f"file://{tmp_path}/app.js", "functions": [{"ranges": ranges}]}
    other = {"url": "node:internal", "functions": []}
    coverage = tmp_path / "coverage"
    coverage.mkdir()
    (coverage / "1.json").write_text(json.dumps({"result": [other, script]}))
    assert read_v8_coverage(coverage, tmp_path) == {"app.js": {1, 2, 3, 6}}
