"""Classes of values that nothing binds: what verification asserts where a program draws lots.

From the strongest: ``one-of:red|green`` (literals, percent-encoded where need be),
``clock:FORMAT`` (see `clocks`), ``integer:1-3`` and ``signed:1-3`` (how many digits),
``decimal:1-3`` (digits before the point), ``text:CHARSET:8`` and ``text:CHARSET:1-20`` (how many
characters), and of the type alone ``number``, ``boolean``, ``string``.  ``permutation`` is of an
array whose items come in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote

from kebpf.recording import clocks

PERMUTATION = "{permutation}"
TYPE_ONLY = {"number": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", "boolean": "True|False", "string": ".*"}
CHARSETS = {
    "digits": "[0-9]", "lower": "[a-z]", "upper": "[A-Z]", "hex": "[0-9a-f]", "HEX": "[0-9A-F]",
    "letters": "[A-Za-z]", "lowernum": "[a-z0-9]", "uppernum": "[A-Z0-9]", "alnum": "[A-Za-z0-9]",
    "word": "[A-Za-z0-9_.-]", "ascii": "[ -~]", "line": "[^\\n]", "any": ".",
}  # fmt: skip
_NUMBERS = {
    "integer": r"\d{{{}}}",
    "signed": r"-?\d{{{}}}",
    "decimal": r"-?\d{{{}}}(?:\.\d+)?(?:[eE][+-]?\d+)?",
}
_KINDS = frozenset(("one-of", "clock", "text", *_NUMBERS, *TYPE_ONLY))


def is_loose_class(class_name: str) -> bool:
    """Whether values of the class need not be distinct, so that none is bound."""
    return class_name.partition(":")[0] in _KINDS


def takes_any_number(template: str) -> bool:
    """Whether integers and fractions are as good as each other where the template is."""
    return template == "{number}" or template.startswith("{decimal:")


def name_one_of(literals: Iterable[str]) -> str:
    """The class of some literals."""
    return "one-of:" + "|".join(quote(one, safe=" +,;:@=/") for one in sorted(literals))


def read_one_of(class_name: str) -> list[str]:
    """The literals of a ``one-of`` class."""
    return [unquote(one) for one in class_name.removeprefix("one-of:").split("|")]


@lru_cache(maxsize=4096)
def loose_pattern(class_name: str) -> str:
    """The regular expression, without groups, of a class.  Raises ``ValueError``."""
    kind, _, rest = class_name.partition(":")
    if kind == "one-of":
        literals = sorted(read_one_of(class_name), key=len, reverse=True)
        return f"(?:{'|'.join(map(re.escape, literals))})"
    if kind == "clock":
        return clocks.clock_pattern(clocks.split_shift(rest)[0])
    if class_name in TYPE_ONLY:
        return f"(?:{TYPE_ONLY[class_name]})"
    if kind in _NUMBERS:
        return _NUMBERS[kind].format(_read_span(rest, class_name))
    charset, _, span = rest.partition(":")
    if kind != "text" or charset not in CHARSETS:
        raise ValueError(f"unknown value class {class_name!r}")
    return f"{CHARSETS[charset]}{{{_read_span(span, class_name)}}}"


def _read_span(text: str, class_name: str) -> str:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None:
        raise ValueError(f"unknown value class {class_name!r}")
    return ",".join(part for part in match.groups() if part)
