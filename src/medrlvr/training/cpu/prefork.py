"""Import all libraries once, then fork: otherwise Ray's six Python processes each import the same 8,000 modules.

A server process imports everything and then waits on a socket. To start a Python process, a client such as `client.py`,
which Ray starts for each worker, sends the command line, environment and standard streams there. A fork of the server
then becomes that process.
"""

import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

MODULES = (
    "openrlhf.trainer.ppo_trainer",
    "openrlhf.trainer.ray.ppo_actor",
    "openrlhf.trainer.ray.ppo_critic",
    "torch.utils.tensorboard",
    "transformers.models.qwen2.modeling_qwen2",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.worker.cpu_worker",
)
"""Modules that the driver and Ray's workers need."""

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15

_DRAWS = 1000
"""Number of Ray's random numbers reserved for each fork. A worker draws only a few."""


def start(address: Path, environment: Mapping[str, str]) -> None:
    """Start the server, which ends with the calling process; requests wait until it has imported `MODULES`.

    Must be called before any thread is started.

    Args:
        address: path of the socket to create.
        environment: variables set while the server imports, for libraries that read them only at import.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    listener.listen(64)
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            os.environ.update(environment)
            # Imported objects are never garbage. Collecting would take a sixth of the time and later unshare pages.
            gc.disable()
            for name in MODULES:
                import_module(name)
            gc.freeze()
            _serve(listener)
        except BaseException:
            traceback.print_exc()
        # This process is a copy of the caller and must not continue the caller's work.
        os._exit(1)
    listener.close()


def run(address: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a Python script in a fork of the server, with this process's standard streams, and return its exit status.

    Args:
        arguments: path of the script, then its arguments.
        environment: the script's complete environment.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(address))
        request = {"arguments": list(arguments), "environment": dict(environment), "folder": os.getcwd()}
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        status = connection.recv(16)
    if not status:  # A killed process sends no status.
        print("The driver was killed.", flush=True)
        return 1
    return int(status)


def _serve(listener: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for fork in count():
        connection, _ = listener.accept()
        text, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        while not text.endswith(b"\n") and (more := connection.recv(1 << 16)):
            text += more
        # A request without a line end comes from a killed process.
        if text.endswith(b"\n") and os.fork() == 0:
            listener.close()
            _become(json.loads(text), streams, connection, fork)
        connection.close()
        for stream in streams:
            os.close(stream)


def _become(request: Mapping[str, Any], streams: Sequence[int], connection: socket.socket, fork: int) -> None:
    gc.enable()
    _draw(fork * _DRAWS)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    # The name in lists of processes; the command line stays that of the server.
    ctypes.CDLL(None).prctl(_PR_SET_NAME, Path(sys.argv[0]).stem.encode())
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    import atexit

    # Ray disconnects in an exit function, so these run here. The rest of the server's own exit must not run in a fork.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # the client that starts a Ray worker does not wait for it
        connection.send(str(status).encode())
    os._exit(status)


def _draw(numbers: int) -> None:
    """Advance Ray's random number generator, which has the same state in all forks after the imports.

    Otherwise two workers that warm up at the same moment give an object the same name. One of them then fails ("Seal()
    called on an object without a reference to it"), and training waits for it forever.
    """
    from ray import ObjectRef

    for _ in range(numbers):
        ObjectRef.from_random()
