"""Times as Go's RFC3339Nano, Python's isoformat and JavaScript's toISOString print them."""

from __future__ import annotations

import re

import pytest

from kebpf.recording.fractions import Fractions
from kebpf.recording.provenance import Provenance
from kebpf.recording.templates import class_pattern
from kebpf.recording.times import Window

MILLISECONDS = "time:%Y-%m-%dT%H:%M:%S.%3fZ"
SHORT = "2023-11-14T22:13:20.414Z"
BEGUN_NS = 1_700_000_000 * 1_000_000_000


def learn(*times: str) -> Fractions:
    fractions = Fractions()
    for time in times:
        fractions.learn([("/body/lines/0/made", time)])
    return fractions


@pytest.mark.parametrize(
    ("times", "notation", "fitting"),
    [
        (["2023-11-14T22:13:20.414Z", "2023-11-14T22:13:21.007Z"], ".%3f", ".414"),
        (["2023-11-14T22:13:20.414Z", "2023-11-14T22:13:20.41Z"], ".%f", ".4145"),
        (["2023-11-14T22:13:20.414445Z"], ".%f", ".414445"),
        (["2023-11-14T22:13:20.414Z", "2023-11-14T22:13:20.414445123Z"], ".%9f", ".414445123"),
        (["22:13:20.414", "at 2023-11-14 22:13:20.414445+00"], ".%f", ".414445"),
        (["1.2.3.456789", "no time"], ".%3f", ".414"),
    ],
)
def test_a_place_tells_how_many_digits_there_are(
    times: list[str], notation: str, fitting: str
) -> None:
    widened = learn(*times).widen("/body/lines/7/made", MILLISECONDS)
    assert widened == MILLISECONDS.replace(".%3f", notation)
    for fraction in (".414", fitting):
        assert re.fullmatch(class_pattern(widened), f"2023-11-14T22:13:20{fraction}Z")


def test_other_places_and_other_classes_stay() -> None:
    fractions = learn("2023-11-14T22:13:20.414445Z")
    assert fractions.widen("/body/made", MILLISECONDS) == MILLISECONDS
    assert fractions.widen("/body/lines/0/made", "uuid4") == "uuid4"
    assert fractions.widen("/body/lines/0/made", f"seen:{MILLISECONDS}") == (
        f"seen:{MILLISECONDS}".replace(".%3f", ".%f")
    )


def test_a_case_is_settled_by_what_others_showed() -> None:
    provenance = Provenance()
    window = Window(BEGUN_NS, BEGUN_NS + 1_000_000_000)
    body = {"body": {"made": SHORT}}
    alone = provenance.settle({}, [], body, window)
    assert alone.response == {"/body/made": f"{{{MILLISECONDS}}}"}
    provenance = Provenance()
    provenance.fractions.learn([("/body/made", "2023-11-14T22:13:20.414445Z")])
    among_others = provenance.settle({}, [], body, window)
    assert among_others.response == {"/body/made": f"{{{MILLISECONDS.replace('%3f', '%f')}}}"}
