"""A message body in a form people can read and edit, from which its bytes come back exactly.

A JSON body is a tree with the style its program writes JSON in; where no style gives the same
bytes, the raw text (or, for a compressed body, its base64) stands beside the tree and counts as
long as the tree still says the same.  Other text is text, all else base64.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from typing import Any

from kebpf.recording.jsonstyle import JsonStyle, canonical_json, guess_style, parse_json_tree
from kebpf.recording.yamltext import BodyForm, as_readable_text

UNPACKED_CAP = 4 << 20  # bytes of a compressed body shown beside it
TREE_CAP = 16 << 20  # bytes of JSON written as a tree


def form_of_body(body: bytes, encoding: str = "") -> BodyForm:
    """The readable form; ``encoding`` is the message's Content-Encoding in lower case."""
    text = as_readable_text(body)
    form = _form_of_text(text) if text is not None else _form_of_bytes(body, encoding)
    return BodyForm(form, size=len(body))


def body_of_form(form: BodyForm) -> bytes:
    """The bytes of a form, also of one a person edited.  Raises ``ValueError``."""
    if "json" in form:
        return _bytes_of_json(form)
    if "text" in form:
        return _need_text(form, "text").encode()
    if "base64" in form:
        return _from_base64(form)
    raise ValueError("a body needs one of json, text or base64")


def _form_of_text(text: str) -> dict[str, Any]:
    tree = parse_json_tree(text) if len(text) <= TREE_CAP else None
    if tree is None:
        return {"text": text}
    style = guess_style(text)
    form = {"json": tree, "style": str(style)}
    return form if style.dump(tree) == text else form | {"raw": text}


def _form_of_bytes(body: bytes, encoding: str) -> dict[str, Any]:
    packed = {"base64": base64.encodebytes(body).decode()}
    plain = _unpack(body, encoding)
    text = as_readable_text(plain) if plain is not None else None
    tree = parse_json_tree(text) if text is not None else None
    if text is None or tree is None:
        return packed
    return {"json": tree, "style": str(guess_style(text)), "encoding": encoding} | packed


def _unpack(body: bytes, encoding: str) -> bytes | None:
    """A gzip body unpacked, or ``None`` if it is not one, is damaged or too large to show."""
    if encoding not in ("gzip", "x-gzip"):
        return None
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, UNPACKED_CAP)
    except zlib.error:
        return None
    return plain if unpacker.eof and not unpacker.unused_data else None


def _bytes_of_json(form: BodyForm) -> bytes:
    tree = form["json"]
    try:
        wanted = canonical_json(tree)
    except TypeError as error:
        raise ValueError(f"the json of a body holds what JSON cannot: {error}") from error
    if "raw" in form:
        raw = _need_text(form, "raw")
        if canonical_json(parse_json_tree(raw)) == wanted:
            return raw.encode()
    if "base64" in form:
        return _repacked(form, wanted)
    return _write_json(form)


def _write_json(form: BodyForm) -> bytes:
    style = JsonStyle.parse(str(form.get("style", "compact")))
    return style.dump(form["json"]).encode()


def _repacked(form: BodyForm, wanted: str) -> bytes:
    packed, encoding = _from_base64(form), str(form.get("encoding", ""))
    plain = _unpack(packed, encoding)
    if plain is not None and canonical_json(parse_json_tree(plain.decode())) == wanted:
        return packed
    return gzip.compress(_write_json(form), mtime=0)


def _need_text(form: BodyForm, key: str) -> str:
    if not isinstance(form[key], str):
        raise ValueError(f"the {key} of a body is not a string: put it in quotes")
    return str(form[key])


def _from_base64(form: BodyForm) -> bytes:
    try:
        return base64.b64decode("".join(_need_text(form, "base64").split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the base64 of a body is damaged ({error})") from error
