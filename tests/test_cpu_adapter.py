"""The CPU adapter: inert without its switch, exact where it patches, loud where the pinned text changed."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from medrlvr.training import patching, ray_start, surprisal
from medrlvr.training.cpu import adapter, float32
from medrlvr.training.patching import Patch, PinnedSourceError, Replacement
from medrlvr.training.resume import patches

ROOT = Path(__file__).parents[1]
CPU = ROOT / "src/medrlvr/training/cpu"
STARTUP = ROOT / "src/medrlvr/training/startup"


def python(code: str, **variables: str) -> str:
    """Run `code` in a new Python that finds the adapter's sitecustomize, and return what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEDRLVR_")}
    environment = clean | {"PYTHONPATH": os.pathsep.join([str(STARTUP), str(ROOT / "src")])} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


STATE = """
import sys
print(sum(type(finder).__module__.startswith("medrlvr") for finder in sys.meta_path),
      any(name.startswith("medrlvr") for name in sys.modules), "torch" in sys.modules)
"""


@pytest.mark.parametrize("variables", [{}, {"MEDRLVR_PATCHES": ""}, {"MEDRLVR_PATCHES": " "}])
def test_without_its_switch_the_adapter_does_nothing(variables):
    assert python(STATE, **variables) == "0 False False"


def test_with_its_switch_the_adapter_waits_for_imports_and_imports_nothing_heavy():
    assert python(STATE, MEDRLVR_PATCHES="resume.patches cpu.adapter") == "1 True False"


def test_without_flash_attn_only_its_substitute_is_installed():
    assert python(STATE, MEDRLVR_PATCHES="flash_attn") == "1 True False"
    names = "import sys; print(*[n for f in sys.meta_path for n in getattr(f, '_patches', ())])"
    assert python(names, MEDRLVR_PATCHES="flash_attn") == "openrlhf.models.ring_attn_utils"


def installed(module: str) -> Path:
    """Return the source file of a module without importing it."""
    package = importlib.util.find_spec(module.split(".")[0])
    path = Path(package.origin).parents[1] / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


ALL = patching.merged([patches.PATCHES, ray_start.PATCHES, surprisal.PATCHES, adapter.PATCHES, float32.PATCHES])
REPLACING = [name for name, patch in ALL.items() if patch.replacements]


@pytest.mark.parametrize("module", REPLACING)
def test_every_replaced_text_is_in_the_pinned_version(module):
    file, replacements = installed(module), ALL[module].replacements
    source = file.read_text(encoding="utf-8")
    changed = patching.replace_text(source, replacements, str(file))
    compile(changed, str(file), "exec")
    assert changed != source


@pytest.mark.parametrize("module", REPLACING)
def test_a_changed_text_is_rejected_by_file_and_text(module):
    file, replacements = installed(module), ALL[module].replacements
    first = replacements[0].old.splitlines()[0]
    source = file.read_text(encoding="utf-8").replace(first, first[:-1] + "_new" + first[-1:])
    with pytest.raises(PinnedSourceError) as caught:
        patching.replace_text(source, replacements, str(file))
    message = str(caught.value)
    assert str(file) in message and repr(replacements[0].old) in message and "envs/cpu.lock" in message


def test_the_line_that_replaced_a_text_is_named():
    source = "import torch\n\n\ndef device():\n    return torch.device('cuda', index=0)\n"
    with pytest.raises(
        PinnedSourceError, match=r"The closest line is line 5: \"return torch.device\('cuda', index=0\)\""
    ):
        patching.replace_text(
            source, [Replacement("return torch.device('cuda')", "return torch.device('cpu')")], "x.py"
        )
    with pytest.raises(PinnedSourceError, match="No line is similar"):
        patching.replace_text(source, [Replacement("zzzzzzzzzzzz", "")], "x.py")


def test_a_text_that_occurs_too_often_is_rejected():
    with pytest.raises(PinnedSourceError, match=r"expected 1 occurrence\(s\), found 2"):
        patching.replace_text("a = 1\na = 1\n", [Replacement("a = 1", "a = 2")], "x.py")


