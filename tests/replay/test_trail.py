"""What is known of a transaction when it ends."""

from __future__ import annotations

from kebpf.replay.trail import Ended, Trail


def play(*steps: str | int) -> list[Ended]:
    """The ends of transactions: texts are statements, numbers are mocks that were served."""
    trail, found = Trail(), []
    for step in steps:
        if isinstance(step, int):
            trail.note_served(step)
        elif step == "stray":
            trail.note_stray()
        elif (ended := trail.follow({"sql": step})) is not None:
            found.append(ended)
    return found


def test_a_transaction_holds_what_was_served_since_it_began() -> None:
    (ended,) = play(1, "BEGIN", 2, 3, "COMMIT")
    assert ended == Ended("COMMIT", [2, 3], [], has_strays=False, is_opened=True)
    (ended,) = play("stray", 1, "ROLLBACK")
    assert ended == Ended("ROLLBACK", [1], [], has_strays=True, is_opened=False)


def test_each_transaction_is_one_of_its_own() -> None:
    first, second = play("BEGIN ISOLATION LEVEL SERIALIZABLE", 1, "COMMIT", 2, "COMMIT")
    assert (first.served, first.steps) == ([1], ["BEGIN ISOLATION LEVEL SERIALIZABLE"])
    assert (second.served, second.steps, second.is_opened) == ([2], [], False)


def test_a_chained_one_is_begun() -> None:
    first, second = play("BEGIN", 1, "COMMIT AND CHAIN", 2, "COMMIT")
    assert (first.is_opened, second.is_opened, second.served) == (True, True, [2])
    assert not play("BEGIN", 1, "COMMIT AND NO CHAIN", 2, "COMMIT")[1].is_opened


def test_one_that_is_begun_or_ended_twice() -> None:
    assert play("BEGIN", "BEGIN", 1, "COMMIT")[0].steps == ["BEGIN"]
    assert play("BEGIN", 1, "BEGIN", 2, "COMMIT")[0].steps == []  # its end may not have been seen
    first, second, third = play("BEGIN", 1, "COMMIT", "COMMIT", "COMMIT")
    assert (first.is_again, second.is_again, third.is_again) == (False, True, True)
    assert third.served == [1]
    assert [one.is_again for one in play("BEGIN", 1, "COMMIT", "SET x = 1", "COMMIT")] == [
        False,
        False,
    ]
    assert [one.is_again for one in play("BEGIN", 1, "COMMIT", "BEGIN", "COMMIT")] == [False, False]
