"""Every way in which other tools pass a wrong call is a finding here."""

from __future__ import annotations

import uuid

from kebpf.recording.model import Endpoint, Tier
from kebpf.replay.events import MissKind

from .builders import (
    CACHE,
    DATABASE,
    make_mock,
)
from .matching import Run, kinds, reason, rows

ALICE = "SELECT balance FROM accounts WHERE owner = $1"


class TestSameCalls:
    def test_as_recorded_gives_no_finding(self) -> None:
        run = Run(make_mock("GET", "x", answer=[1], case="a"))
        run.begin()
        assert run.matcher.pending() == ["GET ['x']"]
        assert rows(run.call("GET", "x")) == [1]
        assert run.matcher.pending() == []
        assert run.end() == []
        findings, ledger = run.matcher.finish()
        assert (findings, ledger.used, ledger.unused, ledger.misses) == ([], 1, [], 0)

    def test_alice_and_charlie_get_their_own_rows(self) -> None:
        run = Run(
            make_mock(ALICE, "alice", answer=[100], case="a"),
            make_mock(ALICE, "charlie", answer=[7], case="a"),
        )
        run.begin()
        assert rows(run.call(ALICE, "charlie")) == [7]
        assert rows(run.call(ALICE, "alice")) == [100]
        assert run.end() == []

    def test_equal_calls_are_answered_in_recorded_order(self) -> None:
        run = Run(*(make_mock("INCR", "n", answer=[n], case="a") for n in (1, 2, 3)))
        run.begin()
        assert [rows(run.call("INCR", "n")) for _ in range(3)] == [[1], [2], [3]]
        assert run.end() == []

    def test_the_running_case_goes_before_others(self) -> None:
        run = Run(
            make_mock("GET", "x", answer=["a"], case="a"),
            make_mock("GET", "x", answer=["b"], case="b"),
        )
        run.begin("b")
        assert rows(run.call("GET", "x")) == ["b"]
        assert run.end() == []

    def test_calls_may_come_in_any_order(self) -> None:
        run = Run(make_mock("GET", "x", case="a"), make_mock("GET", "y", case="a"))
        run.begin()
        run.call("GET", "y")
        run.call("GET", "x")
        assert run.end() == []

    def test_on_call_is_told_of_every_answer(self) -> None:
        run, told = Run(make_mock("GET", "x", case="a")), []
        run.matcher.on_call = lambda: told.append(1)
        run.begin()
        run.call("GET", "x")
        run.call("GET", "y")
        assert len(told) == 2


class TestWrongCalls:
    def test_a_lost_insert_is_missing(self) -> None:
        run = Run(make_mock("INSERT", 1, case="a"))
        run.begin()
        findings = run.end()
        assert kinds(findings) == [("missing", None)]
        assert findings[0].call == "INSERT [1]"
        assert findings[0].destination == "10.0.0.5:5432"
        assert run.matcher.finish()[1].unused == ["mock INSERT (1,) a"]

    def test_another_argument_is_changed_and_no_answer(self) -> None:
        run = Run(make_mock(ALICE, "alice", answer=[100], case="a"))
        run.begin()
        text = reason(run.call(ALICE, "charlie"))
        assert text.startswith("recorded but different")
        assert "/args/0 was 'alice', is 'charlie'" in text
        (finding,) = run.end()
        assert (finding.kind, finding.miss) == ("changed", MissKind.DIFFERENT)
        assert [(m.path, m.expected, m.actual) for m in finding.fields] == [
            ("/args/0", "alice", "charlie")
        ]

    def test_types_of_arguments_count(self) -> None:
        for other in (1.0, "1", True):
            run = Run(make_mock("GET", 1, case="a"))
            run.begin()
            reason(run.call("GET", other))
            assert kinds(run.end()) == [("changed", MissKind.DIFFERENT)]

    def test_another_destination_is_never_recorded(self) -> None:
        run = Run(make_mock("GET", "x", case="a"))
        run.begin()
        text = reason(run.call("GET", "x", at=CACHE))
        assert text == (
            "nothing was recorded at 10.0.0.6:6379; recorded destinations: 10.0.0.5:5432"
        )
        assert kinds(run.end()) == [("extra", MissKind.NEVER_RECORDED), ("missing", None)]

    def test_a_new_operation_is_never_recorded(self) -> None:
        run = Run(make_mock("GET", "x", case="a"))
        run.begin()
        run.call("GET", "x")
        assert reason(run.call("DELETE FROM t", 1, 2)).startswith("never recorded")
        assert kinds(run.end()) == [("extra", MissKind.NEVER_RECORDED)]
        assert run.matcher.finish()[1].misses == 1

    def test_one_read_too_many_is_answered_and_red(self) -> None:
        run = Run(make_mock("SELECT 1 FROM t", "x", answer=[1], case="a"))
        run.begin()
        run.call("SELECT 1 FROM t", "x")
        assert rows(run.call("SELECT 1 FROM t", "x")) == [1]
        (finding,) = run.end()
        assert (finding.kind, finding.miss) == ("repeated", MissKind.USED_UP)
        assert finding.note == "recorded once by case a"
        assert (finding.count, finding.recorded, finding.made) == (1, 1, 2)

    def test_a_read_whose_answers_differed_is_used_up(self) -> None:
        run = Run(*(make_mock("GET", "x", answer=[n], case="a") for n in (1, 2)))
        run.begin()
        run.call("GET", "x")
        run.call("GET", "x")
        assert "recorded 2 times by case a" in reason(run.call("GET", "x"))
        assert kinds(run.end()) == [("repeated", MissKind.USED_UP)]

    def test_a_write_too_many_is_used_up(self) -> None:
        run = Run(make_mock("INSERT", 1, case="a"))
        run.begin()
        run.call("INSERT", 1)
        assert reason(run.call("INSERT", 1)).startswith("recorded and used up")
        assert kinds(run.end()) == [("repeated", MissKind.USED_UP)]

    def test_a_call_of_another_case_is_answered_and_extra(self) -> None:
        run = Run(make_mock("GET", "x", answer=[5], case="b"), make_mock("GET", "y", case="a"))
        run.begin("a")
        run.call("GET", "y")
        assert rows(run.call("GET", "x")) == [5]
        (finding,) = run.end()
        assert (finding.kind, finding.note) == ("extra", "recorded in case b")
        run.begin("b")
        assert rows(run.call("GET", "x")) == [5]
        assert run.end() == []

    def test_a_call_between_cases_belongs_to_the_run(self) -> None:
        run = Run(make_mock("GET", "x", case="a"))
        run.begin()
        run.call("GET", "x")
        assert run.end() == []
        run.call("DELETE FROM t")
        assert kinds(run.matcher.finish()[0]) == [("extra", MissKind.NEVER_RECORDED)]


