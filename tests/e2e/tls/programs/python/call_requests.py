"""requests, with its pool."""

import os

import requests

VENDOR = os.environ["VENDOR_URL"]
session = requests.Session()
if "SHOWN" in os.environ:
    session.cert = (os.environ["CERT_FILE"], os.environ["KEY_FILE"])


def keep(number, note):
    session.post(f"{VENDOR}/notes/{number}", data=note).raise_for_status()


def recall(number):
    answer = session.get(f"{VENDOR}/notes/{number}")
    answer.raise_for_status()
    return answer.text
