"""Records a running service through eBPF and replays it with what it depends on switched off."""

__version__: str


def __getattr__(name: str) -> str:
    """The version, looked up when it is first asked for: that takes longer than all the rest."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("kebpf")
    except PackageNotFoundError:  # run from a checkout that is not installed
        found = "0"
    globals()[name] = found
    return found
