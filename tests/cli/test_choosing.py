"""What is recorded when command line and kebpf.yml each say something of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.cli.choosing import (
    choose_backlog,
    choose_seed,
    choose_user,
    complete_filters,
    complete_target,
    complete_verification,
)
from kebpf.cli.config import Config
from kebpf.cli.errors import CommandUsageError
from kebpf.cli.options import DEFAULT_BACKLOG, RecordOptions
from kebpf.replay.noise import NoiseRule


def complete(options: RecordOptions, config: Config) -> RecordOptions:
    complete_target(options, config)
    complete_filters(options, config)
    return options


@pytest.mark.parametrize(
    "given",
    [
        RecordOptions(pids=[7]),
        RecordOptions(cgroup=Path("/a")),
        RecordOptions(unit="other"),
        RecordOptions(container="web"),
        RecordOptions(command=["serve"]),
    ],
)
def test_a_target_on_the_command_line_is_the_only_one(given: RecordOptions) -> None:
    config = Config(unit="shop", command="python -m shop")
    complete(given, config)
    named = (given.pids, given.cgroup, given.unit, given.container, given.command)
    assert sum(map(bool, named)) == 1
    assert given.unit in (None, "other")


def test_what_runs_already_comes_before_the_command() -> None:
    config = Config(unit="shop", command="python -m shop")
    assert complete(RecordOptions(), config) == RecordOptions(unit="shop")
    assert complete(RecordOptions(), Config(command="x y")).command == ["/bin/sh", "-c", "x y"]
    assert complete(RecordOptions(), Config(container="web")).container == "web"
    assert complete(RecordOptions(), Config(cgroup=Path("/a"))).cgroup == Path("/a")


def test_a_file_names_one_kind_too() -> None:
    with pytest.raises(CommandUsageError, match=r"kebpf\.yml names unit and container: one kind"):
        complete(RecordOptions(), Config(unit="shop", container="web"))
    with pytest.raises(CommandUsageError, match="nothing to record was named"):
        complete(RecordOptions(), Config())


def test_filters_of_the_command_line_replace_those_of_the_file() -> None:
    config = Config(port=[80], exclude_port=[9090, 9090], inbound_only=True)
    taken = complete(RecordOptions(pids=[7]), config)
    assert (taken.ports, taken.excluded_ports, taken.is_inbound_only) == ([80], [9090], True)
    given = RecordOptions(pids=[7], ports=[81, 81], excluded_ports=[80])
    assert complete(given, config).ports == [81]
    assert given.excluded_ports == [80]


def test_ports_of_both_places_may_contradict() -> None:
    with pytest.raises(CommandUsageError, match="port 80 is both to be recorded and"):
        complete(RecordOptions(pids=[7], ports=[80]), Config(exclude_port=[80]))


def test_the_backlog() -> None:
    assert choose_backlog(None, Config()) == DEFAULT_BACKLOG
    assert choose_backlog(None, Config(backlog=8)) == 8
    assert choose_backlog(16, Config(backlog=8)) == 16


def test_a_user_is_for_a_command() -> None:
    command, running = RecordOptions(command=["serve"]), RecordOptions(pids=[7])
    assert choose_user("app", command, Config(user="other")) == "app"
    assert choose_user(None, command, Config(user="other")) == "other"
    assert choose_user(None, running, Config(user="other")) == "other"
    with pytest.raises(CommandUsageError, match="--user says who starts a command"):
        choose_user("app", running, Config())


def test_the_seed_of_the_order() -> None:
    assert choose_seed(None, Config()) is None
    assert choose_seed("7", Config(shuffle=3)) == 7
    assert choose_seed("0", Config()) == 0
    assert choose_seed(None, Config(shuffle=0)) == 0
    drawn = {choose_seed("", Config()) for _ in range(9)}
    drawn |= {choose_seed(None, Config(shuffle=True)) for _ in range(9)}
    assert len(drawn) > 1
    assert None not in drawn


def test_the_command_of_a_verification() -> None:
    config = Config(command="serve", noise=[NoiseRule("/body/at")])
    options = RecordOptions(pids=[1])
    complete_verification(options, 3, None, config)
    assert (options.verify_runs, options.verify_command) == (3, "serve")
    assert options.noise == [NoiseRule("/body/at")]
    complete_verification(options, 3, "serve -v", config)
    assert options.verify_command == "serve -v"
    options = RecordOptions(command=["serve", "now"])
    complete_verification(options, 3, None, config)
    assert options.verify_command == ["serve", "now"]
    options = RecordOptions(command=["serve", "now"])
    complete_verification(options, None, None, config)
    assert (options.verify_runs, options.verify_command) == (None, "")
    with pytest.raises(CommandUsageError, match="it goes with that"):
        complete_verification(options, None, "serve", config)
