"""Learns which segments of paths stand for values, from the values that are seen.

A segment stands for a value if it looks like an id (it has a digit) and stands elsewhere in the
same exchange too, or if several segments at its place make requests that are alike in all else:
three that look like ids, or two dozen that do not.  What was learned is never unlearned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence

from kebpf.recording.dedup.groups import Group

FEW = 3  # segments that look like ids and are alike: more are values
MANY = 24  # likewise of words
HARDLY_EVER = 2  # times
MOST_CHILDREN = 500  # of one place: more are values whatever they are
MOST_NODES = 20_000
MOST_ALIKE = 100_000  # remembered over all places
ANY = "{}"  # stands for a value in a template

Evidence = Callable[[], Collection[str]]

_DIGIT = re.compile(r"\d")
_VERSION = re.compile(r"v\d+(?:[.-]\w+)*", re.IGNORECASE)


class _Node:
    """What may come at one place of a path."""

    __slots__ = ("alike", "any", "children", "groups", "seen", "takes_ids", "takes_words")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.seen = 0  # requests
        self.takes_ids = False
        self.takes_words = False
        self.groups: dict[str, Group] = {}  # by method, of the requests that end here
        self.alike: dict[tuple[object, ...], set[str]] = {}  # children by what follows

    def takes(self, segment: str) -> bool:
        """Whether a segment that is not known is a value."""
        return self.takes_words or (self.takes_ids and looks_like_id(segment))


class Routes:
    """A tree of all paths; ``changed`` are the groups into which others were merged."""

    def __init__(self) -> None:
        self._root = _Node()
        self._nodes = 1
        self._remembered = 0
        self.changed: list[Group] = []

    def find(self, method: str, segments: Sequence[str], rest: bytes, evidence: Evidence) -> Group:
        """The group of a request; ``rest`` is the same for requests that are alike in all else.

        ``evidence`` gives the values in the rest of the exchange; it is asked only where need be.
        """
        line = self._walk(segments, evidence)
        for node in line:
            node.seen += 1
        if self._learn(line, segments, (method, rest)):
            line = self._walk(segments, evidence)
        group = line[-1].groups.get(method)
        if group is None:
            group = line[-1].groups[method] = Group()
        return group

    def groups(self) -> Iterator[tuple[str, Group]]:
        """All groups, each with its method and template."""
        waiting = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            for method, group in node.groups.items():
                yield f"{method} {path or '/'}", group
            waiting += [(f"{path}/{name}", child) for name, child in node.children.items()]
            if node.any is not None:
                waiting.append((f"{path}/{ANY}", node.any))

    def _walk(self, segments: Sequence[str], evidence: Evidence) -> list[_Node]:
        line = [self._root]
        for segment in segments:
            line.append(self._step(line[-1], segment, evidence))
        return line

    def _step(self, node: _Node, segment: str, evidence: Evidence) -> _Node:
        child = node.children.get(segment)
        if child is None and node.any is not None and node.takes(segment):
            return node.any
        if looks_like_id(segment) and segment in evidence():
            return self._take_ids(node)
        if child is not None:
            return child
        if self._nodes >= MOST_NODES or len(node.children) >= MOST_CHILDREN:
            return self._take_words(node, list(node.children))
        self._nodes += 1
        child = node.children[segment] = _Node()
        return child

    def _learn(
        self, line: Sequence[_Node], segments: Sequence[str], rest: tuple[object, ...]
    ) -> bool:
        """Notes what makes segments alike; whether some were found to be values."""
        behind: tuple[object, ...] = rest
        is_changed = False
        for node, child, segment in reversed(list(zip(line[:-1], line[1:], segments, strict=True))):
            if child is node.any:
                behind = (ANY, behind)
                continue
            is_changed = self._note_alike(node, segment, behind) or is_changed
            behind = (segment if child.seen > HARDLY_EVER else ANY, behind)
        return is_changed

    def _note_alike(self, node: _Node, segment: str, behind: tuple[object, ...]) -> bool:
        is_id = looks_like_id(segment)
        names = node.alike.setdefault((is_id, behind), set())
        if segment in names:
            return False
        names.add(segment)
        self._remembered += 1
        if len(names) > (FEW if is_id else MANY):
            if is_id:
                self._take_ids(node)
            else:
                self._take_words(node, list(names))
            return True
        if self._remembered > MOST_ALIKE:
            self._forget()
        return False

    def _forget(self) -> None:
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            node.alike.clear()
            waiting += [*node.children.values(), *([node.any] if node.any is not None else [])]
        self._remembered = 0

    def _take_ids(self, node: _Node) -> _Node:
        node.takes_ids = True
        return self._merge_children(node, [one for one in node.children if looks_like_id(one)])

    def _take_words(self, node: _Node, names: Sequence[str]) -> _Node:
        """From now on whatever is not known is a value, and so is what hardly ever came."""
        node.takes_ids = node.takes_words = True
        values = [
            name
            for name, child in node.children.items()
            if name in names or looks_like_id(name) or child.seen <= HARDLY_EVER
        ]
        return self._merge_children(node, values)

    def _merge_children(self, node: _Node, names: Sequence[str]) -> _Node:
        if node.any is None:
            node.any = _Node()
            self._nodes += 1
        for name in names:
            self._merge(node.any, node.children.pop(name))
        for key in [key for key, known in node.alike.items() if known.issubset(names)]:
            self._remembered -= len(node.alike.pop(key))
        return node.any

    def _merge(self, node: _Node, other: _Node) -> None:
        """Everything of ``other``, which is no more, becomes the node's."""
        self._nodes -= 1
        node.seen += other.seen
        self._remembered -= sum(map(len, other.alike.values()))
        for method, group in other.groups.items():
            if method in node.groups:
                node.groups[method].absorb(group)
                self.changed.append(node.groups[method])
            else:
                node.groups[method] = group
        node.takes_ids = node.takes_ids or other.takes_ids
        node.takes_words = node.takes_words or other.takes_words
        if other.any is not None:
            self._nodes += node.any is None
            node.any = node.any or _Node()
            self._merge(node.any, other.any)
        for name, child in other.children.items():
            self._merge_child(node, name, child)
        if node.any is not None and node.takes_ids:
            self._take_ids(node)

    def _merge_child(self, node: _Node, name: str, child: _Node) -> None:
        if name in node.children:
            self._merge(node.children[name], child)
        elif node.any is not None and node.takes(name):
            self._merge(node.any, child)
        else:
            node.children[name] = child


def split_path(target: str) -> list[str]:
    """The segments of a request's path, without empty ones."""
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = re.sub(r"^[a-z]+://[^/]*", "", path)
    return [segment for segment in path.split("/") if segment]


def looks_like_id(segment: str) -> bool:
    """Whether it has a digit and is no version such as ``v2``."""
    return _DIGIT.search(segment) is not None and _VERSION.fullmatch(segment) is None
