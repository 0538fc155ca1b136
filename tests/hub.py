"""A server that imitates the hub for one file, and misbehaves as it is told."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Hub:
    """The file and what goes wrong.

    Attributes:
        content: the file.
        faults: what the next requests meet, each "METHOD fault"; a request of another method leaves them alone, and the
            last one stays for good if it ends in "!".
        elsewhere: address that HEAD redirects to, as the hub does to its content servers.
        asked: (method, path, headers by their names in lower case) of every request.
    """

    content: bytes
    faults: list[str] = field(default_factory=list)
    elsewhere: str | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    address: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def fault(self, method: str) -> str:
        if not self.faults or not self.faults[0].startswith(method):
            return ""
        fault = self.faults[0] if self.faults[0].endswith("!") else self.faults.pop(0)
        return fault.removeprefix(method).strip(" !")


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer("HEAD")

        def do_GET(self) -> None:
            self.answer("GET")

        def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def answer(self, method: str) -> None:
            hub.asked.append((method, self.path, {name.lower(): value for name, value in self.headers.items()}))
            fault = hub.fault(method)
            known = {"X-Repo-Commit": COMMIT, "ETag": '"of-the-file"'}
            # What a server should not do, but may: send back what it was sent.
            echo = f"<html><h1>Error</h1>{self.headers.get('Authorization')}</html>".encode()
            match fault.split():
                case ["status", status, *more]:
                    headers = dict(pair.split("=", 1) for pair in more)
                    message = {"X-Error-Message": f"refused: {self.headers.get('Authorization')}"}
                    self.reply(int(status), {**known, **message, **headers}, echo)
                case ["page"]:
                    self.reply(200, {"Content-Type": "text/html"}, echo)
                case ["stall"]:
                    hub.ended.wait(20)
                case ["wrong"]:
                    self.reply(200, known, b"x" * len(hub.content))
                case ["reset"]:
                    self.reply(200, {**known, "Content-Length": str(len(hub.content))}, hub.content[:5])
                    # Closing with data unread and no linger sends a reset instead of an end.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                case ["short"]:
                    self.reply(200, known, hub.content[:-3])
                case ["truncated"]:
                    self.reply(200, {**known, "Content-Length": str(len(hub.content))}, hub.content[:5])
                case []:
                    self.whole(known)
                case _:
                    raise AssertionError(fault)

        def whole(self, known: dict[str, str]) -> None:
            if self.command == "HEAD" and hub.elsewhere:
                linked = {"X-Linked-Etag": known["ETag"], "X-Linked-Size": str(len(hub.content))}
                self.reply(302, {**known, **linked, "Location": hub.elsewhere + self.path})
            elif self.command == "HEAD":
                self.reply(200, {**known, "Content-Length": str(len(hub.content))})
            elif "Range" in self.headers:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                place = {"Content-Range": f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}"}
                self.reply(206, {**known, **place}, hub.content[start:])
            else:
                self.reply(200, known, hub.content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield hub
        finally:
            hub.ended.set()
            server.shutdown()
