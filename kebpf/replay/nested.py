"""Compares two tokens that say something, such as JSON Web Tokens (RFC 7519), value by value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kebpf.recording.wrapping import has_random_signature, open_token, read_class

Pair = tuple[str, str, str]  # class name, recorded token, actual token
Pairing = Callable[[str, Any, Any], list[Pair] | None]


def open_pair(
    pair: Pair, to_actual: Callable[[Any], Any], pair_tokens: Pairing
) -> list[Pair] | None:
    """The pairs of generated values in a pair of tokens, none for a pair that cannot be opened.

    ``None`` when the tokens disagree: in a value that is not generated, once ``to_actual`` has
    translated it, or in the form of one that is.  Two that say the same are the same, unless
    their signature is a random one; otherwise a signature has only its length.
    """
    class_name, recorded, actual = pair
    read = read_class(class_name)
    if read is None:
        return []
    old, new = open_token(recorded), open_token(actual)
    if old is None or new is None or old.kind != new.kind:
        return None
    if old.tree == new.tree and recorded != actual and not has_random_signature(old):
        return None
    return _pair_leaves(_leaves_of(old.tree), _leaves_of(new.tree), read[1], to_actual, pair_tokens)


def _pair_leaves(
    old: dict[str, Any],
    new: dict[str, Any],
    templates: dict[str, str],
    to_actual: Callable[[Any], Any],
    pair_tokens: Pairing,
) -> list[Pair] | None:
    if old.keys() != new.keys():
        return None
    pairs: list[Pair] = []
    for path, value in old.items():
        template = templates.get(path)
        found = [] if template is None else pair_tokens(template, value, new[path])
        if found is None or (template is None and not _are_same(to_actual(value), new[path])):
            return None
        pairs += found
    return pairs


def _are_same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def _leaves_of(tree: Any) -> dict[str, Any]:
    """Every scalar and every empty container of a tree by its JSON pointer."""
    return dict(_walk(tree, ""))


def _walk(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _walk(value, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(tree, list) and tree:
        for index, value in enumerate(tree):
            yield from _walk(value, f"{path}/{index}")
    else:
        yield path, tree
