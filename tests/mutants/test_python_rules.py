from __future__ import annotations

import ast

import pytest

from tests.mutants.mutant import apply
from tests.mutants.python_rules import find_edits


def mutate(source: str, operator: str) -> list[str]:
    """The source with each edit of an operator."""
    raw = source.encode()
    edits = sorted(find_edits(raw), key=lambda edit: (edit.start, edit.text))
    return [apply(edit, raw).decode() for edit in edits if edit.operator == operator]


@pytest.mark.parametrize(
    ("operator", "source", "expected"),
    [
        ("comparison", "a = b == c", ["a = b != c"]),
        ("comparison", "a = b is not None", ["a = b is None"]),
        ("comparison", "a = b in c", ["a = b not in c"]),
        ("comparison", "a = (b)< (c)", ["a = (b)<= (c)"]),
        ("arithmetic", "a = b + c * d", ["a = b - c * d", "a = b + c + d"]),
        ("logic", "a = b and c", ["a = b or c"]),
        ("logic", "a = not b", ["a = bool(b)"]),
        ("negate", "if a:\n    b()", ["if not (a):\n    b()"]),
        ("negate", "a = b if c else d", ["a = b if not (c) else d"]),
        ("number", "a = 7", ["a = 8"]),
        ("status", "raise E(404)", ["raise E(405)"]),
        ("constant", "a = True", ["a = False"]),
        ("constant", "a = None", ["a = 0"]),
        ("text", "a = 'über'", ["a = 'ücer'"]),
        ("text", 'a = b"Az"', ['a = b"Bz"']),
        ("text", 'a = f"{b}: {c} z"', ['a = f"{b}: {c} a"']),
        ("text", "a = ''", ["a = 'x'"]),
        ("drop-field", "a = {'b': 1, **c, 'd': e}", ["a = { **c, 'd': e}", "a = {'b': 1, **c, }"]),
        ("add-field", "a = {'b': 1}", ["a = {'b': 1, \"mutant\": 1}"]),
        ("swap-fields", "a = {'b': c, 'd': e}", ["a = {'b': e, 'd': c}"]),
        ("swap-elements", "a = (b, c, d)", ["a = (c, b, d)"]),
        ("swap-arguments", "a = b(c, d(), k=1)", ["a = b(d(), c, k=1)"]),
        ("drop-keyword", "a = b(c, k=1)", ["a = b(c, )"]),
        ("drop-statement", "def f():\n    a.b(\n        1)\n", ["def f():\n    pass\n"]),
        ("drop-statement", "a['b'] = 1", ["pass"]),
        ("drop-statement", "del a['b']", ["pass"]),
        (
            "double-call",
            "async def f():\n    a = await b()\n",
            ["async def f():\n    await b()\n    a = await b()\n"],
        ),
        ("double-call", "def f():\n    a.b.c()\n", ["def f():\n    a.b.c()\n    a.b.c()\n"]),
        ("return-none", "def f():\n    return a", ["def f():\n    return None"]),
        (
            "shift-time",
            "a = b.now()",
            ["a = b.now().replace(microsecond=0)", "a = b.now().replace(year=2020)"],
        ),
        (
            "make-anew",
            "def f():\n    a = uuid4()\n    return g(a)",
            ["def f():\n    a = uuid4()\n    return g(uuid4())"],
        ),
        (
            "swap-id",
            "def f(a_id, b_id):\n    return g(a_id)",
            ["def f(a_id, b_id):\n    return g(b_id)"],
        ),
        ("sql", "a = ('SELECT a FROM b'\n     ' WHERE c = 1')", [
            "a = ('SELECT a FROM b'\n     ' WHERE c <> 1')",
            "a = ('SELECT a FROM b'\n     ' WHERE c = 2')",
        ]),
    ],
)  # fmt: skip
def test_operator(operator: str, source: str, expected: list[str]) -> None:
    assert mutate(source, operator) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A text that nobody reads."""',
        "from a import b",
        "def f(a: Literal['b']) -> Literal[1]: ...",
        "a: Literal['b']",
        "if has_bug('a'):\n    b(1)\n",
        "if BUG == 'a':\n    b(1)\n",
        "BUG = a.b.get('c')",
    ],
)
def test_what_nobody_can_notice_stays(source: str) -> None:
    assert find_edits(source.encode()) == []


def test_only_the_live_side_of_a_switch_is_edited() -> None:
    assert mutate("a = 1 if has_bug('a') else 2", "number") == ["a = 1 if has_bug('a') else 3"]
    assert mutate("if not has_bug('a'):\n    b = 1\nelse:\n    b = 2", "number") == [
        "if not has_bug('a'):\n    b = 2\nelse:\n    b = 2"
    ]


def test_every_mutant_parses_and_the_rest_stays() -> None:
    source = 'ä = {\n    "b": f(1, "é"),  # ü\n}\nif ä == "c" and not d: e[0] = ä\n'.encode()
    edits = find_edits(source)
    assert len(edits) > 10
    for edit in edits:
        changed = apply(edit, source)
        ast.parse(changed)
        assert changed.startswith(source[: edit.start])
        assert changed.endswith(source[edit.end :])


def test_an_edit_is_reached_with_its_statement() -> None:
    source = b"@a('b')\ndef f():\n    return g(\n        1,\n    )\n"
    [number] = [edit for edit in find_edits(source) if edit.operator == "number"]
    assert list(number.reach) == [3, 4, 5]
    [text] = [edit for edit in find_edits(source) if edit.operator == "text"]
    assert list(text.reach) == [1, 2]
