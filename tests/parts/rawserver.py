"""A server that says whatever a test wants, byte by byte: what no HTTP library would send."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """Its URL. It reads the head of each request, lets `talk` write, and hangs up."""

    under_way: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            under_way.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await talk(writer)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def saying(content: bytes) -> Talk:
    """Just that."""

    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(content)

    return talk


def saying_for_ever(content: bytes, again: bytes, *, pause: float = 0.0) -> Talk:
    """That, and then something again and again until nobody listens any more."""

    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return talk
