"""Puts what came into a recorded response at the places a person accepted, and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.body import body_of_form, form_of_body
from kebpf.recording.model import TestCase
from kebpf.recording.yamltext import BodyForm
from kebpf.replay.events import Mismatch

_LISTS = ("headers", "trailers")
_ENCODING = "/headers/content-encoding"


class PatchError(ValueError):
    """The difference cannot be put into the recorded response; the text says why."""


@dataclass(slots=True)
class Patched:
    """A response with what was accepted; ``places`` are paths into its view that are new.

    ``generated`` are the templates that still hold.
    """

    response: Document
    generated: dict[str, str]
    places: list[str] = field(default_factory=list)

    def is_new(self, path: str) -> bool:
        """Whether the value at a path came in place of a recorded one."""
        return any(is_within(path, place) for place in self.places)


@dataclass(slots=True)
class _Field:
    name: str
    pair: list[Any]
    template: str | None = None
    is_new: bool = False


def is_within(path: str, place: str) -> bool:
    """Whether a JSON pointer is that of a place or leads into it."""
    return path == place or path.startswith(f"{place}/")


def is_of_whole_body(case: TestCase, mismatch: Mismatch) -> bool:
    """Whether a difference can be accepted with the whole body only: of a text, of its kind."""
    path = mismatch.place or mismatch.path
    if path in ("/body", "/body_kind") or mismatch.path == _ENCODING:
        return True
    return is_within(path, "/body") and "json" not in _form_of(case.response)


def patch_response(case: TestCase, actual: Document, accepted: Sequence[Mismatch]) -> Patched:
    """The recorded response with the accepted differences.  Raises `PatchError`."""
    if "status" not in case.response or "headers" not in case.response:
        return Patched(copy.deepcopy(actual), {}, [""])
    patched = Patched(copy.deepcopy(case.response), dict(case.generated))
    try:
        _patch(patched, case, actual, accepted)
    except (LookupError, TypeError, ValueError) as error:
        raise PatchError("it has no place in the recorded response") from error
    return patched


def _patch(
    patched: Patched, case: TestCase, actual: Document, accepted: Sequence[Mismatch]
) -> None:
    if any(one.path == "/status" for one in accepted):
        patched.response["status"] = actual["status"]
        if "reason" in actual:
            patched.response["reason"] = actual["reason"]
    for key in _LISTS:
        inside = [one for one in accepted if is_within(one.path, f"/{key}")]
        if inside:
            _patch_headers(patched, key, actual.get(key) or [], inside)
    in_body = [one for one in accepted if is_within(one.path, "/body") or one.path == "/body_kind"]
    if any(is_of_whole_body(case, one) for one in accepted):
        _replace_body(patched, actual)
    elif in_body:
        _patch_json(patched, actual, in_body)
    _correct_length(patched.response, len(case.response.get("body") or b""))


def _patch_headers(
    patched: Patched, key: str, came: list[Any], accepted: Iterable[Mismatch]
) -> None:
    fields = [
        _Field(_name(pair), list(pair), patched.generated.pop(f"/{key}/{number}/1", None))
        for number, pair in enumerate(patched.response.get(key) or [])
    ]
    gone: list[_Field] = []
    extra: list[tuple[int, _Field]] = []
    for one in accepted:
        _, _, name, *index = one.path.split("/")
        at = int(index[0]) if index else 0
        recorded = [held for held in fields if held.name == name]
        actual = [(place, pair) for place, pair in enumerate(came) if _name(pair) == name]
        if one.kind == "missing":
            gone.append(recorded[at])
        elif one.kind == "extra":
            place, pair = actual[at]
            extra.append((place, _Field(name, list(pair), is_new=True)))
        else:
            recorded[at].pair = [recorded[at].pair[0], actual[at][1][1]]
            recorded[at].template, recorded[at].is_new = None, True
    fields = [held for held in fields if not any(held is lost for lost in gone)]
    for place, new in sorted(extra, key=lambda pair: pair[0]):
        fields.insert(_place_after(fields, [_name(pair) for pair in came[:place]]), new)
    _put_headers(patched, key, fields)


def _put_headers(patched: Patched, key: str, fields: Sequence[_Field]) -> None:
    patched.response[key] = [held.pair for held in fields]
    for number, held in enumerate(fields):
        path = f"/{key}/{number}/1"
        if held.template is not None:
            patched.generated[path] = held.template
        if held.is_new:
            patched.places.append(path)


def _place_after(fields: Sequence[_Field], before: Sequence[str]) -> int:
    """Behind the last header that stood before it when it came."""
    for name in reversed(before):
        for number in range(len(fields) - 1, -1, -1):
            if fields[number].name == name:
                return number + 1
    return 0 if before == [] else len(fields)


def _name(pair: Sequence[Any]) -> str:
    name = pair[0]
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return text.lower()


def _replace_body(patched: Patched, actual: Document) -> None:
    patched.response["body"] = actual["body"]
    _forget(patched, "/body")


def _forget(patched: Patched, place: str) -> None:
    """The value there is another: what was asserted of it no longer is."""
    for path in [path for path in patched.generated if is_within(path, place)]:
        del patched.generated[path]
    patched.places.append(place)


def _form_of(response: Document) -> BodyForm:
    encodings = [pair[1] for pair in response["headers"] if _name(pair) == "content-encoding"]
    encoding = encodings[0] if encodings else ""
    text = encoding.decode("latin-1") if isinstance(encoding, bytes) else str(encoding)
    body = response.get("body")
    return form_of_body(body if isinstance(body, bytes) else b"", text.strip().lower())


def _patch_json(patched: Patched, actual: Document, accepted: Sequence[Mismatch]) -> None:
    form, came = _form_of(patched.response), _form_of(actual)
    tree, source = copy.deepcopy(form["json"]), came["json"]
    gone = []
    for one in accepted:
        place = one.place or one.path
        steps = _steps_of(place)
        if one.kind == "missing":
            gone.append((place, steps))
            continue
        value = copy.deepcopy(_find(source, _steps_of(one.path)[: len(steps)]))
        _put(tree, steps, value, one.kind == "extra")
        _forget(patched, place)
    for place, steps in sorted(gone, key=lambda pair: _order_of(pair[1]), reverse=True):
        _remove(tree, steps)
        _forget(patched, place)
        patched.places.remove(place)
    patched.response["body"] = body_of_form(BodyForm(form | {"json": tree}))


def _steps_of(pointer: str) -> list[str]:
    """The steps within the body."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[2:]]


def _order_of(steps: Sequence[str]) -> list[tuple[int, str]]:
    return [(int(step), "") if step.isdigit() else (0, step) for step in steps]


def _find(tree: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        tree = tree[step] if isinstance(tree, dict) else tree[int(step)]
    return tree


def _put(tree: Any, steps: Sequence[str], value: Any, is_extra: bool) -> None:
    *way, last = steps
    owner = _find(tree, way)
    if isinstance(owner, dict):
        owner[last] = value
    elif is_extra:
        owner.insert(int(last), value)
    else:
        owner[int(last)] = value


def _remove(tree: Any, steps: Sequence[str]) -> None:
    *way, last = steps
    owner = _find(tree, way)
    del owner[last if isinstance(owner, dict) else int(last)]


def _correct_length(response: Document, recorded_size: int) -> None:
    """A Content-Length that was the body's size is so again."""
    size = len(response.get("body") or b"")
    for pair in response["headers"]:
        if _name(pair) == "content-length" and str(_as_text(pair[1])) == str(recorded_size):
            pair[1] = str(size).encode() if isinstance(pair[1], bytes) else str(size)


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
