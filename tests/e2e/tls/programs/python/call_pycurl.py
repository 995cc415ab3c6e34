"""libcurl in the process, in the build of it that speaks GnuTLS: a handle for each thread."""

import io
import os
import threading

import pycurl

assert "GnuTLS" in pycurl.version, pycurl.version
VENDOR = os.environ["VENDOR_URL"]
local = threading.local()


def ask(path, note=None):
    if not hasattr(local, "handle"):
        local.handle = pycurl.Curl()
        local.handle.setopt(pycurl.CAINFO, os.environ["CA_FILE"])
        local.handle.setopt(pycurl.FAILONERROR, True)
        local.handle.setopt(pycurl.HTTPHEADER, ["Expect:", "Content-Type: text/plain"])
    handle, got = local.handle, io.BytesIO()
    handle.setopt(pycurl.URL, VENDOR + path)
    handle.setopt(pycurl.WRITEDATA, got)
    if note is None:
        handle.setopt(pycurl.HTTPGET, True)
    else:
        handle.setopt(pycurl.POST, True)
        handle.setopt(pycurl.POSTFIELDS, note)
    handle.perform()
    return got.getvalue().decode()


def keep(number, note):
    ask(f"/notes/{number}", note)


def recall(number):
    return ask(f"/notes/{number}")