class TestPlaces:
    def test_any_recorded_resolver_answers_for_another(self) -> None:
        recorded, other = Endpoint("udp", "10.0.0.2", 53), Endpoint("udp", "127.0.0.11", 53)
        run = Run(make_mock("A db.local", answer=["10.0.0.5"], destination=recorded))
        assert rows(run.call("A db.local", at=other)) == ["10.0.0.5"]

    def test_protocol_of_a_place(self) -> None:
        run = Run(make_mock("GET", "x"))
        assert run.matcher.protocol_of(DATABASE) == "plain"
        assert run.matcher.protocol_of(CACHE) is None


class TestTiers:
    def test_start_up_calls_repeat_before_the_first_case_only(self) -> None:
        run = Run(make_mock("SELECT version", answer=[15]))
        for _ in range(3):
            assert rows(run.call("SELECT version")) == [15]
        run.begin()
        assert rows(run.call("SELECT version")) == [15]
        assert kinds(run.end()) == [("repeated", MissKind.USED_UP)]

    def test_background_calls_repeat_for_ever(self) -> None:
        run = Run(
            make_mock("GET", "health", answer=[1], tier=Tier.BACKGROUND),
            make_mock("GET", "health", answer=[2], tier=Tier.BACKGROUND),
        )
        run.begin()
        assert [rows(run.call("GET", "health")) for _ in range(4)] == [[1], [2], [2], [2]]
        assert run.end() == []

    def test_a_shared_call_is_asserted_once_over_its_cases(self) -> None:
        run = Run(make_mock("GET", "x", answer=[1], candidates=["a", "b"]))
        run.begin("a")
        assert rows(run.call("GET", "x")) == [1]
        assert run.end() == []
        run.begin("b")
        run.call("GET", "x")
        assert kinds(run.end()) == [("repeated", MissKind.USED_UP)]

    def test_a_shared_call_nobody_made_is_missing_in_the_run(self) -> None:
        run = Run(make_mock("GET", "x", candidates=["a", "b"]))
        for name in ("a", "b"):
            run.begin(name)
            assert run.end() == []
        assert kinds(run.matcher.finish()[0]) == [("missing", None)]

    def test_a_call_that_may_be_of_a_request_left_out_goes_to_its_case_first(self) -> None:
        run = Run(
            make_mock("GET", "x", answer=[1], candidates=["b"], tier=Tier.BACKGROUND),
            make_mock("GET", "x", answer=[2], candidates=["a"], tier=Tier.BACKGROUND),
            make_mock("GET", "y", candidates=["a"], tier=Tier.BACKGROUND),
        )
        for name, answer in (("a", [2]), ("b", [1])):
            run.begin(name)
            assert rows(run.call("GET", "x")) == answer
            assert run.end() == []
        assert run.matcher.finish()[0] == []  # nobody need have made the other

    def test_a_call_that_may_be_of_a_request_left_out_is_made_once_by_its_cases(self) -> None:
        run = Run(make_mock("GET", "x", answer=[1], candidates=["a"], tier=Tier.BACKGROUND))
        run.begin("a")
        assert [rows(run.call("GET", "x")) for _ in range(2)] == [[1], [1]]
        assert kinds(run.end()) == [("repeated", MissKind.USED_UP)]
        run.begin("b")
        assert rows(run.call("GET", "x")) == [1]
        assert kinds(run.end()) == [("extra", None)]

    def test_a_case_may_use_what_another_left_for_it(self) -> None:
        run = Run(
            make_mock("GET", "x", candidates=["a"], tier=Tier.BACKGROUND),
            make_mock("GET", "x", candidates=["a", "b"]),
        )
        for name in ("a", "b"):
            run.begin(name)
            run.call("GET", "x")
            assert run.end() == []
        assert run.matcher.finish()[0] == []

    def test_a_shared_call_is_not_judged_before_all_its_cases_ran(self) -> None:
        run = Run(make_mock("GET", "x", candidates=["a", "b"]))
        run.begin("a")
        run.end()
        assert run.matcher.finish()[0] == []


