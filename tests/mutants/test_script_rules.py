from __future__ import annotations

import pytest

from tests.mutants.mutant import apply
from tests.mutants.script_rules import ScriptError, find_edits, read_tokens


def mutate(source: str, operator: str) -> list[str]:
    """The source with each edit of an operator."""
    raw = source.encode()
    edits = sorted(find_edits(raw), key=lambda edit: (edit.start, edit.text))
    return [apply(edit, raw).decode() for edit in edits if edit.operator == operator]


@pytest.mark.parametrize(
    ("operator", "source", "expected"),
    [
        ("comparison", "if (a === 1) b();", ["if (a !== 1) b();"]),
        ("logic", "const a = b || c;", ["const a = b && c;"]),
        ("arithmetic", "const a = b + c;", ["const a = b - c;"]),
        ("number", "const a = 9;", ["const a = 0;"]),
        ("status", "r.status(404);", ["r.status(405);"]),
        ("constant", "f(true);", ["f(false);"]),
        ("negate", "if (a(b)) c();", ["if (!(a(b))) c();"]),
        ("text", "const a = 'b';", ["const a = 'c';"]),
        ("text", "const a = `${b}:c`;", ["const a = `${b}:d`;"]),
        ("sql", "q('SELECT a FROM b WHERE c = $1');", ["q('SELECT a FROM b WHERE c <> $1');"]),
        ("swap-arguments", "const a = f(b, c, d);", ["const a = f(c, b, d);"]),
        ("swap-elements", "f([a, b]);", ["f([b, a]);"]),
        ("drop-field", "f({ a: 1, b });", ["f({  b });", "f({ a: 1,  });"]),
        ("add-field", "f({ a: 1 });", ["f({ a: 1, mutant: 1 });"]),
        ("drop-statement", "a(); await b(c); d = 1;", ["; await b(c); d = 1;", "a(); ; d = 1;"]),
        ("double-call", "{ await b({ c: 1 }); }", ["{ await b({ c: 1 }); await b({ c: 1 }); }"]),
    ],
)
def test_operator(operator: str, source: str, expected: list[str]) -> None:
    assert mutate(source, operator) == expected


@pytest.mark.parametrize(
    "source",
    ["// 1 'a'\n", "/* a() */", "const a = BUG === 'b' ? 1 : 2;", "const { a, b } = c;"],
)
def test_what_nobody_can_notice_stays(source: str) -> None:
    assert find_edits(source.encode()) == []


def test_tokens_are_the_text_without_space() -> None:
    text = "f(`a ${b} c`, 'd\\'', 1.5) // e\n=> !x"
    tokens = [token.text for token in read_tokens(text)]
    assert tokens == ["f", "(", "`a ${b} c`", ",", "'d\\''", ",", "1.5", ")", "=>", "!", "x"]


@pytest.mark.parametrize("source", ["a(", ")", "a(]", "'a", "a # b", "é"])
def test_unknown_syntax_is_refused(source: str) -> None:
    with pytest.raises(ScriptError):
        find_edits(source.encode())
