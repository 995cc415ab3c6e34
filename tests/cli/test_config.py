"""``kebpf.yml``: what it may say, and the one sentence for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.cli.config import Config, load_config, parse_config
from kebpf.cli.errors import CommandUsageError, ExitStatus
from kebpf.recording.dedup.leaving import DEFAULTS, LeaveOut
from kebpf.recording.redaction.rules import Rules
from kebpf.replay.noise import NoiseRule

REDACT = "true, false, or lists of texts under names, patterns and keep"
PORTS = "a port or a list of ports, each from 1 to 65535"
FULL = """\
command: python -m uvicorn shop:app
output: recordings
name: shop
user: app
timeout: 5
delay: 0.5
shuffle: 12
alone: true
isolated: true
jobs: 4
rootless: true
duration: 60
noise:
  - /body/updated_at
cgroup: /shop.slice
unit: shop
container: web
port: 8000
exclude-port: [9090, 4317]
inbound-only: true
backlog: 256
redact:
  names: [internal_id, x-partner]
  patterns: 'ACME-[0-9]{6}'
"""


def test_every_key_is_read() -> None:
    assert parse_config(FULL) == Config(
        command="python -m uvicorn shop:app",
        output=Path("recordings"),
        name="shop",
        user="app",
        timeout=5.0,
        delay=0.5,
        shuffle=12,
        alone=True,
        isolated=True,
        jobs=4,
        rootless=True,
        duration=60.0,
        noise=[NoiseRule("/body/updated_at")],
        cgroup=Path("/shop.slice"),
        unit="shop",
        container="web",
        port=[8000],
        exclude_port=[9090, 4317],
        inbound_only=True,
        backlog=256,
        redact=Rules(["internal_id", "x-partner"], ["ACME-[0-9]{6}"]),
    )


def test_a_command_may_be_a_list() -> None:
    assert parse_config("command: [python, '-m', shop]").command == ["python", "-m", "shop"]


def test_what_the_application_trusts_is_a_path_or_several() -> None:
    assert parse_config("trust: certs/ca.pem").trust == [Path("certs/ca.pem")]
    assert parse_config("trust: [a.pem, /b]").trust == [Path("a.pem"), Path("/b")]
    with pytest.raises(CommandUsageError, match="trust must be a path or a list of paths"):
        parse_config("trust: [1]")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert parse_config(text) == Config()


def test_only_the_folder_itself_is_looked_at(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "kebpf.yml").write_text("name: outer")
    assert load_config(inner) == Config()
    assert load_config(tmp_path).name == "outer"


NOISE = "a list of paths such as /body/updated_at, or of entries with path and reason"


def test_noise_of_responses_and_calls_has_a_reason() -> None:
    text = """\
