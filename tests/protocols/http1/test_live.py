"""Traffic of real programs (uvicorn on llhttp, httpx, http.client), copied off by a socket tee."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from kebpf.protocols.base import Exchange, Mark, Sender
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.pairer import HttpPairer


class Tee:
    """Passes connections on to a port, and each piece to a pairer of its own."""

    def __init__(self, port: int) -> None:
        self.exchanges: list[Exchange] = []
        self.wire = dict.fromkeys(Sender, b"")
        self._port = port
        self._clock = itertools.count(1)
        self.tasks: list[asyncio.Task[None]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        there = await asyncio.open_connection("127.0.0.1", self._port)
        pairer = HTTP1.make_pairer()
        assert isinstance(pairer, HttpPairer)
        await asyncio.gather(
            self._copy(Sender.CLIENT, reader, there[1], pairer),
            self._copy(Sender.SERVER, there[0], writer, pairer),
        )
        self.exchanges += pairer.finish(Mark(next(self._clock)))
        for end in (writer, there[1]):
            end.close()
            await end.wait_closed()

    async def _copy(
        self,
        sender: Sender,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        pairer: HttpPairer,
    ) -> None:
        while data := await source.read(65536):
            self.wire[sender] += data
            self.exchanges += pairer.receive_data(sender, data, Mark(next(self._clock)))
            sink.write(data)
            await sink.drain()
        self.exchanges += pairer.receive_eof(sender, Mark(next(self._clock)))
        with contextlib.suppress(OSError):
            sink.write_eof()


def make_app() -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        body = await request.body()
        response = Response(body)
        response.set_cookie("a", "1", path=None, samesite=None)
        response.set_cookie("b", "2", path=None, samesite=None)
        return response

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for number in range(5):
                yield b"part %d\n" % number

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/zipped")
    async def zipped() -> Response:
        body = gzip.compress(json.dumps({"price": 1}).encode())
        return Response(body, media_type="application/json", headers={"content-encoding": "gzip"})

    @app.delete("/gone", status_code=204)
    async def gone() -> None:
        return None

    return app


def record(talk: Callable[[int], None]) -> Tee:
    """Serves the application, lets ``talk`` use it through the tee, gives the tee."""
    return asyncio.run(_record(talk))


async def _record(talk: Callable[[int], None]) -> Tee:
    config = uvicorn.Config(make_app(), http="httptools", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        tee = Tee(listening.getsockname()[1])
        listener = await asyncio.start_server(tee.handle, "127.0.0.1", 0)
        await asyncio.to_thread(talk, listener.sockets[0].getsockname()[1])
        listener.close()
        await asyncio.gather(*tee.tasks)
        server.should_exit = True
        await serving
    return tee


def use_httpx(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.post("/echo", json={"a": [1, 2.50]}).status_code == 200
        assert client.post("/echo", content=iter([b"one", b"two"])).text == "onetwo"
        assert client.get("/stream").text.endswith("part 4\n")
        assert client.get("/zipped").json() == {"price": 1}
        assert client.delete("/gone").status_code == 204
        assert client.request("HEAD", "/stream").status_code == 405


def test_every_exchange_is_seen_whole() -> None:
    tee = record(use_httpx)
    views = [HTTP1.view(e.response) for e in tee.exchanges if e.response is not None]
    assert [e.problem for e in tee.exchanges] == [None] * 6
    assert [view["status"] for view in views] == [200, 200, 200, 200, 204, 405]
    assert views[1]["body"] == "onetwo"
    assert views[2]["body"] == "".join(f"part {number}\n" for number in range(5))
    assert views[3]["body"] == {"price": 1}
    assert [pair for pair in views[0]["headers"] if pair[0] == "set-cookie"] == [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
    ]
    framings = [e.response["framing"] for e in tee.exchanges if e.response]
    assert framings == ["length", "length", "chunked", "length", "none", "none"]


def test_written_again_it_is_the_traffic() -> None:
    def talk(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(3):
            connection.request("POST", f"/echo?n={number}", b"x" * 100_000 * number)
            assert len(connection.getresponse().read()) == 100_000 * number
        connection.close()

    tee = record(talk)
    requests = b"".join(HTTP1.write_request(e.request) for e in tee.exchanges)
    responses = b"".join(HTTP1.write_response(e.response) for e in tee.exchanges if e.response)
    assert requests == tee.wire[Sender.CLIENT]
    assert responses == tee.wire[Sender.SERVER]
