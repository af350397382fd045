#!/usr/bin/env python3
"""A reverse proxy that notes the shapes of all answers that pass through it.

    record.py FILE FRONT=LISTEN:TARGET…      e.g. record.py shapes.json manager=8091:8080

Passes on what it gets, byte for byte: the Host header stays, so that signatures hold, and event
streams and WebSockets run through. FILE says for each front, call and outcome how the answer looks
(see shapes.py); what it says already is kept and widened. Runs on a cluster's own Python, which
has aiohttp. Who is behind and what is called is none of its business.
"""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import aiohttp
from aiohttp import WSMsgType, web
from multidict import CIMultiDict
from shapes import graphql_fields, merge, outcome, pattern, shape
from yarl import URL

HOST = "127.0.0.1"
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"}
OF_THE_HANDSHAKE = OF_THE_CONNECTION | {
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-accept",
}
NOTED_HEADERS = (
    "Accept-Ranges Content-Disposition Content-Range ETag Set-Cookie "
    "Tus-Resumable Upload-Length Upload-Offset X-BackendAI-SessionID"
).split()
UNASKED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # not added to what is sent
FORGOTTEN = (ConnectionError, aiohttp.ClientError, asyncio.TimeoutError)


class Notes:
    """What is known of the answers: front → call → outcome → parts, and the file that says so."""

    def __init__(self, file):
        self.file = file
        self.fronts = json.loads(file.read_text()) if file.exists() else {}

    def add(self, front, call, outcome, **parts):
        outcomes = self.fronts.setdefault(front, {}).setdefault(call, {})
        before = json.dumps(outcomes.get(outcome))
        known = outcomes.setdefault(outcome, {})
        for event, data in parts.pop("events", {}).items():
            into = known.setdefault("events", {})
            into[event] = merge(into[event], data) if event in into else data
        for part, found in parts.items():
            if found is not None:
                known[part] = merge(known[part], found) if part in known else found
        if json.dumps(known) != before:
            self.write()

    def write(self):
        """A line for each outcome, so that a difference is a line."""
        text = "{"
        for front, calls in sorted(self.fronts.items()):
            text += f"{',' * (text != '{')}\n {json.dumps(front)}: {{"
            for number, (call, outcomes) in enumerate(sorted(calls.items())):
                lines = (
                    f"\n   {json.dumps(each)}: {json.dumps(parts, sort_keys=True)}"
                    for each, parts in sorted(outcomes.items())
                )
                text += f"{',' * (number > 0)}\n  {json.dumps(call)}: {{{','.join(lines)}}}"
            text += "}"
        new = self.file.with_suffix(".new")
        new.write_text(text + "\n}\n")
        new.replace(self.file)


