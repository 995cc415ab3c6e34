"""Where runtimes keep their stores is found from what is to be started and in which environment."""

from __future__ import annotations

import sys
from pathlib import Path

import certifi
import pytest

from kebpf.replay.truststores import Program, find_stores


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_environment(prefix: Path, *names: str) -> list[Path]:
    """A Python environment with files of these names among its packages."""
    put(prefix / "pyvenv.cfg")
    put(prefix / "bin/python").chmod(0o755)
    site = prefix / "lib/python3.11/site-packages"
    return [put(site / name) for name in names]


def test_this_pythons_own_bundle_is_found() -> None:
    """certifi itself says where it is."""
    stores = find_stores(Program([sys.executable, "app.py"], {}, Path("/nonexistent")))
    assert Path(certifi.where()).resolve() in stores.bundles


@pytest.mark.parametrize("how", ["word", "script", "path", "variable", "folder", "hidden", "run"])
def test_a_python_environment_is_found(tmp_path: Path, how: str) -> None:
    prefix = tmp_path / {"folder": "app/env", "hidden": "app/.venv"}.get(how, "elsewhere")
    names = ("certifi/cacert.pem", "botocore/cacert.pem", "some/cacert-2024.pem")
    files = make_environment(prefix, *names)
    words, environment, executables = ["true"], {"PATH": "/usr/bin"}, []
    if how == "word":
        words = [f"cd /tmp && {prefix}/bin/python app.py"]
    elif how == "script":
        script = put(tmp_path / "bin/gunicorn", f"#!{prefix}/bin/python\n")
        script.chmod(0o755)
        words = [str(script)]
    elif how == "path":
        environment["PATH"] = f"{prefix}/bin:/usr/bin"
    elif how == "variable":
        environment["VIRTUAL_ENV"] = str(prefix)
    elif how == "run":
        executables = [str(prefix / "bin/python")]
    stores = find_stores(Program(words, environment, tmp_path / "app", executables))
    assert set(files) <= set(stores.bundles)


def test_stores_that_are_named_in_words_and_variables(tmp_path: Path) -> None:
    named = [put(tmp_path / f"certs/{number}.pem") for number in range(4)]
    trust = put(tmp_path / "certs/trust.jks")
    root = put(tmp_path / "home/.postgresql/root.crt")
    folder = tmp_path / "hashed"
    folder.mkdir()
    environment = {
        "DATABASE_URL": f"postgresql://u:p@db/d?sslmode=verify-full&sslrootcert={named[0]}",
        "JAVA_TOOL_OPTIONS": f"-Xmx1g -Djavax.net.ssl.trustStore={trust}",
        "ANY": "certs/1.pem",
        "OTHER": "~/.postgresql/root.crt",
        "HOME": str(tmp_path / "home"),
        "SSL_CERT_DIR": f"{folder}:/nonexistent",
    }
    words = ["app", f"--ca={named[2]}", "sh", "-c", f"PGSSLROOTCERT={named[3]} app \0 {'x' * 5000}"]
    stores = find_stores(Program(words, environment, tmp_path))
    assert {*named, trust, root} <= set(stores.doubtful)
    assert folder in stores.folders


def test_java_homes(tmp_path: Path) -> None:
    store = put(tmp_path / "jdk/lib/security/cacerts")
    old = put(tmp_path / "jdk8/jre/lib/security/cacerts")
    java = put(tmp_path / "jdk8/bin/java")
    java.chmod(0o755)
    environment = {"JAVA_HOME": str(tmp_path / "jdk"), "PATH": str(tmp_path / "jdk8/bin")}
    stores = find_stores(Program(["java"], environment, tmp_path))
    assert {store, old} <= set(stores.doubtful)


def test_the_openssl_of_a_wheel_says_where_it_looks(tmp_path: Path) -> None:
    own = put(tmp_path / "own/cert.pem")
    make_environment(tmp_path / "env")
    library = tmp_path / "env/lib/python3.11/site-packages/psycopg.libs/libcrypto-1a.so.3"
    put(library, f'\0OPENSSLDIR: "{tmp_path}/own"\0')
    environment = {"VIRTUAL_ENV": str(tmp_path / "env")}
    assert own in find_stores(Program(["x"], environment, tmp_path)).bundles
