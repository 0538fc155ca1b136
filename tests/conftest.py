import os
import signal
import tempfile
from pathlib import Path

import hypothesis
import pytest
from pipeline import copy_of_the_commit

# huggingface_hub reads its variables when it is imported, which is before any fixture runs. make passes the options of
# `make test` to every make that a test starts.
FOREIGN = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "MAKE", "MFLAGS", "ARGS", "CORES")
for name in list(os.environ):
    if name.startswith(FOREIGN):
        del os.environ[name]
HUB_HOME = tempfile.TemporaryDirectory(prefix="medrlvr-hub-")
"""Folder of the Hugging Face Hub's cache and token for all tests and their processes; Python removes it at exit."""
os.environ |= {"HF_HOME": HUB_HOME.name, "HF_HUB_OFFLINE": "1"}
# A proxy of the user's would not reach the servers that tests start on this machine.
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")

# A script's background command (`make test &`) ignores the signal of Ctrl-C, and so would all programs that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine does not fail a test, and the same code gives the same result each time.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("cluster", "slow")])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the commit, which the tests of one file share."""
    return copy_of_the_commit(tmp_path_factory.mktemp("clone"))
