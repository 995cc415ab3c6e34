"""Which values tell where a call comes from, and which never do."""

from __future__ import annotations

import pytest

from kebpf.recording.lineage import (
    MAX_PLACES,
    MAX_TOKENS,
    Inputs,
    PlaceMemory,
    choose_by_lineage,
    find_places,
    is_distinctive,
    template_of,
)


def inputs_of(*values: object) -> Inputs:
    inputs = Inputs()
    inputs.add(list(values))
    return inputs


NOTHING = [Inputs(), Inputs()]


@pytest.mark.parametrize(
    "token",
    [
        "bob@example.com",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "9f1c2d3e4b5a6978",
        "ord-2024-88123a",
    ],
)
def test_what_cannot_be_chance(token: str) -> None:
    assert is_distinctive(token)


@pytest.mark.parametrize(
    "token",
    ["42", "1700000000", "2024-01-01t00", "20240101", "information_schema", "x86_64", "utf8mb4",
     "applewebkit-537.36", "1700000000123456", "limit"],
)  # fmt: skip
def test_what_can(token: str) -> None:
    assert not is_distinctive(token)


def test_values_written_into_the_sql_are_places_too() -> None:
    first = find_places("db", "SELECT * FROM t WHERE id = 41", {"sql": "… id = 41"})
    second = find_places("db", "SELECT * FROM t WHERE id = 9", {"sql": "… id = 9"})
    assert [place.key for place in first] == [place.key for place in second]
    assert template_of("WHERE a = 'x' AND b = 12") == "WHERE a = ? AND b = ?"
    assert template_of("VALUES ('It''s', '', 2)") == "VALUES (?, ?, ?)"
    assert template_of(r"VALUES (E'a\'b\\', E'', e'''', ' E')") == "VALUES (?, ?, ?, ?)"
    assert template_of("LIKE'a' AND it's") == "LIKE? AND it's"


def test_a_place_is_proved_by_different_values_only() -> None:
    memory = PlaceMemory()
    for number in (1, 1, 1, 1):
        memory.learn(find_places("db", "S", [number]), inputs_of(number))
    assert not memory.is_proved(find_places("db", "S", [9])[0])
    for number in (2, 3):
        memory.learn(find_places("db", "S", [number]), inputs_of(number))
    assert memory.is_proved(find_places("db", "S", [9])[0])
    memory.learn(find_places("db", "S", [4]), inputs_of(5))
    assert not memory.is_proved(find_places("db", "S", [9])[0])


def test_a_proved_value_that_no_candidate_has_speaks_against_all() -> None:
    memory = PlaceMemory()
    for number in (1, 2, 3):
        memory.learn(find_places("db", "S", [number, "x"]), inputs_of(number))
    key = "9f1c2d3e4b5a6978"
    candidates = [inputs_of(key), inputs_of("b")]
    assert choose_by_lineage(find_places("db", "T", [key]), memory, candidates, NOTHING) == 0
    assert choose_by_lineage(find_places("db", "S", [7, key]), memory, candidates, NOTHING) is None


def test_what_came_in_may_be_more_than_was_looked_at() -> None:
    key = "9f1c2d3e4b5a6978"
    huge = inputs_of(*range(MAX_TOKENS * 2))
    assert huge.is_partial
    candidates = [inputs_of(key), huge]
    assert (
        choose_by_lineage(find_places("db", "T", [key]), PlaceMemory(), candidates, NOTHING) is None
    )


def test_a_word_that_is_anothers_by_chance_does_not_outweigh_an_id() -> None:
    """The program writes ``&`` as ``\\u0026``, as an answer to somebody else has it."""
    memory = PlaceMemory()
    for word in ("tea", "cup", "pot"):
        memory.learn(find_places("db", "S", {"body": word}), inputs_of(word))
    places = find_places("db", "S", {"id": 30805, "body": "u0026"})
    maker, reader = inputs_of(30805, "&"), inputs_of(30804, "u0026")
    assert choose_by_lineage(places, memory, [maker, reader], NOTHING) is None
    assert choose_by_lineage(places[1:], memory, [maker, reader], NOTHING) == 1
    for number in range(9):  # of the program's own making: its numbers tell nothing
        memory.learn(find_places("db", "S", {"id": number}), inputs_of("b"))
    assert choose_by_lineage(places, memory, [maker, reader], NOTHING) == 1


