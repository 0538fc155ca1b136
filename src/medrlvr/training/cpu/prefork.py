"""Import the stack once, then fork: otherwise Ray's six Python processes each import the same 8,000 modules.

A server process that has imported everything waits on a socket. Whoever wants a Python process sends its command line,
environment and standard streams there, as `client.py` does for Ray's workers, and a fork of the server becomes it.
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
"""What the driver and Ray's workers will need."""

_PR_SET_PDEATHSIG = 1

_DRAWS = 1000
"""Random numbers of Ray that lie between those of one fork and the next. A worker takes a few."""


def start(address: Path, environment: Mapping[str, str]) -> None:
    """Start the server, which ends with the calling process; requests wait until it has imported `MODULES`.

    Must be called before any thread is started.

    Args:
        address: path of the socket to be made.
        environment: set while the server imports, for libraries that read it then and never again.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    listener.listen(64)
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            os.environ.update(environment)
            # Nothing imported is ever garbage: looking for it takes a sixth of the time, and later unshares the pages.
            gc.disable()
            for name in MODULES:
                import_module(name)
            gc.freeze()
            _serve(listener)
        except BaseException:
            traceback.print_exc()
        # This is a copy of the caller, which must not go on twice.
        os._exit(1)
    listener.close()


def run(address: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Have the server run a Python script with our standard streams, and return its exit status.

    Args:
        arguments: path of the script, and what it finds behind it in `sys.argv`.
        environment: all of it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(address))
        request = {"arguments": list(arguments), "environment": dict(environment), "folder": os.getcwd()}
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        status = connection.recv(16)
    # Nothing comes from a process that was killed.
    return int(status) if status else 1


def _serve(listener: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for fork in count():
        connection, _ = listener.accept()
        text, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        while not text.endswith(b"\n") and (more := connection.recv(1 << 16)):
            text += more
        # Without a line end it was sent by a process that was killed.
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
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    import atexit

    # Ray says goodbye in an exit function, but the server's own must not run here.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # Ray's workers are started by a process that does not wait for them
        connection.send(str(status).encode())
    os._exit(status)


def _draw(numbers: int) -> None:
    """Move on in Ray's random numbers, which after the imports are at one place in all forks.

    Two workers that warm up at the same moment would name an object alike: one of them dies of it ("Seal() called on an
    object without a reference to it"), and the training waits for it for ever.
    """
    from ray import ObjectRef

    for _ in range(numbers):
        ObjectRef.from_random()
