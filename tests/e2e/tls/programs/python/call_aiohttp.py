"""aiohttp: the event loop's own TLS."""

import os
import ssl

import aiohttp

context = ssl.create_default_context(cafile=os.environ["CA_FILE"])
session = None


async def open():  # noqa: A001
    global session
    connector = aiohttp.TCPConnector(ssl=context)
    session = aiohttp.ClientSession(os.environ["VENDOR_URL"], connector=connector)


async def keep(number, note):
    async with session.post(f"/notes/{number}", data=note, raise_for_status=True) as answer:
        await answer.read()


async def recall(number):
    async with session.get(f"/notes/{number}", raise_for_status=True) as answer:
        return await answer.text()
