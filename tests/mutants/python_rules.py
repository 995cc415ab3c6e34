"""Edits of Python source, found in its syntax tree; what is not edited stays as it is."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutants.mutant import Edit
from tests.mutants.sql_rules import change_sql, change_text, is_sql

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Mod: ("%", "*"),
    ast.BitXor: ("^", "|"),
}
_FRESH = frozenset({"uuid4", "now", "token_hex", "token_urlsafe"})  # a new value each time
_SWITCHES = frozenset({"has_bug", "BUG"})  # the applications' own regressions are not there
_HOLES = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
_PLAIN = re.compile(r"(?!)")
_STRING = re.compile(r"(?P<prefix>\w*)(?P<quote>\"\"\"|'''|\"|')(?P<text>.*)(?P=quote)", re.DOTALL)
_STATUSES = range(100, 600)


def find_edits(source: bytes) -> list[Edit]:
    """All edits of a module; each gives a module that parses."""
    found = _Finder(source).find()
    return [edit for edit in found if parses(source[: edit.start] + edit.text + source[edit.end :])]


def parses(source: bytes) -> bool:
    """Whether it is Python."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


@dataclass(frozen=True)
class _Literal:
    """A STRING token: where its text between the quotes begins, and that text."""

    start: int
    end: int
    text_start: int
    text: str
    is_template: bool
    is_bytes: bool


