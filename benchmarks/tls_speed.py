"""nginx serving HTTPS (OpenSSL) under wrk, beside mitmproxy as a reverse proxy that ends TLS."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.loads import load_http
from benchmarks.observers import MITMPROXY_TLS
from benchmarks.subject import Subject, measure_subject
from examples.certificates import make_certificates
from examples.processes import Process, find_free_port, find_program

SECONDS = 4.0
CONNECTIONS = 8
CONFIGURATION = """
daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""
ANSWER = '{"items": ["' + '", "'.join(f"item {number:03}" for number in range(80)) + '"]}'


@contextmanager
def running_nginx(folder: Path) -> Iterator[tuple[Process, int]]:
    """One worker, and its port."""
    folder.mkdir()
    certificates, port = make_certificates(folder / "certificates"), find_free_port()
    values = {"certificate": certificates.certificate, "key": certificates.key}
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(port=port, answer=ANSWER, **values))
    words = ["-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    nginx = Process("nginx", [find_program("nginx", "usr/sbin/nginx"), *words])
    try:
        nginx.wait_for(lambda line: "start worker process " in line)
        yield nginx, port
    finally:
        nginx.stop(signal.SIGQUIT)


def measure_tls(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """Speed with and without recording."""
    with running_nginx(folder / "nginx") as (nginx, port):
        subject = Subject(
            name="HTTPS, wrk -c 8",
            target=nginx.pid,
            port=port,
            load=lambda port, share: load_http(
                f"https://127.0.0.1:{port}/", SECONDS * share, CONNECTIONS
            ),
            tools=(MITMPROXY_TLS,),
        )
        yield from measure_subject(subject, doors, rounds, folder / "tls")
