"""The grader and the rewards load nothing besides the standard library, so any trainer can import them."""

import subprocess
import sys
from pathlib import Path

LOADED = """
import sys
before = set(sys.modules)
from medrlvr.grading import LETTERS, grade, load_reward
found = grade("<think>a</think><answer>B</answer>", ["x", "y"], 1)
assert found.correct and load_reward("paper")(found) == 1.0 and LETTERS[0] == "A"
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_a_fresh_interpreter_loads_the_standard_library_only() -> None:
    source = str(Path(__file__).parents[1] / "src")
    code = f"import sys; sys.path.insert(0, {source!r})\n{LOADED}"
    # -I -S: no variable, no user folder and no installed package can help.
    printed = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    loaded = set(printed.stdout.split())
    assert "medrlvr" in loaded
    assert loaded - {"medrlvr"} <= sys.stdlib_module_names