class _Finder:
    """Walks a module and collects edits."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._tree = ast.parse(source)
        lines = source.splitlines(keepends=True)
        self._offsets = [0]
        for line in lines:
            self._offsets.append(self._offsets[-1] + len(line))
        self._literals = list(self._read_literals())
        self._edits: list[Edit] = []
        self._reach = range(0)
        self._skipped: set[int] = set()

    def find(self) -> list[Edit]:
        self._visit(self._tree)
        return self._edits

    def _visit(self, node: ast.AST) -> None:
        if id(node) in self._skipped or isinstance(node, ast.Import | ast.ImportFrom):
            return
        outer = self._reach
        if isinstance(node, ast.stmt):
            self._reach = _reach_of(node)
            self._edit_statement(node)
        elif isinstance(node, ast.expr | ast.keyword):
            self._edit_expression(node)
        for child in _children(node):
            self._visit(child)
        self._reach = outer

    # where things are

    def _at(self, line: int, column: int) -> int:
        return self._offsets[line - 1] + column

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(
            node.end_lineno, node.end_col_offset
        )

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _add(self, operator: str, start: int, end: int, text: str) -> None:
        self._edits.append(Edit(operator, start, end, text.encode(), self._reach))

    def _replace(self, operator: str, node: ast.expr | ast.stmt, text: str) -> None:
        self._add(operator, *self._span(node), text)

    def _swap(self, operator: str, one: ast.expr, other: ast.expr) -> None:
        (start, middle), (begin, end) = self._span(one), self._span(other)
        between = self._source[middle:begin].decode()
        self._add(operator, start, end, f"{self._text(other)}{between}{self._text(one)}")

    # statements

    def _edit_statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign) and _is_switch(node.targets[0]):
            self._skipped.update(map(id, ast.walk(node)))
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._skip_annotations(node)
            self._edit_variables(node)
        elif isinstance(node, ast.AnnAssign):
            self._skipped.add(id(node.annotation))
        elif isinstance(node, ast.If):
            self._edit_condition(node)
        elif isinstance(node, ast.Return) and node.value is not None:
            self._replace("return-none", node, "return None")
        if _is_droppable(node):
            self._replace("drop-statement", node, "pass")
        if isinstance(node, ast.Expr | ast.Assign) and _may_call_out(node.value):
            indent = " " * node.col_offset
            again = f"{self._text(node.value)}\n{indent}{self._text(node)}"
            self._replace("double-call", node, again)

    def _skip_annotations(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for annotation in [*(one.annotation for one in arguments), node.returns]:
            if annotation is not None and not _has_call(annotation):
                self._skipped.add(id(annotation))

    def _edit_condition(self, node: ast.If) -> None:
        if _is_switch(node.test):
            dead = node.orelse if _is_negated(node.test) else node.body
            self._skipped.update(map(id, [node.test, *dead]))
            return
        self._replace("negate", node.test, f"not ({self._text(node.test)})")

    def _edit_variables(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Identifiers taken for one another, and values made anew where they are used again."""
        fresh = {
            target.id: self._text(one.value)
            for one in ast.walk(node)
            if isinstance(one, ast.Assign) and _call_name(one.value) in _FRESH
            for target in one.targets
            if isinstance(target, ast.Name)
        }
        uses = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id not in _SWITCHES]
        names = {n.id for n in uses} | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        ids = sorted(name for name in names if name.endswith("_id"))
        head = self._reach
        for use in uses:
            if not isinstance(use.ctx, ast.Load) or _is_within_template(node, use):
                continue
            self._reach = range(use.lineno, use.lineno + 1)
            if use.id in fresh:
                self._replace("make-anew", use, fresh[use.id])
            if use.id in ids and len(ids) > 1:
                self._replace("swap-id", use, ids[ids.index(use.id) - 1])
        self._reach = head

    # expressions

    def _edit_expression(self, node: ast.expr | ast.keyword) -> None:
        match node:
            case ast.Constant():
                self._edit_constant(node)
            case ast.JoinedStr():
                self._edit_strings(node)
                self._skipped.update(map(id, ast.walk(node)))
            case ast.Dict():
                self._edit_fields(node)
            case ast.Call():
                self._edit_call(node)
            case ast.IfExp():
                self._edit_choice(node)
            case ast.Tuple() | ast.List() if isinstance(node.ctx, ast.Load):
                self._swap_neighbours("swap-elements", node.elts)
            case ast.expr():
                self._edit_operation(node)

    def _edit_operation(self, node: ast.expr) -> None:
        match node:
            case ast.Compare() if len(node.ops) == 1:
                pair = _COMPARISONS.get(type(node.ops[0]))
                self._edit_operator("comparison", node.left, node.comparators[0], pair)
            case ast.BinOp():
                pair = _ARITHMETIC.get(type(node.op))
                self._edit_operator("arithmetic", node.left, node.right, pair)
            case ast.BoolOp():
                pair = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for one, other in zip(node.values, node.values[1:], strict=False):
                    self._edit_operator("logic", one, other, pair)
            case ast.UnaryOp(op=ast.Not()):
                self._replace("logic", node, f"bool({self._text(node.operand)})")

    def _edit_operator(
        self, operator: str, left: ast.expr, right: ast.expr, pair: tuple[str, str] | None
    ) -> None:
        """Replaces the operator that stands between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        if pair is None:
            return
        between = self._source[start:end].decode()
        found = re.search(rf"(?<!\w){re.escape(pair[0])}(?!\w)", between)
        if found is not None:
            place = start + len(between[: found.start()].encode())
            self._add(operator, place, place + len(pair[0]), pair[1])

    def _edit_choice(self, node: ast.IfExp) -> None:
        if _is_switch(node.test):
            dead = node.orelse if _is_negated(node.test) else node.body
            self._skipped.update(map(id, (node.test, dead)))
            return
        self._replace("negate", node.test, f"not ({self._text(node.test)})")

    def _edit_constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool():
                self._replace("constant", node, str(not node.value))
            case int() if node.value in _STATUSES:
                self._replace("status", node, str(node.value + 1))
            case int():
                self._replace("number", node, str(node.value + 1))
            case str() | bytes():
                self._edit_strings(node)
            case None:
                self._replace("constant", node, "0")

    def _edit_strings(self, node: ast.Constant | ast.JoinedStr) -> None:
        start, end = self._span(node)
        parts = [one for one in self._literals if start <= one.start and one.end <= end]
        is_statement = is_sql("".join(one.text for one in parts))
        for part in parts:
            holes = _HOLES if part.is_template else _PLAIN
            changes = change_sql(part.text) if is_statement else change_text(part.text, holes)
            operator = "sql" if is_statement else "text"
            for first, last, text in changes:
                begin = part.text_start + len(part.text[:first].encode())
                stop = part.text_start + len(part.text[:last].encode())
                self._add(operator, begin, stop, text)

    def _edit_fields(self, node: ast.Dict) -> None:
        end = self._span(node)[1]
        if not node.keys:
            return
        self._add("add-field", end - 1, end, ', "mutant": 1}')
        starts = [self._span(key)[0] if key else None for key in node.keys]
        for place, begin in enumerate(starts):
            if begin is None:
                continue
            following = starts[place + 1] if place + 1 < len(starts) else None
            stop = following if following is not None else self._past_comma(node.values[place])
            self._add("drop-field", begin, stop, "")
        same = [value for key, value in zip(node.keys, node.values, strict=True) if key]
        self._swap_neighbours("swap-fields", same)

    def _past_comma(self, node: ast.expr) -> int:
        """Behind the node and the comma that may follow it."""
        end = self._span(node)[1]
        found = re.match(rb"\s*,", self._source[end:])
        return end + (found.end() if found else 0)

    def _edit_call(self, node: ast.Call) -> None:
        name = _call_name(node)
        if name in _SWITCHES:
            self._skipped.update(map(id, ast.walk(node)))
            return
        if name == "now":
            self._replace("shift-time", node, f"{self._text(node)}.replace(year=2020)")
            self._replace("shift-time", node, f"{self._text(node)}.replace(microsecond=0)")
        if not any(isinstance(one, ast.Starred) for one in node.args):
            self._swap_neighbours("swap-arguments", node.args)
        for keyword in node.keywords:
            if keyword.arg is not None:
                self._add(
                    "drop-keyword", self._span(keyword)[0], self._past_comma(keyword.value), ""
                )

    def _swap_neighbours(self, operator: str, nodes: list[ast.expr]) -> None:
        for one, other in zip(nodes[::2], nodes[1::2], strict=False):
            if ast.dump(one) != ast.dump(other):
                self._swap(operator, one, other)

    def _read_literals(self) -> Iterator[_Literal]:
        for token in tokenize.tokenize(io.BytesIO(self._source).readline):
            match = _STRING.fullmatch(token.string) if token.type == tokenize.STRING else None
            if match is None:
                continue
            start = self._byte_at(token.start)
            text_start = start + len(token.string[: match.start("text")].encode())
            prefix = match["prefix"].lower()
            end = start + len(token.string.encode())
            yield _Literal(start, end, text_start, match["text"], "f" in prefix, "b" in prefix)

    def _byte_at(self, place: tuple[int, int]) -> int:
        """A token's place (line, column in characters) as an offset in bytes."""
        line, column = place
        begin = self._offsets[line - 1]
        return begin + len(self._source[begin:].decode()[:column].encode())


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """All but docstrings and other expressions that are only text."""
    for child in ast.iter_child_nodes(node):
        is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not is_text:
            yield child