class Front:
    """One address that is listened on, and the one behind it."""

    def __init__(self, notes, client, name, listen, target):
        self.notes, self.client, self.name, self.listen = notes, client, name, listen
        self.target = f"http://{HOST}:{target}"

    async def answer(self, request):
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self.websocket(request)
            return await self.call(request)
        except FORGOTTEN:
            # Whoever is behind is gone: so is this connection.
            if request.transport is not None:
                request.transport.abort()
            raise

    def url(self, request):
        return URL(self.target + request.raw_path, encoded=True)

    def note(self, request, status, says=None, **parts):
        call = f"{request.method} {pattern(request.raw_path)}"
        if request.path.endswith("/gql"):
            with contextlib.suppress(ValueError, AttributeError, KeyError, TypeError):
                call = f"{call} {' '.join(graphql_fields(json.loads(request['body'])['query']))}"
        self.notes.add(self.name, call, outcome(status, says), **parts)

    async def call(self, request):
        request["body"] = await request.read()
        headers = without(request.headers, OF_THE_CONNECTION)
        async with self.client.request(
            request.method,
            self.url(request),
            headers=headers,
            data=request["body"] or None,
            skip_auto_headers=UNASKED,
            allow_redirects=False,
        ) as behind:
            if behind.content_type == "text/event-stream":
                return await self.stream(request, behind)
            data = await behind.read()
            says, body = decoded(behind, data)
            self.note(
                request,
                behind.status,
                says,
                type=behind.headers.get("Content-Type", "").split(";")[0] or None,
                headers={name: "str" for name in NOTED_HEADERS if name in behind.headers} or None,
                body=body,
            )
            passed = without(behind.headers, OF_THE_CONNECTION)
            if request.method == "HEAD" and "Content-Length" in behind.headers:
                passed["Content-Length"] = behind.headers["Content-Length"]
            return web.Response(status=behind.status, reason=behind.reason, headers=passed, body=data)

    async def stream(self, request, behind):
        front = web.StreamResponse(status=behind.status, headers=without(behind.headers, OF_THE_CONNECTION))
        await front.prepare(request)
        self.note(request, behind.status, type="text/event-stream")
        rest = b""
        async for piece in behind.content.iter_any():
            await front.write(piece)
            *events, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                self.note_event(request, behind.status, event.decode(errors="replace"))
        await front.write_eof()
        return front

    def note_event(self, request, status, text):
        fields = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line and line[0] != ":")
        if "event" in fields:
            with contextlib.suppress(ValueError):
                data = shape(json.loads(fields.get("data", "null")))
                self.note(request, status, events={fields["event"]: data})

    async def websocket(self, request):
        protocols = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if word]
        try:
            behind = await self.client.ws_connect(
                self.url(request),
                headers=without(request.headers, OF_THE_HANDSHAKE | {"sec-websocket-protocol"}),
                protocols=protocols,
                autoping=False,
                autoclose=False,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError:
            return await self.call(request)  # once more, for the body of the refusal
        front = web.WebSocketResponse(protocols=protocols, autoping=False, autoclose=False, max_msg_size=0)
        await front.prepare(request)
        self.note(request, 101)
        async with asyncio.TaskGroup() as both:
            both.create_task(self.pump(request, front, behind, "sent"))
            both.create_task(self.pump(request, behind, front, "received"))
        return front

    async def pump(self, request, source, sink, part):
        while True:
            message = await source.receive()
            if message.type is WSMsgType.TEXT:
                await sink.send_str(message.data)
                self.note(request, 101, **{part: text_shape(message.data)})
            elif message.type is WSMsgType.BINARY:
                await sink.send_bytes(message.data)
                self.note(request, 101, **{part: "bytes"})
            elif message.type is WSMsgType.PING:
                await sink.ping(message.data)
            elif message.type is WSMsgType.PONG:
                await sink.pong(message.data)
            elif message.type is WSMsgType.CLOSE:
                if part == "received":
                    self.note(request, 101, closes=str(message.data))
                await sink.close(code=message.data or 1000, message=(message.extra or "").encode())
                return
            else:  # ended without a close frame
                await sink.close()
                return


def without(headers, names):
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in names)


def decoded(behind, data):
    """The value of a JSON body, and the shape of any."""
    if not data or behind.method == "HEAD":
        return None, None
    if "json" not in behind.content_type or "Content-Encoding" in behind.headers:
        return None, "bytes"
    try:
        body = json.loads(data)
    except ValueError:
        return None, "bytes"
    return body, shape(body)


def text_shape(text):
    try:
        return shape(json.loads(text))
    except ValueError:
        return "text"


async def main():
    notes = Notes(Path(sys.argv[1]))
    unlimited = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, timeout=unlimited, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as client:
        runners = []
        for argument in sys.argv[2:]:
            name, ports = argument.split("=")
            listen, target = ports.split(":")
            front = Front(notes, client, name, int(listen), int(target))
            app = web.Application(client_max_size=1 << 30)
            app.router.add_route("*", "/{path:.*}", front.answer)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, HOST, front.listen, shutdown_timeout=1).start()
            runners.append(runner)
        ended = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, ended.set)
        await ended.wait()
        for runner in runners:
            await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