class TestGenerated:
    def test_a_new_id_is_bound_in_later_calls_and_answers(self) -> None:
        old, new = str(uuid.uuid4()), str(uuid.uuid4())
        run = Run(
            make_mock("INSERT", old, "tea", case="a", generated={"/args/0": "{uuid4}"}),
            make_mock(
                "SELECT", old, answer=[[old, "tea"]], case="a", generated={"/args/0": "{uuid4}"}
            ),
        )
        run.begin()
        run.call("INSERT", new, "tea")
        assert rows(run.call("SELECT", new)) == [[new, "tea"]]
        assert run.end() == []

    def test_another_id_than_the_inserted_one_is_red(self) -> None:
        old, new, other = (str(uuid.uuid4()) for _ in range(3))
        run = Run(
            make_mock("INSERT", old, case="a", generated={"/args/0": "{uuid4}"}),
            make_mock("SELECT", old, case="a", generated={"/args/0": "{uuid4}"}),
        )
        run.begin()
        run.call("INSERT", new)
        reason(run.call("SELECT", other))
        (finding,) = run.end()
        assert (finding.kind, [m.path for m in finding.fields]) == ("changed", ["/args/0"])

    def test_literal_parts_of_a_template_are_exact(self) -> None:
        key = f"order:{uuid.uuid4()}"
        run = Run(make_mock("SET", key, case="a", generated={"/args/0": "order:{uuid4}"}))
        run.begin()
        reason(run.call("SET", f"user:{uuid.uuid4()}"))
        assert kinds(run.end()) == [("changed", MissKind.DIFFERENT)]

    def test_a_template_in_the_operation(self) -> None:
        old, new = str(uuid.uuid4()), str(uuid.uuid4())
        mock = make_mock(
            f"PUT /orders/{old}", "x", case="a", generated={"/operation": "PUT /orders/{uuid4}"}
        )
        run = Run(mock)
        run.begin()
        assert rows(run.call(f"PUT /orders/{new}", "x")) == []
        assert run.end() == []

    def test_a_fresh_time_matches_and_a_stale_one_does_not(self) -> None:
        class_name = "{time:%Y-%m-%dT%H:%M:%S.%f%:z}"
        mock = make_mock(
            "INSERT",
            "2023-11-14T22:13:20.050001+00:00",
            case="a",
            generated={"/args/0": class_name},
        )
        for text, is_right in (
            ("2025-10-09T08:53:20.250000+00:00", True),
            ("2025-10-09T08:53:20.25+00:00", True),
            ("2025-10-09T08:53:20.250000Z", False),
            ("2025-10-09T07:53:20.250000+00:00", False),
            ("2025-10-09T08:58:20.250000+00:00", False),  # after the case's end
            ("2023-11-14T22:13:20.050001+00:00", False),
        ):
            run = Run(mock)
            run.begin()
            run.call("INSERT", text)
            assert (run.end() == []) is is_right, text

    def test_the_recorded_answer_carries_the_new_time_in_its_own_format(self) -> None:
        template = {"/args/0": "{time:%Y-%m-%dT%H:%M:%S.%f%:z}"}
        run = Run(
            make_mock("INSERT", "2023-11-14T22:13:20.050001+00:00", case="a", generated=template),
            make_mock("SELECT", answer=[["2023-11-14 23:13:20.050001+01"]], case="a"),
        )
        run.begin()
        run.call("INSERT", "2025-10-09T08:53:20.250000+00:00")
        assert rows(run.call("SELECT")) == [["2025-10-09 09:53:20.25+01"]]


