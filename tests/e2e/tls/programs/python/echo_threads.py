"""Answers with the note reversed; the thread of a connection waits within its ssl socket."""

import os
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUG = os.environ.get("TLS_BUG", "")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["CERT_FILE"], os.environ["KEY_FILE"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.answer("fine")

    def do_POST(self):
        note = self.rfile.read(int(self.headers["Content-Length"])).decode()
        number = self.path.rpartition("/")[2] + ("0" if BUG == "field" else "")
        self.answer(f"{number} {note[::-1]}")

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def finish_request(self, request, client_address):
        with context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
