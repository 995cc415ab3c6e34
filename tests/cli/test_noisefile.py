"""Noise is added to a ``kebpf.yml`` of any style, and nothing else in it changes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.cli.config import load_config
from kebpf.cli.errors import CommandUsageError
from kebpf.cli.noisefile import add_noise, escape_glob, suggest_path
from kebpf.replay.noise import NoiseRule

RULE = NoiseRule("/body/*/at", "it's a: clock # really")
OF_CALL = NoiseRule("/parameters/1", "pid", "UPDATE jobs SET owner[*]", "10.0.0.6:*")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "timeout: 5",
        "# all of it\ntimeout: 5 # s\n",
        "noise:\n  - /body/a # why not\n\ntimeout: 5\n",
        "noise:\n- /body/a\n- {path: /body/b, reason: x}\n",
        "noise:\n  - path: /body/a\n    reason: >-\n      long\n      text\ntimeout: 5\n",
        "noise: [/body/a, /body/b]\ntimeout: 5\n",
        "noise: []\n",
        "timeout: 5\nnoise:\n    - /body/a",
    ],
)
def test_what_was_there_stays(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kebpf.yml"
    path.write_text(text)
    before = load_config(tmp_path)
    add_noise(tmp_path, [RULE, OF_CALL])
    after = load_config(tmp_path)
    assert after.noise == [*before.noise, RULE, OF_CALL]
    assert after.timeout == before.timeout
    comments = [line for line in text.splitlines() if "#" in line]
    assert all(line in path.read_text() for line in comments)
    add_noise(tmp_path, [RULE])
    assert load_config(tmp_path).noise == after.noise, "it is there already"


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kebpf.yml"
    path.write_text("noise: {\n")
    with pytest.raises(CommandUsageError, match="not valid YAML"):
        add_noise(tmp_path, [RULE])
    assert path.read_text() == "noise: {\n"


@given(st.text())
def test_a_pattern_of_a_text_matches_it_alone(text: str) -> None:
    assert fnmatchcase(text, escape_glob(text))
    assert not fnmatchcase(text + "x", escape_glob(text))


def test_a_field_in_every_item() -> None:
    assert suggest_path("/body/items/3/at") == "/body/items/*/at"
    assert suggest_path("/body/a[0]") == "/body/a[[]0]"
