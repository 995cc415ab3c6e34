"""Passwords are found where the application has them, if a client insists on being asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.replay.passwords import find_login
from kebpf.replay.truststores import Program

URL = "postgresql+psycopg://owner:se%40cret@db:5432/shop?channel_binding=require"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("environment", "passwords"),
    [
        ({"DATABASE_URL": URL}, ["se@cret"]),
        ({"PGCHANNELBINDING": "require", "PGPASSWORD": "first"}, ["first"]),
        ({"PGREQUIREAUTH": "scram-sha-256", "DSN": "host=db password=pw"}, ["pw"]),
        ({"PGCHANNELBINDING": "require"}, []),
    ],
)
def test_in_the_environment(
    tmp_path: Path, environment: dict[str, str], passwords: list[str]
) -> None:
    login = find_login(Program(["app"], environment, tmp_path))
    assert (login.passwords, login.is_insisting) == (passwords, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app.py", 'connect(password="pw", channel_binding="require")'),
        ("conf/db.yml", "db:\n  password: pw\n  channel_binding: require\n"),
        ("db.json", '{"password": "pw", "channelBinding": "require"}'),
    ],
)
def test_in_the_applications_texts(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path / name, text)
    assert find_login(Program(["app"], {}, tmp_path)).passwords == ["pw"]


@pytest.mark.parametrize("variable", [None, "PGPASSFILE"])
def test_in_libpqs_own_file(tmp_path: Path, variable: str | None) -> None:
    path = tmp_path / ("own" if variable else "home/.pgpass")
    put(path, "# none:x:x:x:x\ndb:5432:*:owner:with\\:colon\n*:*:*:*:any\nbroken\n")
    environment = {"HOME": str(tmp_path / "home"), "PGCHANNELBINDING": "require"}
    if variable:
        environment[variable] = str(path)
    login = find_login(Program(["app"], environment, tmp_path))
    assert login.passwords == ["with:colon", "any"]


def test_none_are_looked_for_where_nobody_insists(tmp_path: Path) -> None:
    put(tmp_path / "app.py", 'connect(password="pw", channel_binding="prefer")')
    environment = {"PGPASSWORD": "first", "URL": URL.replace("require", "prefer")}
    login = find_login(Program(["app"], environment, tmp_path))
    assert (list(login.passwords), login.is_insisting) == ([], False)
