"""Stores in an application's folder, and stores that its texts name, are found; no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.replay import appfiles
from kebpf.replay.appfiles import find_app_stores, find_stores_of_binary


def put(path: Path, text: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def find(folder: Path, home: Path | None = None) -> set[Path]:
    return {path.resolve() for path in find_app_stores(folder, home) if path.is_file()}


def test_files_by_their_names(tmp_path: Path) -> None:
    stores = {put(tmp_path / name) for name in ("ca.pem", "a/b/rds.CRT", "trust.jks", "x/cacerts")}
    put(tmp_path / "readme.md", "/etc/ca.pem")
    put(tmp_path / "node_modules/x/ca.pem")
    put(tmp_path / "venv/pyvenv.cfg")
    put(tmp_path / "venv/lib/ca.pem")
    assert find(tmp_path) == stores


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app.py", 'context = create_default_context(cafile="{}")'),
        ("conf/app.yml", "tls:\n  ca: {}\n"),
        (".env", "DATABASE_URL=postgres://u@h/d?sslrootcert={}&sslmode=verify-full\n"),
        ("application.properties", "ssl.truststore={}\n"),
    ],
)
def test_files_that_are_named_in_texts(tmp_path: Path, name: str, text: str) -> None:
    app, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    store = put(elsewhere / "company-ca.crt")
    put(app / name, text.format(store))
    assert find(app) == {store}


def test_relative_names_are_from_the_start_or_from_beside(tmp_path: Path) -> None:
    app, home = tmp_path / "app", tmp_path / "home"
    stores = {put(tmp_path / "certs/one.pem"), put(home / "two.pem")}
    put(app / "src/main.go", '"../certs/one.pem" "../../certs/one.pem" "~/two.pem"')
    assert find(app, home) == stores


def test_large_folders_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appfiles, "MOST_ENTRIES", 3)
    put(tmp_path / "deep/ca.pem")
    for number in range(4):
        put(tmp_path / f"file{number}")
    assert find(tmp_path) == set()


def test_binaries_name_whole_paths(tmp_path: Path) -> None:
    program = put(tmp_path / "program", b"\x7fELF\0\0/etc/own/ca.pem\0more/ca.pem\0/x.conf\0")
    assert list(find_stores_of_binary(program)) == [Path("/etc/own/ca.pem")]
    assert not list(find_stores_of_binary(put(tmp_path / "script", "#!/x /etc/own/ca.pem")))
    assert not list(find_stores_of_binary(tmp_path / "none"))


def test_names_with_variables_are_those_of_the_programs_environment(tmp_path: Path) -> None:
    app, data = tmp_path / "app", tmp_path / "data"
    stores = {put(data / "trust.p12"), put(data / "b/ca.pem")}
    put(app / "start.sh", 'store=$DATA/trust.p12\ncurl --cacert "${DATA}/b/ca.pem" $OTHER/c.pem\n')
    found = find_app_stores(app, None, {"DATA": str(data)})
    assert {path.resolve() for path in found if path.is_file()} == stores


def test_what_is_somebody_elses_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ordinary user: not even what is in such a folder can be asked."""
    store = put(tmp_path / "own/ca.pem")
    put(tmp_path / "theirs/ca.pem")
    exists = Path.exists

    def refuse(path: Path) -> bool:
        if path.parent.name == "theirs":
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refuse)
    assert find(tmp_path) == {store}
