"""A test case as one readable YAML file, and back."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.body import body_of_form, form_of_body
from kebpf.recording.casefields import check_fields
from kebpf.recording.mockfile import fields_of_tls
from kebpf.recording.model import Endpoint, Strength, TestCase, Timing, Tls
from kebpf.recording.yamlemit import emit_yaml
from kebpf.recording.yamltext import BodyForm, YamlError, dump_yaml, load_yaml

_HEAD = (
    "# A recorded request and its response. Bodies may be edited: what is written here counts.\n"
)


def write_case(case: TestCase) -> str:
    """The file of a case.  Raises ``ValueError`` if it would not read back as it is."""
    return write_head(case) + write_middle(case) + write_tail(case)


def fingerprint_case(case: TestCase) -> str:
    """The same for cases that ask for the same and assert the same."""
    parts: tuple[object, ...]
    parts = (case.name, case.request, case.response, case.generated, case.calls)
    if case.tls is not None:
        parts = (*parts, case.tls)
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def write_head(case: TestCase) -> str:
    """The beginning of the file: the name."""
    return _HEAD + _write({"name": case.name})


def write_middle(case: TestCase) -> str:
    """What is between `write_head` and `write_tail`: all that was sent and received.

    Raises ``ValueError`` if the case would not read back as it is.
    """
    tree = _middle_of_case(case)
    middle = emit_yaml(tree)
    if middle is not None and _has_plain_fields(case):
        return middle
    head, tail = write_head(case), write_tail(case)
    for quote_all in (False, True):
        middle = dump_yaml(tree, quote_all)
        if _reads_back(head + middle + tail, case):
            return middle
    raise ValueError("the case would not read back as it was recorded")


def write_tail(case: TestCase) -> str:
    """The end of the file of a case: what another recording of it may have otherwise."""
    timing = case.timing
    tree: dict[str, Any] = {
        "calls": case.calls,
        "order": case.order,
        "timing": {"start_ns": timing.start_ns, "end_ns": timing.end_ns},
    }
    if case.is_kept_open:
        tree["kept_open"] = True
    if case.needs:
        tree["needs"] = case.needs
    if case.verified:
        tree["verified"] = case.verified
    if case.set_apart is not None:
        tree["set_apart"] = case.set_apart
    return _write(tree) + write_share(case.seen, case.shape)


def write_share(seen: int, shape: str) -> str:
    """The very last lines of a file: how many requests of which shape the case stands for."""
    return _write({"seen": seen, "shape": shape}) if seen else ""


def write_reason(reason: str) -> str:
    """The line, behind all others, that says why a case is not run."""
    return _write({"set_apart": reason})


def read_case(text: str | bytes) -> TestCase:
    """The case in a file.  Raises ``YamlError`` for the syntax, ``ValueError`` for the rest."""
    return _read_tree(load_yaml(text))


def read_edited_case(text: str | bytes) -> TestCase:
    """The same of a file that a person may have edited.  Raises ``FieldError`` too."""
    tree = load_yaml(text)
    if isinstance(tree, dict):
        check_fields(tree, text)
    return _read_tree(tree)


def _read_tree(tree: Any) -> TestCase:
    if not isinstance(tree, dict):
        raise ValueError("it does not hold a test case")
    try:
        return _case_of_tree(tree)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is missing") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"a value has the wrong type ({error})") from error


def _write(tree: dict[str, Any]) -> str:
    return emit_yaml(tree) or dump_yaml(tree)


def _has_plain_fields(case: TestCase) -> bool:
    """Whether a case whose YAML reads back does so itself: what `_case_of_tree` makes of it."""
    return _is_parsed_back(case.endpoint) and not any(
        _has_body_form(document) for document in (case.request, case.response)
    )


@lru_cache(maxsize=256)
def _is_parsed_back(endpoint: Endpoint) -> bool:
    try:
        return Endpoint.parse(str(endpoint)) == endpoint
    except ValueError:
        return False


def _has_body_form(document: Document) -> bool:
    return isinstance(document.get("body"), BodyForm)


def _reads_back(text: str, case: TestCase) -> bool:
    try:
        return repr(read_case(text)) == repr(case)  # repr: tells 1, 1.0 and True apart
    except YamlError:
        return False


def _middle_of_case(case: TestCase) -> dict[str, Any]:
    strength = case.strength
    return {
        "protocol": case.protocol,
        "endpoint": str(case.endpoint),
        **({} if case.tls is None else {"tls": fields_of_tls(case.tls)}),
        "request": _tree_of_document(case.request),
        "response": _tree_of_document(case.response),
        "generated": case.generated,
        "strength": {
            "exact": strength.exact,
            "by_class": strength.by_class,
            "not_compared": strength.not_compared,
        },
    }


def _case_of_tree(tree: dict[str, Any]) -> TestCase:
    strength, timing = tree.get("strength", {}), tree["timing"]
    return TestCase(
        name=str(tree["name"]),
        protocol=str(tree["protocol"]),
        request=_document_of_tree(_need_mapping(tree, "request")),
        response=_document_of_tree(_need_mapping(tree, "response")),
        endpoint=Endpoint.parse(str(tree["endpoint"])),
        timing=Timing(int(timing["start_ns"]), int(timing["end_ns"])),
        order=int(tree["order"]),
        calls=[str(name) for name in tree.get("calls") or []],
        generated={str(path): str(kind) for path, kind in (tree.get("generated") or {}).items()},
        strength=Strength(**{str(key): int(value) for key, value in strength.items()}),
        verified=[dict(entry) for entry in tree.get("verified") or []],
        set_apart=None if tree.get("set_apart") is None else str(tree["set_apart"]),
        is_kept_open=tree.get("kept_open") is True,
        tls=_tls_of_tree(tree),
        seen=int(tree.get("seen") or 0),
        shape=str(tree.get("shape") or ""),
        needs=[str(name) for name in tree.get("needs") or []],
    )


def _tls_of_tree(tree: dict[str, Any]) -> Tls | None:
    if "tls" not in tree:
        return None
    fields = {} if tree["tls"] is None else _need_mapping(tree, "tls")
    return Tls(**{str(key): str(value) for key, value in fields.items()})


def _need_mapping(tree: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(tree[key], dict):
        raise ValueError(f"{key!r} is not a mapping")
    return dict(tree[key])


def _tree_of_document(document: Document) -> dict[str, Any]:
    body = document.get("body")
    if not isinstance(body, bytes):
        return document
    return document | {"body": form_of_body(body, _header(document, "content-encoding"))}


def _document_of_tree(tree: dict[str, Any]) -> Document:
    form = tree.get("body")
    if not isinstance(form, BodyForm):
        return tree
    document = tree | {"body": body_of_form(form)}
    recorded_size, size = form.get("size"), len(document["body"])
    if isinstance(recorded_size, int) and recorded_size != size:
        _correct_length(document, recorded_size, size)
    return document


def _correct_length(document: Document, recorded_size: int, size: int) -> None:
    """A person edited the body: the Content-Length that was its size is so again."""
    for pair in document.get("headers") or []:
        if _as_text(pair[0]).lower() == "content-length" and _as_text(pair[1]) == str(
            recorded_size
        ):
            pair[1] = str(size).encode() if isinstance(pair[1], bytes) else str(size)


def _header(document: Document, name: str) -> str:
    headers = document.get("headers")
    for pair in headers if isinstance(headers, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and _as_text(pair[0]).lower() == name:
            return _as_text(pair[1]).strip().lower()
    return ""


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
