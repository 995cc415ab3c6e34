"""Mutates the applications' sources and replays their recordings: `__main__` says how."""
