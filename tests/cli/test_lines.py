"""Lines as they are printed."""

from __future__ import annotations

import io

from kebpf.cli.lines import print_lines
from kebpf.report.lines import Line, Tone


def test_nothing_is_folded_or_coloured_where_that_is_no_terminal() -> None:
    out = io.StringIO()
    print_lines(out, [Line("x" * 200, Tone.BAD), Line("[b] :smile:")])
    assert out.getvalue() == "x" * 200 + "\n[b] :smile:\n"
