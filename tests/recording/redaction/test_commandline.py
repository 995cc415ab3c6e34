"""What a command line shows on the screen."""

from __future__ import annotations

from kebpf.recording.redaction.commandline import hide_secrets
from kebpf.recording.redaction.rules import Rules


def test_secrets_of_a_command_line_are_hidden() -> None:
    words = ["java", "-Dtrust.storePassword=top", "-jar", "a.jar", "--token", "abc", "--port", "80"]
    words += ["--db=postgres://shop:s3cr=t@db.local/shop", "--mail", "bob@acme.com"]
    assert hide_secrets(words, Rules()) == [
        *("java", "-Dtrust.storePassword=***", "-jar", "a.jar", "--token", "***", "--port", "80"),
        *("--db=postgres://shop:***@db.local/shop", "--mail", "***"),
    ]


def test_names_of_the_project_count() -> None:
    assert hide_secrets(["--tenant-ref=7x"], Rules(names=["tenant_ref"])) == ["--tenant-ref=***"]
    assert hide_secrets(["--token", "7x"], Rules(keep=["token"])) == ["--token", "7x"]
