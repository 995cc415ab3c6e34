from __future__ import annotations

from uuid import UUID

from kebpf.replay.arrivals import Arrivals

ID = "6f2b1c3e-9d5a-4e0b-8c7d-1a2b3c4d5e6f"


def make_arrivals(*trees: object) -> Arrivals:
    arrivals = Arrivals()
    arrivals.begin(has_case=True)
    for tree in trees:
        arrivals.add(tree)
    return arrivals


class TestArrivals:
    def test_a_value_in_any_of_its_forms(self) -> None:
        for tree in (
            {"target": f"/orders/{ID}"},
            {"body": [{"id": ID.upper()}]},
            {"rows": [["{" + UUID(ID).hex + "}"]]},
            {"body": f'{{"id":"{ID}"}}'.encode()},
        ):
            assert make_arrivals(tree).hold(ID)
            assert make_arrivals(tree).hold(UUID(ID).hex)
            assert not make_arrivals(tree).hold(ID.replace("6f2b", "7f2b"))

    def test_what_comes_in_later_is_found_too(self) -> None:
        arrivals = make_arrivals({"a": "b"})
        assert not arrivals.hold(ID)
        arrivals.add({"id": ID})
        assert arrivals.hold(ID)

    def test_another_case_and_none(self) -> None:
        arrivals = make_arrivals({"id": ID})
        arrivals.begin(has_case=True)
        assert not arrivals.hold(ID)
        arrivals.begin(has_case=False)
        arrivals.add({"id": ID})
        assert not arrivals.hold(ID)