def _reach_of(node: ast.stmt) -> range:
    """The lines of a simple statement, or of the head of a compound one."""
    end = node.end_lineno or node.lineno
    body = getattr(node, "body", None)
    first = min((one.lineno for one in getattr(node, "decorator_list", ())), default=node.lineno)
    return range(first, body[0].lineno if body and body[0].lineno > first else end + 1)


def _is_droppable(node: ast.stmt) -> bool:
    match node:
        case ast.Expr():
            return _has_call(node.value)
        case ast.Assign():
            return isinstance(node.targets[0], ast.Subscript | ast.Attribute)
        case ast.Raise() | ast.Delete() | ast.AugAssign():
            return True
    return False


def _has_call(node: ast.expr) -> bool:
    return any(isinstance(one, ast.Call) for one in ast.walk(node))


def _may_call_out(node: ast.expr) -> bool:
    """Whether something is awaited, or a method of a member of something is called."""
    return any(
        isinstance(one, ast.Await)
        or (
            isinstance(one, ast.Call)
            and isinstance(one.func, ast.Attribute)
            and isinstance(one.func.value, ast.Attribute | ast.Call)
        )
        for one in ast.walk(node)
    )


def _call_name(node: ast.expr) -> str:
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
    return ""


def _is_switch(test: ast.expr) -> bool:
    names = {one.id for one in ast.walk(test) if isinstance(one, ast.Name)}
    return bool(names & _SWITCHES)


def _is_negated(test: ast.expr) -> bool:
    match test:
        case ast.UnaryOp(op=ast.Not()) | ast.Compare(ops=[ast.NotEq()]):
            return True
    return False


def _is_within_template(tree: ast.AST, use: ast.Name) -> bool:
    """Whether a name stands in an f-string, where this Python does not say where."""
    templates = (one for one in ast.walk(tree) if isinstance(one, ast.JoinedStr))
    return any(use is inner for one in templates for inner in ast.walk(one))
