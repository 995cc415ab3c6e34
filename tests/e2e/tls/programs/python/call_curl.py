"""The curl command, one process a call, on the OpenSSL of the system."""

import os
import subprocess

VENDOR = os.environ["VENDOR_URL"]
TYPE = "Content-Type: text/plain"
COMMAND = ["curl", "--silent", "--show-error", "--fail", "--cacert", os.environ["CA_FILE"]]


def run(*words, text=None):
    done = subprocess.run(
        [*COMMAND, *words], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def keep(number, note):
    run("--data-binary", "@-", "-H", "Expect:", "-H", TYPE, f"{VENDOR}/notes/{number}", text=note)


def recall(number):
    return run(f"{VENDOR}/notes/{number}")
