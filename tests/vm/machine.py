"""One machine: boots an image, runs scripts in it, and is gone with everything it wrote."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.vm.images import Image
from tests.vm.releases import Kernel

BOOT_SECONDS = 600.0  # with no hardware help, on a busy host
SCRIPT_SECONDS = 600.0
PROCESSORS = 2
MEMORY = "2048"  # MiB
_CONSOLE_LINES = 15
_QEMU = ("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64")


class MachineError(Exception):
    """The machine did not do what was asked of it; what it said last."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a script ended, and both its outputs in one."""

    status: int
    output: str


class Machine:
    """A context manager.  ``files`` is a tar archive that is unpacked at ``/`` first.

    Its disk is the image with what is written kept apart, in a file without a name.
    """

    def __init__(self, image: Image, kernel: Kernel, files: Path | None = None) -> None:
        self._image = image
        self._kernel = kernel
        self._files = files
        self._stack = ExitStack()
        self._pending = b""
        self.boot_id = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kebpf-")))
            self._port = self._start(stack)
            self.await_boot()
            if self._files is not None:
                self.check("tar -xf /dev/vdb -C /")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> socket.socket:
        """qemu waits for us to be connected before the machine starts."""
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        path = self._scratch / "port"
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(BOOT_SECONDS)
        log = stack.enter_context((self._scratch / "qemu").open("wb"))
        process = subprocess.Popen(
            self._command(path), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGKILL)
        try:
            port, _ = listener.accept()
        except TimeoutError:
            raise MachineError((self._scratch / "qemu").read_text(errors="replace")) from None
        return stack.enter_context(port)

    def _command(self, port: Path) -> list[str | Path]:
        kernel, initrd = self._image.find_kernel(self._kernel)
        command: list[str | Path] = [
            *_QEMU,
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", str(PROCESSORS), "-m", MEMORY),
            *("-kernel", kernel, "-initrd", initrd),
            *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off"),
            *("-serial", f"file:{self._scratch / 'console'}"),
            *("-device", "virtio-rng-pci"),
            *("-drive", f"file={self._image.disk},format=raw,if=virtio,snapshot=on"),
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=port,path={port}"),
            *("-device", "virtserialport,chardev=port,name=kebpf"),
        ]
        if self._files is not None:
            drive = f"file={self._files},format=raw,if=virtio,readonly=on"
            command += ["-drive", drive]
        return command

    def await_boot(self) -> str:
        """Until the machine can be spoken to; the identity of this boot."""
        while True:
            message = self._receive(BOOT_SECONDS)
            if "hello" in message and message["hello"] != self.boot_id:
                self.boot_id = message["hello"]
                return self.boot_id

    def reboot(self) -> None:
        """In order, as `systemctl reboot` does; back when it is up."""
        self._send("systemctl reboot")
        self.await_boot()
        self.await_services()

    def await_services(self) -> str:
        """Until all units of the boot have started; the state of the whole."""
        return self.run("systemctl is-system-running --wait", BOOT_SECONDS).output.strip()

    def run(self, script: str, seconds: float = SCRIPT_SECONDS, is_shown: bool = False) -> Outcome:
        """Runs it by bash as root.  Raises `MachineError` when it takes longer."""
        self._send(script)
        output = []
        while "status" not in (message := self._receive(seconds)):
            if "hello" in message:
                raise MachineError(f"the machine started anew during {shlex.quote(script)}")
            output.append(message["output"])
            if is_shown:
                sys.stderr.write(message["output"])
                sys.stderr.flush()
        return Outcome(message["status"], "".join(output))

    def check(self, script: str, seconds: float = SCRIPT_SECONDS) -> str:
        """The output of a script that has to succeed.  Raises `MachineError`."""
        outcome = self.run(script, seconds)
        if outcome.status:
            raise MachineError(f"{script}: status {outcome.status}\n{outcome.output}")
        return outcome.output

    def _send(self, script: str) -> None:
        self._port.sendall(json.dumps({"script": script}).encode() + b"\n")

    def _receive(self, seconds: float) -> dict[str, Any]:
        """One message; silence longer than ``seconds`` is an error."""
        self._port.settimeout(seconds)
        while b"\n" not in self._pending:
            try:
                read = self._port.recv(1 << 16)
            except TimeoutError:
                raise MachineError(f"silent for {seconds:.0f} s; {self._last_words()}") from None
            if not read:
                raise MachineError(f"the machine ended; {self._last_words()}")
            self._pending += read
        line, self._pending = self._pending.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def _last_words(self) -> str:
        texts = [(self._scratch / name).read_text(errors="replace") for name in ("qemu", "console")]
        return "\n".join(["its console:", *"".join(texts).splitlines()[-_CONSOLE_LINES:]])