def test_memories_are_capped() -> None:
    assert len(find_places("db", "S", list(range(1000)))) == MAX_PLACES
    memory = PlaceMemory(cap=10)
    for number in range(50):
        memory.learn(find_places("db", f"S{'x' * number}", [number]), inputs_of(number))
    assert len(memory) == 10


def test_words_in_a_number_that_was_not_decoded_are_none() -> None:
    number, text = (1346).to_bytes(8, "big"), "früh".encode()
    places = find_places("db", "S", {"a": number, "b": text})
    assert [place.token for place in places] == ["fr", "h"]


def observe(memory: PlaceMemory, *calls: tuple[object, list[Inputs]]) -> None:
    for value, certain in calls:
        memory.observe(find_places("db", "S", [value]), certain, [Inputs()] * len(certain))


def test_a_place_proves_itself_by_what_one_request_alone_had() -> None:
    memory = PlaceMemory()
    place = find_places("db", "S", [99])[0]
    calls = [(number % 3, [inputs_of(number % 3), inputs_of("b")]) for number in range(8)]
    observe(memory, *calls[:7])
    assert not memory.is_proved(place)
    observe(memory, calls[7])
    assert memory.is_proved(place)
    observe(memory, (7, [inputs_of("a"), inputs_of("b")]))  # from neither
    assert not memory.is_proved(place)


def test_what_several_requests_had_or_may_have_had_proves_nothing() -> None:
    memory = PlaceMemory()
    place = find_places("db", "S", [99])[0]
    for number in range(20):
        both, none = inputs_of(number), inputs_of("b")
        observe(memory, (number, [both, both]), (1, [inputs_of(1), none]))
        memory.observe(find_places("db", "S", [number]), [both, none], [none, both])
        memory.observe(find_places("db", "S", [number]), [none, none], [none, both])
    assert not memory.is_proved(place)
    observe(memory, *((number, [inputs_of(number), inputs_of("b")]) for number in (2, 3)))
    assert memory.is_proved(place)  # and nothing has refuted it


def test_a_value_from_an_answer_in_doubt_refutes_nothing() -> None:
    memory = PlaceMemory()
    for number in (1, 2, 3, 4):
        came = inputs_of(number if number < 4 else "other")
        memory.learn(find_places("db", "S", [number]), came, inputs_of(number))
    assert memory.is_proved(find_places("db", "S", [9])[0])


PHRASES = [f"{word} is what the customer wrote" for word in ("Good", "Bad", "Odd", "Late")]


def test_a_long_text_tells_where_texts_vary() -> None:
    memory = PlaceMemory()
    for count, phrase in enumerate(PHRASES):
        places = find_places("db", "S", [phrase])
        memory.note_phrases(places)
        chosen = choose_by_lineage(places, memory, [inputs_of(phrase), inputs_of("b")], NOTHING)
        assert chosen == (0 if count >= 2 else None)


def test_a_long_text_of_the_programs_own_tells_nothing() -> None:
    memory = PlaceMemory()
    places = find_places("db", "S", [PHRASES[0]])
    for _ in range(9):
        memory.note_phrases(places)
    certain = [inputs_of(PHRASES[0]), inputs_of("b")]
    assert choose_by_lineage(places, memory, certain, NOTHING) is None


def test_a_long_text_from_an_answer_tells_nothing() -> None:
    memory = PlaceMemory()
    for phrase in PHRASES:
        memory.note_phrases(find_places("db", "S", [phrase]))
    places = find_places("db", "S", [PHRASES[0]])
    asked = inputs_of("a")
    asked.take(inputs_of(PHRASES[0]))
    assert choose_by_lineage(places, memory, [asked, inputs_of("b")], NOTHING) is None
    brought, answer = inputs_of(PHRASES[0]), inputs_of(PHRASES[0])
    assert choose_by_lineage(places, memory, [brought, inputs_of("b")], NOTHING) == 0
    assert choose_by_lineage(places, memory, [brought, inputs_of("b")], [Inputs(), answer]) is None