def test_a_function_with_other_parameters_is_rejected_by_file_and_line():
    module = ModuleType("m")
    module.__file__ = __file__
    module.function = installed
    with pytest.raises(
        PinnedSourceError,
        match=r"test_cpu_adapter.py, line \d+, is not .*: found function\(module\).*function\(other\)",
    ):
        patching.replace_function(module, "function", lambda other: None)
    with pytest.raises(PinnedSourceError, match="no function absent"):
        patching.replace_function(module, "absent", lambda: None)
    patching.replace_function(module, "function", lambda module: 5)
    assert module.function(1) == 5


def test_patches_apply_on_import_and_substitutes_are_removed(tmp_path, monkeypatch):
    (tmp_path / "patched_here.py").write_text("import absent_package\nvalue = 1\nname = absent_package.__name__\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []
    patch = Patch(
        [Replacement("value = 1", "value = 2")], seen.append, lambda: {"absent_package": ModuleType("absent_package")}
    )
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    patching.install({"patched_here": patch})
    import patched_here

    monkeypatch.delitem(sys.modules, "patched_here")
    assert (patched_here.value, patched_here.name, seen) == (2, "absent_package", [patched_here])
    assert "absent_package" not in sys.modules


def test_a_value_sent_with_many_calls_is_restored_once():
    value = {"vocabulary": list(range(1000))}
    wrapped = adapter.PickledOnce(value)
    first, second = (pickle.loads(pickle.dumps(wrapped)) for _ in range(2))
    assert first == value and first is second
    assert pickle.loads(pickle.dumps(adapter.PickledOnce({"another": 1}))) == {"another": 1}


def test_all_weights_are_received_in_order_and_loaded_at_once():
    import torch

    name = "openrlhf.trainer.ray.vllm_worker_wrap"
    source = installed(name).read_text(encoding="utf-8")
    module = ModuleType(name)
    exec(patching.replace_text(source, adapter.PATCHES[name].replacements, name), module.__dict__)
    sent = iter([torch.ones(2), torch.arange(6.0).reshape(2, 3)])
    loaded = []
    worker = module.WorkerWrap()
    worker.model_config = SimpleNamespace(dtype=torch.float32)
    worker.model_runner = SimpleNamespace(model=SimpleNamespace(load_weights=lambda weights: loaded.append(weights)))
    worker._model_update_group = SimpleNamespace(broadcast=lambda tensor, src: tensor.copy_(next(sent)))
    worker.update_weight(["a", "b"], torch.float32, [(2,), (2, 3)])
    ((first, second),) = loaded
    assert (first[0], first[1].tolist()) == ("a", [1, 1])
    assert (second[0], second[1].tolist()) == ("b", [[0, 1, 2], [3, 4, 5]])


def test_a_fork_of_the_server_runs_a_script_as_if_started_itself(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, helper\n"
        "print(sys.argv[1:], os.environ.get('MARK'), os.environ.get('AT_IMPORT'), __name__, helper.x)\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    (tmp_path / "helper.py").write_text("x = 'beside'\n")
    program = f"""
import os, socket, subprocess, sys
from pathlib import Path
from medrlvr.training.cpu import prefork
prefork.MODULES = ("json",)
server = Path({str(tmp_path / "socket")!r})
prefork.start(server, {{"AT_IMPORT": "1"}})
with socket.socket(socket.AF_UNIX) as killed:
    killed.connect(str(server))
    socket.send_fds(killed, [b'{{"arguments"'], [0, 1, 2])
for status in "0", "3":
    print(prefork.run(server, [{str(script)!r}, status], {{**os.environ, "MARK": "set"}}), flush=True)
client = [sys.executable, "-ISE", {str(CPU / "client.py")!r}, server, {str(script)!r}, "5"]
subprocess.run(client, check=True, stdout=open({str(tmp_path / "out")!r}, "w"))
while not Path({str(tmp_path / "out")!r}).read_text(): pass
"""
    lines = python(program).splitlines()
    assert lines == ["['0'] set None __main__ beside", "0", "['3'] set None __main__ beside", "3"]
    assert (tmp_path / "out").read_text().startswith("['5'] None None __main__")


def test_no_two_forks_draw_the_same_random_numbers_of_ray(tmp_path):
    """Something among the imports draws some; a worker that named an object like another's died now and then."""
    (tmp_path / "drawing.py").write_text("from ray import ObjectRef\nObjectRef.from_random()\n")
    (tmp_path / "script.py").write_text(
        "from ray import ObjectRef\nprint(*(ObjectRef.from_random().hex() for _ in range(20)))\n"
    )
    program = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(tmp_path)!r})
