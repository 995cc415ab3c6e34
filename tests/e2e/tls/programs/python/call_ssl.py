"""http.client, which is ssl and nothing else: a connection for each thread."""

import http.client
import os
import ssl
import threading

context = ssl.create_default_context()
local = threading.local()


def connect():
    if not hasattr(local, "connection"):
        port = int(os.environ["VENDOR_PORT"])
        local.connection = http.client.HTTPSConnection("localhost", port, context=context)
    return local.connection


def ask(method, path, body=None):
    connection = connect()
    connection.request(method, path, body)
    return connection.getresponse().read().decode()


def keep(number, note):
    ask("POST", f"/notes/{number}", note)


def recall(number):
    return ask("GET", f"/notes/{number}")
