"""The wget command, one process a call, on GnuTLS."""

import os
import subprocess
import tempfile

VENDOR = os.environ["VENDOR_URL"]
COMMAND = ["wget", "-q", "-O", "-", f"--ca-certificate={os.environ['CA_FILE']}"]


def run(*words):
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=True).stdout


def keep(number, note):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(note)
        file.flush()
        run(
            "--header=Content-Type: text/plain",
            f"--post-file={file.name}",
            f"{VENDOR}/notes/{number}",
        )


def recall(number):
    return run(f"{VENDOR}/notes/{number}")
