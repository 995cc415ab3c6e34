"""Plain HTTP in threads; each request has the caller named on the command line make two calls."""

import importlib
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUG = os.environ.get("TLS_BUG", "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.answer("fine")

    def do_POST(self):
        number = int(self.path.rpartition("/")[2])
        note = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if BUG != "drop":
            caller.keep(number, note + ("!" if BUG == "argument" else ""))
        answer = caller.recall(number)
        self.answer(f"{number}{'0' if BUG == 'field' else ''} {answer}")

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


caller = importlib.import_module(sys.argv[1])
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
