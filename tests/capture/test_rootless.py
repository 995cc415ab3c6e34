"""What is tried of a test without root on this kernel, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from kebpf.capture.checks import Status
from kebpf.capture.rootless import Trial, describe_trial, try_rootless
from kebpf.kernel.rootless import OTHER_FORM
from tests.kernel.rootless_runs import NOBODY, SOURCES, list_labelled, skip_unless_reachable

TRY = (
    f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n"
    + """
from kebpf.capture.rootless import try_rootless
print(try_rootless(None).refusal)
"""
)


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_an_ordinary_user_of_this_host_can(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_reachable()
    monkeypatch.setenv("KEBPF_TRIAL", label := str(uuid.uuid4()))
    trial = try_rootless((NOBODY, NOBODY))
    assert trial == Trial(refusal="", is_root=False, is_intercepted=True, no_clock="")
    assert list_labelled(f"KEBPF_TRIAL={label}") == []


@pytest.mark.kernel
def test_root_takes_no_user_namespace() -> None:
    trial = try_rootless(None)
    assert (trial.refusal, trial.is_root) == ("", os.geteuid() == 0)


@pytest.mark.kernel
def test_a_limit_of_none_is_the_reason() -> None:
    """Set in a user namespace of the test's own, in which there can be none below."""
    skip_unless_reachable()
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all "$@"'
    inner = ["sh", "-c", shell, "sh", "--inh-caps=-all", sys.executable, "-c", TRY]
    words = ["unshare", "--user", "--map-root-user", *inner]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", timeout=60)
    assert done.stdout.strip().endswith(": user.max_user_namespaces is 0"), done.stderr


def test_an_interpreter_that_the_user_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "cannot run kebpf's interpreter" in try_rootless(None).refusal


def test_what_is_said() -> None:
    told = list(describe_trial(Trial(is_intercepted=True), "user 7"))
    assert [(one.name, one.status) for one in told] == [
        ("user namespaces", Status.OK),
        ("nf_tables", Status.OK),
        ("time namespaces", Status.OK),
    ]
    namespaces, interception, clock = describe_trial(
        Trial(no_clock="no time", is_root=True), "root"
    )
    assert namespaces.found == "`kebpf test --rootless` works for root, who needs none"
    assert interception.status is clock.status is Status.WARNING
    assert "`sudo kebpf test`" in interception.remedy
    assert (clock.found, "--clock real" in clock.remedy) == ("no time", True)
    [refused] = describe_trial(Trial("no room"), "user 7")
    assert (refused.found, refused.remedy) == ("no --rootless for user 7: no room", OTHER_FORM)