noise:
  - {path: /body/served_by, reason: host name}
  - {call: "SELECT *", path: /parameters/2, reason: process id}
  - {destination: "10.0.0.6:*", path: /args/1, reason: a lock's owner}
"""
    assert parse_config(text).noise == [
        NoiseRule("/body/served_by", "host name"),
        NoiseRule("/parameters/2", "process id", "SELECT *"),
        NoiseRule("/args/1", "a lock's owner", "*", "10.0.0.6:*"),
    ]


def test_rules_of_what_is_left_out() -> None:
    text = """\
leave_out:
  - /internal/*
  - GET /status
  - {user-agent: "probe/*"}
"""
    rules = [
        LeaveOut(path="/internal/*"),
        LeaveOut(path="/status", method="GET"),
        LeaveOut(user_agent="probe/*"),
    ]
    assert parse_config(text).list_left_out(False) == rules
    assert parse_config(text).list_left_out(True) == rules


def test_the_usual_rules_hold_where_only_what_is_unique_stays() -> None:
    assert parse_config("").list_left_out(False) == []
    assert parse_config("").list_left_out(True) == list(DEFAULTS)
    assert parse_config("leave_out: []").list_left_out(True) == []


@pytest.mark.parametrize(
    "value", ["/health", "[7]", "[{}]", "[{agent: x}]", "[health]", "['GET health']", "[{path: 7}]"]
)
def test_what_is_no_rule_of_what_is_left_out(value: str) -> None:
    with pytest.raises(CommandUsageError, match="line 1: leave_out must be a list of paths"):
        parse_config(f"leave_out: {value}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "name: a\n\ntiemout: 5\n",
            "kebpf.yml, line 3: tiemout is not a known key (known: command, output, name, user, "
            "timeout, delay, shuffle, alone, clock, isolated, jobs, rootless, duration, noise, "
            "cgroup, "
            "unit, container, port, exclude-port, inbound-only, backlog, trust, redact, unique, "
            "leave_out)",
        ),
        ("timeout: soon", "kebpf.yml, line 1: timeout must be a number of seconds above 0"),
        ("timeout: 0", "kebpf.yml, line 1: timeout must be a number of seconds above 0"),
        ("delay: true", "kebpf.yml, line 1: delay must be a number of seconds, 0 or more"),
        ("delay: .nan", "kebpf.yml, line 1: delay must be a number of seconds, 0 or more"),
        ("delay: -1", "kebpf.yml, line 1: delay must be a number of seconds, 0 or more"),
        ("command: 7", "kebpf.yml, line 1: command must be a text or a list of texts"),
        ("command: [python, 7]", "kebpf.yml, line 1: command must be a text or a list of texts"),
        ("command: []", "kebpf.yml, line 1: command must be a text or a list of texts"),
        ("name:\n", "kebpf.yml, line 1: name must be a text"),
        (
            "noise: [body]",
            f"kebpf.yml, line 1: noise must be {NOISE}",
        ),
        ("noise: [7]", f"kebpf.yml, line 1: noise must be {NOISE}"),
        (
            "noise: [{path: /parameters/0, call: 'SELECT *'}]",
            f"kebpf.yml, line 1: noise must be {NOISE}; an entry for calls needs a reason",
        ),
        (
            "noise: [{path: /body/a, why: x}]",
            f"kebpf.yml, line 1: noise must be {NOISE}; why is no key of an entry",
        ),
        ("shuffle: -1", "kebpf.yml, line 1: shuffle must be true, false or a seed, a whole number"),
        ("alone: 1", "kebpf.yml, line 1: alone must be true or false"),
        ("port: 0", f"kebpf.yml, line 1: port must be {PORTS}"),
        ("port: [80, true]", f"kebpf.yml, line 1: port must be {PORTS}"),
        ("exclude-port: []", f"kebpf.yml, line 1: exclude-port must be {PORTS}"),
        ("inbound-only: 1", "kebpf.yml, line 1: inbound-only must be true or false"),
        ("backlog: 3", "kebpf.yml, line 1: backlog must be a whole number of MiB from 4 to 65536"),
        ("redact: 7", f"kebpf.yml, line 1: redact must be {REDACT}"),
        ("redact: {names: [7]}", f"kebpf.yml, line 1: redact must be {REDACT}"),
        ("redact: {rules: [a]}", f"kebpf.yml, line 1: redact must be {REDACT}"),
        (
            "redact: {patterns: ['(a']}",
            f"kebpf.yml, line 1: redact must be {REDACT}; a pattern is wrong: missing ), "
            "unterminated subpattern at position 0",
        ),
        (
            "redact: {patterns: 'a*'}",
            f"kebpf.yml, line 1: redact must be {REDACT}; a pattern must not match nothing",
        ),
        ("unit: [shop]", "kebpf.yml, line 1: unit must be a text"),
        ("name: a\nname: b", "kebpf.yml, line 2: name is given twice"),
        ("- a\n- b", "kebpf.yml, line 1: keys and values are expected"),
        ("just text", "kebpf.yml, line 1: keys and values are expected"),
        (
            "name: a\n  delay: 3",
            "kebpf.yml, line 2: not valid YAML: mapping values are not allowed here",
        ),
        ("name: \x00", "kebpf.yml: not valid YAML: it holds characters YAML does not allow"),
    ],
)
def test_one_sentence_with_file_line_and_key(text: str, sentence: str) -> None:
    with pytest.raises(CommandUsageError) as caught:
        parse_config(text)
    assert caught.value.message == sentence
    assert caught.value.exit_status == ExitStatus.USAGE


@given(st.text() | st.text("name: []{},&*!-'\"\n\t ?|>"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_config(text)
    except CommandUsageError as error:
        assert error.message.startswith("kebpf.yml")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "kebpf.yml").write_bytes(b"name: \xff")
    with pytest.raises(CommandUsageError, match=r"^kebpf\.yml cannot be read: it is not UTF-8$"):
        load_config(tmp_path)
    (tmp_path / "kebpf.yml").unlink()
    (tmp_path / "kebpf.yml").mkdir()
    with pytest.raises(CommandUsageError, match=r"^kebpf\.yml cannot be read: Is a directory$"):
        load_config(tmp_path)
