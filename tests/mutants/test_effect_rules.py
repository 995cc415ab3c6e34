"""Each rule changes what it is about, and nothing else of the source."""

from __future__ import annotations

import pytest

from tests.mutants.effect_rules import find_python_edits, find_script_edits, read_rules
from tests.mutants.mutant import Edit, apply


def change(source: str, edits: list[Edit]) -> set[tuple[str, str]]:
    return {(edit.operator, apply(edit, source.encode()).decode()) for edit in edits}


@pytest.mark.parametrize(
    ("source", "operator", "changed"),
    [
        (
            'response.headers["Location"] = f"/{n}"',
            "double-header",
            """[response.headers.append("Location", f"/{n}") for _ in '12']""",
        ),
        (
            'response.set_cookie("a", token_hex(16), httponly=True)',
            "cookie-attribute",
            'response.set_cookie("a", token_hex(16), httponly=True, secure=True)',
        ),
        ("cache.set(key, value, ex=60)", "time-to-live", "cache.set(key, value, px=60)"),
        (
            "with transaction.atomic():\n    pass",
            "transaction",
            'with __import__("contextlib").nullcontext():\n    pass',
        ),
        ("[f(row) for row in rows]", "row-order", "[f(row) for row in list(rows)[::-1]]"),
        ("x = int(number)", "number-format", "x = float(number)"),
        (
            'return Response(body, media_type="text/csv")',
            "charset",
            'return Response(body, media_type="text/csv; charset=latin-1")',
        ),
    ],
)
def test_python(source: str, operator: str, changed: str) -> None:
    is_return = source.startswith("return")
    source, changed = (f"def f():\n    {x}" if is_return else x for x in (source, changed))
    assert (operator, changed) in change(source, find_python_edits(source.encode()))


@pytest.mark.parametrize(
    ("source", "operator", "changed"),
    [
        ("  await redis.del(key);", "drop-await", "  redis.del(key);"),
        ("query('BEGIN');", "transaction", "query('BEGIN ISOLATION LEVEL SERIALIZABLE');"),
        ("set(k, v, 'EX', 60);", "time-to-live", "set(k, v, 'PX', 60);"),
        ("rows.map(f)", "row-order", "rows.reverse().map(f)"),
        ("Number(row.id)", "number-format", "String(row.id)"),
    ],
)
def test_script(source: str, operator: str, changed: str) -> None:
    assert (operator, changed) in change(source, find_script_edits(source.encode()))


def test_what_does_not_parse_is_left_out() -> None:
    assert find_python_edits(b"async def f():\n    await g(1)\n") != []
    for edit in find_python_edits(b'x = """\n    await g(1)\n"""\n'):
        compile(apply(edit, b'x = """\n    await g(1)\n"""\n'), "x", "exec")


def test_an_edit_has_run_if_its_line_has() -> None:
    source = b"def f():\n    a = 1\n    return [row for row in rows]\n"
    (edit,) = find_python_edits(source)
    assert edit.reach == range(3, 4)


def test_every_kind_is_there_for_both_languages() -> None:
    python, script = ({rule.operator for rule in read_rules(one)} for one in ("python", "script"))
    assert python - script == {"cookie-attribute"}
    assert script <= python
