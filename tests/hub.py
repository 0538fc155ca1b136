"""A server that imitates the Hugging Face Hub with one content for all files, and fails where a test requires it."""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0ff"
DOWNLOAD = re.compile(
    r"/.+/resolve/"  # a file
    r"|/api/models/[^/]+/[^/]+/(revision|tree)/"  # a repository's commit and its list of files
    r"|/xet-token$|/v\d/reconstructions/"  # a file by hf_xet
)


@dataclass
class Hub:
    """The content and what goes wrong.

    Attributes:
        content: content of every file.
        files: names of the files in every repository's list.
        faults: what the next requests meet, each "METHOD fault"; a request of another method leaves them alone, and the
            last one stays for good if it ends in "!".
        elsewhere: address that HEAD redirects to, as the Hugging Face Hub does to its content servers.
        asked: (method, path, headers by their names in lower case) of every request that belongs to a download.
        others: the same of all other requests, which are answered with 404.
    """

    content: bytes
    files: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)
    elsewhere: str | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    others: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
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

        def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def answer(self) -> None:
            request = (self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
            if not DOWNLOAD.match(self.path):
                hub.others.append(request)
                self.reply(404, {})
                return
            hub.asked.append(request)
            fault = hub.fault(self.command)
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
                case ["xet"]:
                    by_xet = {"X-Xet-Hash": "ab" * 32, "X-Xet-Refresh-Route": f"{hub.address}/xet-token"}
                    self.reply(200, {**known, **by_xet, "Content-Length": str(len(hub.content))})
                case ["truncated"]:
                    self.reply(200, {**known, "Content-Length": str(len(hub.content))}, hub.content[:5])
                case []:
                    self.whole(known)
                case _:
                    raise AssertionError(fault)

        do_HEAD = do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def whole(self, known: dict[str, str]) -> None:
            if "/revision/" in self.path:
                self.reply(200, known, json.dumps({"id": "some/model", "sha": COMMIT}).encode())
            elif "/tree/" in self.path:
                size = len(hub.content)
                listed = [{"type": "file", "path": name, "size": size, "oid": "of-the-file"} for name in hub.files]
                self.reply(200, known, json.dumps(listed).encode())
            elif self.path == "/xet-token":
                expiry = str(int(time.time()) + 3600)
                access = {"X-Xet-Access-Token": "short-lived", "X-Xet-Token-Expiration": expiry}
                self.reply(200, {**access, "X-Xet-Cas-Url": hub.address})
            elif "/reconstructions/" in self.path:
                self.reply(404, {})
            elif self.command == "HEAD" and hub.elsewhere:
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