from medrlvr.training.cpu import prefork
prefork.MODULES = ("drawing",)
prefork.start(Path({str(tmp_path / "socket")!r}), {{}})
for _ in range(3):
    prefork.run(Path({str(tmp_path / "socket")!r}), [{str(tmp_path / "script.py")!r}], dict(os.environ))
"""
    drawn = [word for line in python(program).splitlines() for word in line.split() if len(word) == 56]
    assert len(drawn) == len(set(drawn)) == 60


def test_a_server_that_cannot_import_ends_and_does_not_continue_as_its_caller(tmp_path):
    program = f"""
from pathlib import Path
from medrlvr.training.cpu import prefork
prefork.MODULES = ("no_such_module",)
prefork.start(Path({str(tmp_path / "socket")!r}), {{}})
print("once", flush=True)
import time; time.sleep(1)
"""
    assert python(program).splitlines() == ["once"]


@pytest.mark.slow
def test_every_patched_module_imports_and_computes_in_float32():
    code = """
import importlib
from medrlvr.training.cpu.adapter import PATCHES
for name in PATCHES:
    importlib.import_module(name)
import sys, torch
from openrlhf.utils.utils import convert_to_torch_dtype
from openrlhf.utils.deepspeed.deepspeed_utils import get_train_ds_config
config = get_train_ds_config(offload=False)
print(convert_to_torch_dtype("bf16"), config["bf16"], config["fp16"], torch.cuda.current_device())
print("flash_attn" in sys.modules)
"""
    every = "resume.patches cpu.adapter cpu.float32"
    printed = python(code, MEDRLVR_PATCHES=every, DS_ACCELERATOR="cpu").splitlines()[-2:]
    assert printed == ["torch.float32 {'enabled': False} {'enabled': False} cpu", "False"]
    without = "resume.patches cpu.adapter"
    printed = python(code, MEDRLVR_PATCHES=without, DS_ACCELERATOR="cpu").splitlines()[-2:]
    assert printed == ["torch.bfloat16 {'enabled': True} {'enabled': False} cpu", "False"]


WEIGHTED = """
import json
import torch
from openrlhf.models.loss import PolicyLoss

def loss(new, old, sampled, advantage, high, weights):
    policy = PolicyLoss(
        0.2, high, is_correction_level="token", is_correction_mode="clip", is_correction_threshold=weights
    )
    log = [torch.tensor([[value]]).log() for value in (new, old, sampled)]
    found = policy(log[0], log[1], torch.tensor([[advantage]]), torch.ones(1, 1), rollout_log_probs=log[2])
    return found[0].item(), found[4].item()

print(json.dumps([
    loss(0.6, 0.5, 0.1, 1.0, 0.28, [1.0, 1.0]),
    loss(0.64, 0.5, 0.5, 1.0, 0.28, [1.0, 1.0]),
    loss(0.64, 0.5, 0.5, 1.0, 0.2, [1.0, 1.0]),
    loss(0.35, 0.5, 0.5, -1.0, 0.28, [1.0, 1.0]),
    loss(0.5, 0.5, 0.1, 1.0, 0.2, [0.0, 2.0]),
    loss(0.5, 0.5, 0.4, 1.0, 0.2, [0.0, 2.0]),
]))
"""


def test_openrlhf_clamps_the_weights_and_clips_by_two_ranges():
    """What the options mean in the pinned version: one token's loss, and whether its weight is outside the range."""
    found = json.loads(python(WEIGHTED, MEDRLVR_PATCHES="flash_attn").splitlines()[-1])
    assert found == [
        pytest.approx([-1.2, 1.0]),  # clamped to 1, the weight 5 has no effect
        pytest.approx([-1.28, 0.0]),  # the upper range ends at 1.28
        pytest.approx([-1.2, 0.0]),
        pytest.approx([0.8, 0.0]),  # the lower range still holds below
        pytest.approx([-2.0, 1.0]),  # the ratio 5 is cut at 2
        pytest.approx([-1.25, 0.0]),  # the ratio 1.25 is the weight
    ]
