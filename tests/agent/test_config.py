"""The agent's configuration: what it says, and the sentence for each thing that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.agent.config import (
    AgentConfig,
    ConfigError,
    Keeping,
    Limits,
    TargetConfig,
    load_config,
    name_target,
    parse_config,
)
from kebpf.recording.dedup.leaving import LeaveOut
from kebpf.recording.redaction.rules import Rules

PATH = Path("/etc/kebpf/kebpf.yml")
ONE = "targets:\n  - unit: shop\n"


def read(text: str) -> AgentConfig:
    return parse_config(text, PATH)


def test_what_is_not_said_has_a_default() -> None:
    config = read(ONE)
    assert config.targets == (TargetConfig("shop", "unit", "shop.service"),)
    assert (config.output, config.socket) == (
        Path("/var/lib/kebpf"),
        Path("/run/kebpf/agent.sock"),
    )
    assert config.metrics is None
    assert config.limits == Limits(None, None, 64 << 20)


def test_all_that_can_be_said() -> None:
    config = read(
        """
        output: /srv/sets
        socket: /run/a.sock
        metrics: localhost:9560
        stop-seconds: 20
        user: sets
        limits: {memory: 512M, cpu: 25%, backlog: 16M, disk: 10G, rate: 20M/s}
        unique: false
        redact: {names: pin, patterns: ["tok-[0-9]+"]}
        leave_out: [/ping, POST /x/*]
        targets:
          - {name: a, unit: shop@*.service, port: 80, exclude-port: [90, 91], inbound-only: true}
          - {name: b, cgroup: /system.slice/x, exclude_port: 7}
          - {executable: /srv/pay/bin/*, name: c}
          - {listen: [8080, 8081]}
          - {container_label: app=shop}
        """
    )
    assert (config.output, config.socket) == (Path("/srv/sets"), Path("/run/a.sock"))
    assert (config.metrics, config.stop_seconds) == (("127.0.0.1", 9560), 20.0)
    assert config.limits == Limits(512 << 20, 0.25, 16 << 20, 10 << 30, 20 << 20)
    assert config.user == "sets"
    assert config.keeping == Keeping(
        False,
        (LeaveOut("/ping"), LeaveOut("/x/*", "POST")),
        Rules(names=["pin"], patterns=["tok-[0-9]+"]),
    )
    assert config.targets == (
        TargetConfig("a", "unit", "shop@*.service", (80,), (90, 91), True),
        TargetConfig("b", "cgroup", "/system.slice/x", (), (7,)),
        TargetConfig("c", "executable", "/srv/pay/bin/*"),
        TargetConfig("port-8080-8081", "listen", "8080, 8081"),
        TargetConfig("shop", "container-label", "app=shop"),
    )


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{ONE}outptu: /x\n", 3, "outptu is not a known key here"),
        (f"{ONE}output: x\n", 3, "output must be a path from / on"),
        (f"{ONE}output: /x\noutput: /y\n", 4, "output is given twice"),
        (f"{ONE}metrics: 0.0.0.0:9560\n", 3, "loopback"),
        (f"{ONE}metrics: 127.0.0.1:0\n", 3, "loopback"),
        (f"{ONE}limits: {{memory: much}}\n", 3, "memory must be a size"),
        (f"{ONE}limits: {{cpu: 0.5}}\n", 3, "cpu must be a share of one processor"),
        (f"{ONE}limits: {{backlog: 1M}}\n", 3, "backlog must be 4M or more"),
        (f"{ONE}limits: {{disk: 8M}}\n", 3, "disk must be 16M or more"),
        (f"{ONE}limits: {{rate: 20M}}\n", 3, "rate must be bytes a second"),
        (f"{ONE}redact: {{patterns: '('}}\n", 3, "a pattern is wrong"),
        (f"{ONE}unique: 1\n", 3, "unique must be true or false"),
        (f"{ONE}leave-out: [x]\n", 3, "leave-out must be a list of paths"),
        (f"{ONE}limits: 5\n", 3, "keys and values are expected"),
        ("targets: []\n", 1, "no target is named"),
        ("output: /x\n", 1, "no target is named"),
        ("targets: {a: b}\n", 1, "targets must be a list"),
        ("targets:\n  - name: x\n", 2, "exactly one of unit, cgroup, executable, listen"),
        ("targets:\n  - {unit: a, listen: 1}\n", 2, "exactly one of"),
        ("targets:\n  - unit: a/b\n", 2, "unit must be a unit's name"),
        ("targets:\n  - executable: bin/a\n", 2, "executable must be a path from / on"),
        ("targets:\n  - listen: 70000\n", 2, "listen must be a port"),
        ("targets:\n  - {unit: a, port: http}\n", 2, "port must be a port"),
        ("targets:\n  - {unit: a, inbound-only: 1}\n", 2, "inbound-only must be true or false"),
        ("targets:\n  - {unit: a, name: ../a}\n", 2, "name must be a name"),
        ("targets:\n  - executable: /*\n", 2, "the target needs a name"),
        (f"{ONE}  - unit: shop.service\n", 3, "two targets are called shop"),
        ("targets:\n  - unit: [\n", 3, "not valid YAML"),
        ("- a\n", 1, "keys and values are expected"),
        (f"{ONE}stop-seconds: 0\n", 3, "stop-seconds must be a number of seconds"),
    ],
)
def test_an_error_names_file_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert str(raised.value).startswith(f"{PATH}, line {line}: ")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml cannot be read: No such file"):
        load_config(tmp_path / "none.yml")
    (tmp_path / "latin.yml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        load_config(tmp_path / "latin.yml")
    (tmp_path / "empty.yml").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="it is empty"):
        load_config(tmp_path / "empty.yml")


def test_the_example_that_is_installed_is_right() -> None:
    example = Path(__file__).parents[2] / "packaging" / "kebpf.yml"
    assert load_config(example).targets


def test_a_name_is_made_of_what_is_followed() -> None:
    assert name_target("unit", "shop@1.service") == "shop-1"
    assert name_target("executable", "/srv/pay/bin/pay-*") == "pay"
    assert name_target("cgroup", "/system.slice/shop.service/") == "shop.service"
    assert name_target("executable", "/srv/*") is None
