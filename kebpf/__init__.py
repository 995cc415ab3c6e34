"""Records a running service through eBPF and replays it with what it depends on switched off."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kebpf")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"
