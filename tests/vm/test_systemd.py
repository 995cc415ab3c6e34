"""The Debian package under a real systemd: recorded, restarted, reloaded, killed and rebooted.

`make test-vm` runs it: it boots a machine, for which debootstrap and qemu are needed.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vm.images import find_image, list_missing
from tests.vm.machine import Machine
from tests.vm.payload import PYTHON, SOURCE, pack_files
from tests.vm.releases import RELEASES, ROOT

VARIABLE = "KEBPF_VM"
RELEASE = "bookworm"
SHOP_URL = "http://127.0.0.1:8000"
#: All that has the name; but what these tests put there, and systemd's folder of each boot.
NAMED_SO = "find / -xdev -name '*kebpf*'" + "".join(
    f" -not -path '/{folder}/*'" for folder in ("srv", "root", "tmp", "var/tmp")
)

pytestmark = [
    pytest.mark.skipif(not os.environ.get(VARIABLE), reason="boots a machine: `make test-vm`"),
    pytest.mark.timeout(7200),
]


def find_package() -> Path:
    """What `make deb` made last."""
    found = sorted((ROOT / "dist").glob("kebpf_*.deb"), key=lambda path: path.stat().st_mtime)
    assert found, "there is no package: `make deb` makes one"
    return found[-1]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Up, with the package and the shop installed as on the host of the Vagrantfile."""
    missing = list_missing()
    assert not missing, f"apt-get install {' '.join(missing)}"
    package = find_package()
    files = pack_files(tmp_path_factory.mktemp("files") / "files.tar", package)
    with Machine(find_image(RELEASE), RELEASES[RELEASE].kernels[0], files) as machine:
        machine.await_services()
        machine.check("ip link set lo up")
        machine.check(f"{NAMED_SO} >/root/named-so-before")
        settings = f"KEBPF_DEB=/root/{package.name} SHOP_PYTHON={PYTHON}"
        machine.check(f"{settings} /{SOURCE}/packaging/vagrant/provision")
        machine.check("systemctl disable --now customers.timer && systemctl stop customers")
        yield machine


def drive(machine: Machine, rounds: int = 1) -> int:
    """Sends the shop what customers do, once it listens; how many requests that was."""
    await_line(machine, "shop", "Uvicorn running")
    command = f"cd /{SOURCE}/examples && {PYTHON} -m shop.drive --quiet --rounds {rounds}"
    summary = json.loads(machine.check(f"{command} {SHOP_URL}").splitlines()[-1])
    assert summary["unexpected"] == 0
    return int(summary["requests"])


def await_line(machine: Machine, unit: str, text: str) -> str:
    """What the unit said in its present life, once it has said it."""
    life = f"_SYSTEMD_INVOCATION_ID={read_property(machine, unit, 'InvocationID')}"
    follow = f"journalctl --follow --lines all --output cat {life} 2>/dev/null"
    return machine.check(f"grep -m 1 -e {shlex.quote(text)} < <({follow})").strip()


def await_recording(machine: Machine) -> dict[str, Any]:
    """What the agent says of the shop, once it records it."""
    while True:
        said = read_status(machine)
        assert not said["last_error"], said
        if said["state"] == "recording":
            return said


def read_status(machine: Machine) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(machine.check("kebpf status --json"))
    [shop] = status["targets"]
    assert isinstance(shop, dict)
    return shop


def list_sets(machine: Machine) -> list[str]:
    """The whole ones that the agent made."""
    return machine.check("ls -d /var/lib/kebpf/shop/*/test-set.yaml || true").split()


def read_property(machine: Machine, unit: str, name: str) -> str:
    """What systemd says of a unit."""
    return machine.check(f"systemctl show --value --property {name} {unit}").strip()


def count_restarts(machine: Machine, unit: str) -> int:
    return int(read_property(machine, unit, "NRestarts"))


def record_unit(machine: Machine, name: str, rounds: int) -> tuple[dict[str, Any], int]:
    """Records the shop's unit by the command; the summary, and the requests that were sent."""
    output = "/var/tmp/recordings"
    machine.check(
        f"systemd-run --quiet --unit record-{name} --property KillSignal=SIGINT "
        f"--property StandardOutput=file:/var/tmp/{name}.json --property StandardError=journal "
        f"--property TimeoutStopSec=200 "
        f"kebpf record --unit shop --json -o {output} --name {name}"
    )
    await_line(machine, f"record-{name}", "^recording ")
    sent = drive(machine, rounds)
    machine.check(f"systemctl stop record-{name}")
    summary: dict[str, Any] = json.loads(machine.check(f"cat /var/tmp/{name}.json"))
    return summary, sent