class TestSession:
    def test_session_calls_are_unlimited(self) -> None:
        run = Run(make_mock("SHOW x", answer=["on"], tier=Tier.SESSION))
        for _ in range(3):
            assert run.session(sql="SHOW x") == {"rows": ["on"]}
        assert run.session(sql="SHOW y") is None
        assert run.matcher.finish()[1].used == 1
        assert [f["response"] for f in run.matcher.facts_for(DATABASE)] == [{"rows": ["on"]}]

    def test_describe_gives_the_columns_of_any_mock_with_that_sql(self) -> None:
        columns = [{"name": "n", "type_oid": 23}]
        warm = make_mock(
            "SELECT n", 1, case="a", response={"results": [{"columns": None, "rows": []}]}
        )
        cold = make_mock(
            "SELECT n",
            2,
            case="b",
            response={"results": [{"columns": columns, "rows": []}], "parameter_types": [23]},
        )
        run = Run(warm, cold)
        described = run.session(kind="describe", sql="SELECT n")
        assert described == {"columns": columns, "parameter_types": [23], "copy": None}
        assert run.session(kind="describe", sql="SELECT m") is None

    def test_describe_prefers_a_mock_whose_types_are_known(self) -> None:
        """One client leaves the types of its parameters to the server, another asks for them."""
        response: dict[str, object] = {"results": [{"columns": [], "rows": []}]}
        vague = make_mock("SELECT n", 1, case="a", response={**response, "parameter_types": [0]})
        exact = make_mock("SELECT n", 2, case="b", response={**response, "parameter_types": [25]})
        described = Run(vague, exact).session(kind="describe", sql="SELECT n")
        assert described is not None
        assert described["parameter_types"] == [25]

    def test_describe_gives_a_recorded_description_as_it_is(self) -> None:
        """A cursor made by DECLARE is described, and its query never called."""
        response = {"columns": [{"name": "n"}], "parameter_types": [23], "error": None}
        request = {"kind": "describe", "sql": "SELECT n"}
        described = make_mock("", request=request, response=response, tier=Tier.SESSION)
        assert Run(described).session(kind="describe", sql="SELECT n") == response

    def test_describe_tells_what_could_not_be_parsed(self) -> None:
        """Only then an error tells its place in the statement."""
        for error, is_told in (({"code": "42P01", "position": "15"}, True), ({"code": "1"}, False)):
            response = {"results": list[object](), "error": error}
            mock = make_mock("SELECT n", case="a", response=response)
            described = Run(mock).session(kind="describe", sql="SELECT n")
            assert described is not None
            assert (described.get("error") == error) == is_told
            assert (described.get("call") == mock.request) == is_told

    def test_describe_says_that_data_is_to_come(self) -> None:
        copy = {"direction": "in", "format": 0, "column_formats": [0]}
        results = [{"columns": None, "rows": list[object](), "copy": copy}]
        run = Run(make_mock("COPY t FROM STDIN", case="a", response={"results": results}))
        described = run.session(kind="describe", sql="COPY t FROM STDIN")
        assert described is not None
        assert described["copy"] == copy


class TestPeek:
    def test_peek_changes_nothing(self) -> None:
        run = Run(make_mock("GET", "x", case="a"))
        run.begin()
        answers = run.matcher.for_destination(DATABASE, "plain")
        for _ in range(2):
            assert answers.peek({"sql": "GET", "args": ["x"]})
            assert not answers.peek({"sql": "GET", "args": ["y"]})
        assert run.matcher.pending() == ["GET ['x']"]


class TestSize:
    def test_a_call_reads_as_few_mocks_among_many_as_among_few(self) -> None:
        reads = []
        for count in (100, 5000):
            mocks = [make_mock("GET", n, case=f"c{n}") for n in range(count)]
            mocks += [
                make_mock("INSERT", str(uuid.uuid4()), case="a", generated={"/args/0": "{uuid4}"})
            ]
            run = Run(*mocks)
            run.begin()
            run.set.reads = 0
            run.call("INSERT", str(uuid.uuid4()))
            run.call("GET", 7)
            run.call("GET", -1)
            reads.append(run.set.reads)
        assert reads[0] == reads[1] < 20

    def test_many_equal_start_up_calls_are_read_once_each(self) -> None:
        run = Run(*(make_mock("GET", "x") for _ in range(500)))
        for _ in range(500):
            run.call("GET", "x")
        assert run.set.reads == 500
