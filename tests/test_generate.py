"""vLLM's command lines against its own parser, and answers from one engine that loads several models in turn."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from medrlvr.config import Machine
from medrlvr.errors import UserError
from medrlvr.evaluation.generate import ask, command, engine_arguments, reporter
from medrlvr.files import read_parquet
from medrlvr.progress import Progress

BASE = Path("assets/miniature_base")
CPU = Machine(device="cpu", gpus_per_node=1, vllm_engines=1, vllm_memory_utilization=0.3, threads=1)
GPU = Machine()


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_every_option_is_one_of_vllms(machine: Machine) -> None:
    from vllm import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    words = engine_arguments(machine, 300)
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser(allow_abbrev=False))
    values, unknown = parser.parse_known_args(words)
    assert not unknown
    expected = {
        "dtype": "float32" if machine is CPU else "bfloat16",
        "max_model_len": 300,
        "gpu_memory_utilization": machine.vllm_memory_utilization,
        "seed": 0,
        "trust_remote_code": False,
        "enforce_eager": machine is CPU,
    }
    assert {name: getattr(values, name) for name in expected} == expected


def test_the_first_model_is_the_engines_and_the_others_follow() -> None:
    models, answers = [Path("m1"), Path("m2"), Path("m3")], [Path("1.parquet"), Path("2.parquet"), Path("3.parquet")]
    words = command(Path("a.parquet"), models, answers, ["--dtype", "float32"])
    assert shlex.join(words[1:]) == (
        "-m medrlvr.evaluation.generate --asked a.parquet --model m1 --also m2 m3"
        " --answers 1.parquet 2.parquet 3.parquet --dtype float32"
    )


def test_progress_counts_on_from_model_to_model(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    watch = reporter(Progress("x", 8, unit="answer", clock=iter(range(100)).__next__), said.append, interval=-1)
    for done in (1, 4, 1, 4):
        watch(f"Processed prompts:  25%|##  | {done}/4 [00:00<00:02,  5.5it/s]")
    watch("another line")
    assert said[0] == "x: answer 1 of 8"
    assert [line.split(",")[0] for line in said[1:]] == [f"x: answer {n} of 8" for n in (4, 5, 8)]
    assert "another line" in capsys.readouterr().out


def asked(*prompts: str) -> pd.DataFrame:
    rows = [{"question_id": f"q{i}", "benchmark": "b", "mode": "m", "prompt": text} for i, text in enumerate(prompts)]
    return pd.DataFrame(rows).assign(max_tokens=12)


def answers(models: list[Path], folder: Path, state: Path, said: list[str] | None = None) -> pd.DataFrame:
    folder.mkdir()
    prompts = asked("Question: What is given for gout?\nAnswer:", "A conversation between User and Assistant.")
    say = [].append if said is None else said.append
    ask(models, prompts, folder, CPU, prompt_max_tokens=100, state=state, stage="t", say=say)
    return read_parquet(folder / "answers.parquet")


@pytest.mark.slow
def test_one_engine_answers_for_several_models_as_one_each(tmp_path: Path) -> None:
    """The second model's weights, not the first's, and nothing cached from the first."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    other = tmp_path / "other"
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(BASE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
    model.save_pretrained(other)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(other)

    copy = tmp_path / "copy"
    shutil.copytree(BASE, copy)
    (copy / "config.json").write_text((BASE / "config.json").read_text() + " ")  # the same model, asked for itself
    together = answers([BASE, other, copy], tmp_path / "together", tmp_path / "state")
    alone = answers([other], tmp_path / "alone", tmp_path / "another state")
    columns = ["question_id", "response", "finish_reason", "response_tokens"]
    first, second, third = (together.iloc[i : i + 2][columns].values.tolist() for i in (0, 2, 4))
    assert second == alone[columns].values.tolist()
    assert first == third != second
    assert together["model"].tolist() == [str(path) for path in (BASE, BASE, other, other, copy, copy)]

    by_hand = subprocess.run(["sh", tmp_path / "alone/command.sh"], capture_output=True, text=True, check=False)
    assert by_hand.returncode == 0, by_hand.stderr[-2000:]
    assert read_parquet(tmp_path / "alone/by-hand-1.parquet").equals(alone.drop(columns="model"))

    said: list[str] = []
    moved = tmp_path / "moved"
    other.rename(moved)
    again = answers([moved], tmp_path / "again", tmp_path / "state", said)
    assert said == ["t: the same weights were asked the same before"]
    assert again.equals(alone.assign(model=str(moved)))


def test_a_prompt_that_would_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asked.parquet: 1 of 2 .* evaluation.prompt_max_tokens = 9 .*row 2, "):
        ask(
            [BASE], asked("short", "long " * 50), tmp_path, CPU,
            prompt_max_tokens=9, state=tmp_path, stage="t", say=print,
        )  # fmt: skip
