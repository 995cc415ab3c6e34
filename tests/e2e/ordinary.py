"""An ordinary user of this machine, and scratch folders that others than root can get to."""

from __future__ import annotations

import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FIRST_UID, LAST_UID = 1000, 60_000  # of people, by login.defs(5)


def find_ordinary_user() -> str:
    """A person's account, else one that nothing belongs to."""
    people = (one.pw_name for one in pwd.getpwall() if FIRST_UID <= one.pw_uid <= LAST_UID)
    return next(people, "nobody")


@contextmanager
def open_folder(prefix: str = "kebpf-open-") -> Iterator[Path]:
    """Anybody may read it: pytest's folders are for their owner only."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def give(folder: Path, user: str) -> None:
    """Makes a folder with all in it a user's."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user)


def become(user: str) -> list[str]:
    """The words that make the rest of a command line a user's, without any right."""
    entry = pwd.getpwnam(user)
    ids = ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid)]
    return ["setpriv", *ids, "--clear-groups", "--inh-caps=-all"]