def test_the_boot_is_whole(machine: Machine) -> None:
    failed = machine.check("systemctl list-units --failed --plain --no-legend --no-pager")
    assert failed == "", machine.check("journalctl --no-pager --boot --priority 3 --lines 20")


def test_a_host_of_door_b_can_record_and_replay(machine: Machine) -> None:
    checks = json.loads(machine.check("kebpf doctor --json"))
    assert [one for one in checks["checks"] if one["status"] == "problem"] == []
    assert checks["door"] == "b"


def test_a_unit_is_recorded_whole(machine: Machine) -> None:
    summary, sent = record_unit(machine, "whole", rounds=2)
    assert (summary["lost_events"], summary["lost_bytes"]) == (0, 0)
    assert summary["test_cases"] == sent


def test_what_was_recorded_replays_with_everything_off(machine: Machine) -> None:
    machine.check("systemctl stop shop rates postgresql redis-server")
    try:
        command = f"kebpf test -c '{PYTHON} -m shop' --json /root/run.json"
        machine.check(
            f"cd /srv/shop/examples && {command} --user shop /var/tmp/recordings/whole", 600
        )
    finally:
        machine.check("systemctl start postgresql redis-server rates shop")
    finished = json.loads(machine.check("tail -n 1 /root/run.json"))
    assert finished["event"] == "run_finished"
    assert (finished["failed"], finished["errored"], finished["misses"]) == (0, 0, 0)
    assert finished["passed"] > 0


def test_the_agent_records_the_unit_over_its_restart(machine: Machine) -> None:
    machine.check("systemctl restart kebpf")
    await_recording(machine)
    before = set(list_sets(machine))
    sent = drive(machine)
    machine.check("systemctl restart shop")
    process = read_property(machine, "shop", "MainPID")
    await_line(machine, "kebpf", f"shop: follows process {process} ")
    sent += drive(machine)
    machine.check("systemctl stop kebpf")
    told = machine.check("journalctl --output cat --unit kebpf --grep 'is whole' --lines 1")
    machine.check("systemctl start kebpf")
    assert f" is whole: {sent} requests" in told
    assert len(set(list_sets(machine)) - before) == 1


def test_a_configuration_with_an_error_is_refused_and_the_old_one_stays(machine: Machine) -> None:
    before = await_recording(machine)
    machine.check("cp -p /etc/kebpf/kebpf.yml /root/kebpf.yml")
    machine.check("echo 'nonsense: 1' >>/etc/kebpf/kebpf.yml; systemctl reload kebpf")
    told = await_line(machine, "kebpf", "the configuration is refused")
    assert "line 3" in told
    assert read_status(machine)["set"] == before["set"]
    machine.check("cp -p /root/kebpf.yml /etc/kebpf/kebpf.yml; systemctl reload kebpf")
    assert "1 as before" in await_line(machine, "kebpf", "reloaded: ")


def test_a_kill_costs_the_shop_nothing_and_the_agent_comes_back(machine: Machine) -> None:
    await_recording(machine)
    shop, agent = (read_property(machine, one, "MainPID") for one in ("shop", "kebpf"))
    drive(machine)
    machine.check("systemctl kill --kill-whom main --signal KILL kebpf")
    assert drive(machine) > 0
    await_line(machine, "kebpf", "follows process")
    await_recording(machine)
    assert read_property(machine, "shop", "MainPID") == shop
    assert read_property(machine, "kebpf", "MainPID") != agent
    assert count_restarts(machine, "kebpf") == 1


def test_it_is_back_after_a_reboot_with_all_it_had(machine: Machine) -> None:
    before = set(list_sets(machine))
    machine.reboot()
    machine.check("ip link set lo up")
    assert read_property(machine, "kebpf", "ActiveState") == "active"
    await_recording(machine)
    assert drive(machine) > 0
    machine.check("systemctl stop kebpf")
    after = set(list_sets(machine))
    assert before <= after and after


def test_purging_the_package_leaves_nothing(machine: Machine) -> None:
    machine.check("dpkg --purge kebpf")
    before = machine.check("cat /root/named-so-before").split()
    found = [path for path in machine.check(NAMED_SO).split() if path not in before]
    assert found == []
    assert machine.run("getent passwd kebpf").status != 0
