"""Which connections a person wants left out: what the probes are told of it, and how it is said."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kebpf.kernel.bpf import Map

_U32 = struct.Struct("=I")
_WANTED, _UNWANTED = 1, 2  # bpf/filters.h

#: The counters of connections left out, in the order of ``enum filter`` of bpf/filters.h, and the
#: option each belongs to.
FILTER_OPTIONS = {
    "left_out_by_port": "--port",
    "left_out_by_excluded_port": "--exclude-port",
    "left_out_as_outbound": "--inbound-only",
}
FILTER_NAMES = tuple(FILTER_OPTIONS)


@dataclass(frozen=True, slots=True)
class Filters:
    """A connection's port is its service's: local where the target serves, else remote.

    ``ports`` empty stands for all; ``excluded_ports`` wins over it.
    """

    ports: tuple[int, ...] = ()
    excluded_ports: tuple[int, ...] = ()
    is_inbound_only: bool = False

    @property
    def has_any(self) -> bool:
        return bool(self.ports or self.excluded_ports or self.is_inbound_only)

    def describe(self) -> list[str]:
        """As a person gave them: ``--port 80``."""
        return [
            *(f"--port {port}" for port in self.ports),
            *(f"--exclude-port {port}" for port in self.excluded_ports),
            *(["--inbound-only"] if self.is_inbound_only else []),
        ]

    def flags(self) -> list[str]:
        """What the compiler is told."""
        wanted = {
            "FILTERS": self.has_any,
            "ONLY_PORTS": bool(self.ports),
            "INBOUND_ONLY": self.is_inbound_only,
        }
        return [f"-DKEBPF_{name}" for name, is_wanted in wanted.items() if is_wanted]

    def write(self, ports: Map) -> None:
        """Fills the map of ports.  Raises ``OSError``."""
        for numbers, choice in ((self.ports, _WANTED), (self.excluded_ports, _UNWANTED)):
            for number in numbers:
                ports[_U32.pack(number)] = _U32.pack(choice)


NO_FILTERS = Filters()
