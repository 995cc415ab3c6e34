"""The shop has the same verdicts in every form of a test run.

A sample of what `make forms` does to every application.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.forms import FORMS, describe, examine
from tests.e2e.ordinary import open_folder
from tests.e2e.subjects import SHOP, find_subjects
from tests.kernel.rootless_runs import skip_unless_reachable

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(600),
]

SAMPLE = (SHOP,)
IN_FLIGHT = 6  # a small recording; `test_fidelity` has a large one


@pytest.mark.parametrize("name", SAMPLE)
def test_the_same_verdicts_in_every_form(name: str) -> None:
    skip_unless_root()
    skip_unless_reachable()
    [subject] = [one for one in find_subjects(IN_FLIGHT) if one.name == name]
    if (reason := subject.why_not() or why_not()) is not None:
        pytest.skip(reason)
    with open_folder("kebpf-forms-") as folder:
        account = examine(subject, folder, runs=1)
    assert account.is_whole, describe(account)
    assert list(account.runs) == [form.name for form in FORMS]
    assert set(account.expected.values()) == {"passed"}
