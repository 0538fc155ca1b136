"""vLLM's command lines against its own parser, and answers from one engine that loads several models in turn."""

import json
import shlex
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from medrlvr.config.evaluation import Mode
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.evaluation import answer_store, generate
from medrlvr.evaluation.answer_store import shard_names
from medrlvr.evaluation.generate import generate_answers, reporter
from medrlvr.evaluation.placement import Placement, place_engines, place_evaluation
from medrlvr.evaluation.requests import build_requests, request_seed
from medrlvr.evaluation.vllm_worker import engine_arguments, worker_command
from medrlvr.evaluation.worker_group import device_groups, group_command
from medrlvr.models.folder import delete_weights
from medrlvr.models.shape import known_shape
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_parquet
from medrlvr.runtime.processes import run_process
from medrlvr.runtime.progress import Progress

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
        "gpu_memory_utilization": 0.3 if machine is CPU else 0.9,
        "tensor_parallel_size": 1,
        "seed": 0,
        "trust_remote_code": False,
        "enforce_eager": machine is CPU,
    }
    assert {name: getattr(values, name) for name in expected} == expected
    assert parser.parse_args(engine_arguments(machine, 300, split=2)).tensor_parallel_size == 2


def test_the_first_model_is_the_engines_and_the_others_follow() -> None:
    models, answers = [Path("m1"), Path("m2"), Path("m3")], [Path("a1"), Path("a2"), Path("a3")]
    words = worker_command(Path("a.parquet"), models, answers, ["--dtype", "float32"])
    assert shlex.join(words[1:]) == (
        "-m medrlvr.evaluation.vllm_worker --asked a.parquet --model m1 --also m2 m3 --answers a1 a2 a3 --dtype float32"
    )


def test_progress_is_cumulative_over_shards(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    watch = reporter(Progress("x", 8, unit="answer", clock=iter(range(100)).__next__), said.append, interval=-1)
    for before in (0, 4):
        for done in (1, 4):
            watch(f"Processed prompts:  25%|##  | {done}/4 [00:00<00:02,  5.5it/s]")
        watch(f"answered {before + 4}")
    watch("another line")
    assert said[0] == "x: answer 1 of 8"
    assert [line.split(",")[0] for line in said[1:]] == [f"x: answer {n} of 8" for n in (4, 4, 5, 8, 8)]
    assert "another line" in capsys.readouterr().out


def test_progress_counts_the_answers_of_all_workers(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    watch = reporter(Progress("x", 8, unit="answer", clock=iter(range(100)).__next__), said.append, interval=-1)
    watch("worker 1: Processed prompts:  25%|##  | 1/3 [00:00<00:02,  5.5it/s]")
    watch("worker 2: Processed prompts:  25%|##  | 2/3 [00:00<00:02,  5.5it/s]")
    watch("worker 1: answered 3")
    watch("worker 2: answered 3")
    watch("worker 1: Processed prompts:  25%|##  | 2/2 [00:00<00:02,  5.5it/s]")
    watch("worker 1: answered 5")
    assert [line.split(",")[0] for line in said] == [f"x: answer {n} of 8" for n in (1, 3, 5, 6, 8, 8)]


@pytest.mark.parametrize(
    ("visible", "workers", "split", "groups"),
    [
        (None, 4, 1, ["0", "1", "2", "3"]),
        (None, 2, 2, ["0,1", "2,3"]),
        ("4,6", 2, 1, ["4", "6"]),
        ("GPU-a,GPU-b,GPU-c,GPU-d", 2, 2, ["GPU-a,GPU-b", "GPU-c,GPU-d"]),
        ("0,1,2", 1, 2, ["0,1"]),
        ("5", 4, 1, ["5"]),
    ],
)
def test_each_worker_sees_its_own_gpus(visible: str | None, workers: int, split: int, groups: list[str]) -> None:
    assert device_groups(visible, workers, split) == groups


@pytest.mark.parametrize(("visible", "split"), [("", 1), ("3", 2)])
def test_a_job_with_too_few_gpus_for_one_worker_is_rejected(visible: str, split: int) -> None:
    with pytest.raises(ValueError, match=rf"CUDA_VISIBLE_DEVICES is '{visible}', but a worker needs {split} GPU"):
        device_groups(visible, 2, split)


def group(program: str, *, workers: int = 2) -> tuple[list[str], UserError | None]:
    """Run a Python program as each worker of a group; return its lines, and how it failed."""
    lines: list[str] = []
    try:
        run_process(group_command([sys.executable, "-uc", program], workers, 1), {}, lines.append, work="generation")
    except UserError as error:
        return lines, error
    return lines, None


def test_one_worker_needs_no_group() -> None:
    assert group_command(["vllm", "--seed"], 1, 2) == ["vllm", "--seed"]


def test_workers_divide_the_shards_and_each_is_done_once() -> None:
    program = """
import sys, time
from pathlib import Path
from medrlvr.evaluation.worker_group import claim
for number in range(20):
    if claim(Path(sys.argv[-1]), Path("state/answers/feed"), f"shard{number}"):
        print(f"shard {number}")
        time.sleep(0.05)
"""
    lines, error = group(program)
    done = [line.split(": ")[1] for line in lines]
    assert error is None
    assert sorted(done) == sorted(f"shard {number}" for number in range(20))
    assert {line.split(":")[0] for line in lines} == {"worker 1", "worker 2"}


def test_a_worker_that_fails_ends_the_others_and_names_itself() -> None:
    program = """
import os, time
if os.environ["CUDA_VISIBLE_DEVICES"] == "1":
    raise ValueError("the model is broken")
print(os.getpid())
time.sleep(600)
"""
    lines, error = group(program, workers=3)
    assert error is not None
    assert "worker 2: ValueError: the model is broken" in str(error)
    assert "worker 2 of 3 (GPU 1) ended with status 1, so the others were ended." in str(error)
    for line in lines:
        if (number := line.rpartition(": ")[2]).isdigit():
            assert not psutil.pid_exists(int(number))


QWEN = {size: known_shape(f"Qwen/Qwen2.5-{size}") for size in ("0.5B", "3B", "7B")}


@pytest.mark.parametrize(
    ("size", "gpus", "gib", "placement"),
    [
        ("3B", 1, 40, Placement(1, 1)),
        ("3B", 4, 40, Placement(4, 1)),
        ("7B", 4, 40, Placement(4, 1)),
        ("7B", 4, 16, Placement(2, 2)),
        ("7B", 4, 8, Placement(1, 4)),
        ("0.5B", 8, 3, Placement(4, 2)),
    ],
)
def test_a_model_larger_than_a_gpu_is_divided_and_no_further_than_needed(
    size: str, gpus: int, gib: float, placement: Placement
) -> None:
    machine = Machine(gpus_per_node=gpus, vllm_engines=gpus, gpu_gib=gib)
    assert place_engines(machine, QWEN[size], 3072) == placement
    assert place_engines(machine, None, 3072) == Placement(gpus, 1)
    assert place_engines(machine.model_copy(update={"device": "cpu"}), QWEN[size], 3072) == Placement(1, 1)


def test_a_model_larger_than_all_gpus_is_rejected_with_its_size() -> None:
    small = Experiment().machine.model_copy(update={"gpu_gib": 2})
    with pytest.raises(UserError, match=r"the keys and values of 3072 tokens\. This does not fit into 4 GPU\(s\)"):
        place_evaluation(Experiment().model_copy(update={"machine": small}), QWEN["3B"])
    with pytest.raises(UserError, match=r"^evaluation: vLLM needs 14\.2 GiB .* into 2 GPU\(s\) with 5\.4 GiB each"):
        place_engines(Machine(gpus_per_node=2, vllm_engines=2, gpu_gib=6), QWEN["7B"], 3072)


GOUT = "Question: What is given for gout?\nAnswer:"
TALK = "A conversation between User and Assistant."
WRITTEN = Mode(prompt="direct", answer_format="bare", max_tokens=12)
MODES = {
    "written": WRITTEN,
    "sampled": WRITTEN.model_copy(update={"samples": 3, "temperature": 1.0, "max_tokens": 3}),
    "loglikelihood": Mode(prompt="direct", answer_format="loglikelihood", max_tokens=1),
}


def prompts(*texts: str, modes: tuple[str, ...] = ("written",), benchmark: str = "b") -> pd.DataFrame:
    """As `Renderer.asked` returns them: every text in every mode, with three options."""
    rows = [(f"q{i}", benchmark, mode, text, 3, "t") for mode in modes for i, text in enumerate(texts)]
    return pd.DataFrame(rows, columns=["question_id", "benchmark", "mode", "prompt", "options", "template"])


def asked(*texts: str, modes: tuple[str, ...] = ("written",), seed: int = 1) -> pd.DataFrame:
    return build_requests(prompts(*texts, modes=modes), {"b": modes}, MODES, seed)


def answers(
    models: list[Path], folder: Path, state: Path, said: list[str] | None = None, questions: pd.DataFrame | None = None
) -> pd.DataFrame:
    folder.mkdir()
    table = asked(GOUT, TALK) if questions is None else questions
    notify = [].append if said is None else said.append
    generate_answers(models, table, folder, CPU, prompt_max_tokens=100, state=state, display_name="t", notify=notify)
    return read_parquet(folder / "answers.parquet")


def test_each_set_is_evaluated_in_its_modes_and_no_other_set_is() -> None:
    three = pd.concat([prompts("x", modes=("written", "sampled", "loglikelihood"), benchmark=name) for name in "abc"])
    table = build_requests(
        three, {"c": ["sampled"], "b": ["sampled", "loglikelihood"], "absent": ["written"]}, MODES, seed=7
    )
    assert table[["benchmark", "mode"]].values.tolist() == [["b", "sampled"], ["b", "loglikelihood"], ["c", "sampled"]]
    how = ["answer_format", "max_tokens", "samples", "temperature", "seed"]
    assert table[how[:-1]].iloc[0].tolist() == ["bare", 3, 3, 1.0]
    assert table["seed"].iloc[0] == request_seed(7, "b", "sampled", "q0") > 0
    assert table[how].iloc[1].tolist() == ["loglikelihood", 1, 1, 0.0, 0]


def test_every_sampled_request_has_a_seed_of_its_own() -> None:
    """Also far from those of the others: vLLM adds the number of the sample."""
    seeds = asked(*"abcdefgh", modes=("sampled",))["seed"]
    assert seeds.sort_values().diff().dropna().gt(10_000).all()
    assert seeds.between(0, 2**48 - 1).all() and seeds.equals(asked(*"abcdefgh", modes=("sampled",))["seed"])
    apart = [("b", "m", "q1"), ("b", "m", "q2"), ("c", "m", "q1"), ("b", "n", "q1"), ("b", "mq", "1")]
    assert len({request_seed(seed, *names) for seed in (1, 2) for names in apart}) == 10


@pytest.mark.slow
@pytest.mark.extended
def test_samples_of_different_questions_are_independent(tmp_path: Path) -> None:
    """With one seed for all requests, sample i of every question had the same random numbers."""
    found = answers([BASE], tmp_path / "a", tmp_path / "state", questions=asked(*[TALK] * 8, modes=("sampled",)))
    assert found.groupby("sample")["response"].nunique().gt(1).any()


def test_shards_are_named_after_what_determines_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_store, "SHARD_ANSWERS", 3)

    def names(table: pd.DataFrame, version: str = "1") -> list[str]:
        return shard_names(table.assign(letter_tokens=[[]] * len(table)), [version]).tolist()

    greedy = names(asked(*"abcde"))
    assert greedy[0] == greedy[2] != greedy[3] == greedy[4]
    assert len(set(names(asked(*"abcde", modes=("sampled",))))) == 5
    assert names(asked(*"abcd"))[:3] == greedy[:3]
    assert names(asked(*"abxde"))[0] != greedy[0] and names(asked(*"abxde"))[3:] == greedy[3:]
    assert names(asked(*"abcde"), version="2")[0] != greedy[0]
    assert names(asked(*"abcde", seed=2)) == greedy, "nothing is drawn where the temperature is 0"
    assert names(asked("a", modes=("sampled",), seed=2)) != names(asked("a", modes=("sampled",)))


def test_sampled_answers_on_a_cpu_have_no_prompt_divided_among_steps() -> None:
    chosen = {mode: generate._sampling_arguments(asked("a", modes=(mode,)), CPU) for mode in ("written", "sampled")}
    assert chosen == {"written": [], "sampled": ["--no-enable-chunked-prefill"]}
    assert generate._sampling_arguments(asked("a", modes=("sampled",)), Machine()) == []


def test_a_model_without_weights_keeps_its_answers_and_gets_no_new_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def engine(command: list[str], *_: object, **__: object) -> None:
        """As `main`, but that every answer is A."""
        models = command[command.index("--model") + 1 : command.index("--answers")]
        started.append([Path(name).name for name in models if name != "--also"])
        shown = read_parquet(command[command.index("--asked") + 1])
        places = command[command.index("--answers") + 1 :][: len(started[-1])]
        for place, (shard, rows) in product(map(Path, places), shown.groupby("shard")):
            columns = rows[["question_id", "benchmark", "mode"]]
            table = columns.assign(sample=0, response="A", finish_reason="stop", hardware="cpu", runner="V1")
            write_parquet(place / f"{shard}.parquet", table)

    monkeypatch.setattr(generate, "run_process", engine)
    monkeypatch.setattr(answer_store, "SHARD_ANSWERS", 2)
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        shutil.copytree(BASE, folder)
    (two / "config.json").write_text((two / "config.json").read_text() + " ")
    sets = {"b": ["written"], "c": ["written"]}

    def both(*texts: str) -> pd.DataFrame:
        other = prompts(*texts, benchmark="c")
        other["question_id"] = "c" + other["question_id"]
        return build_requests(pd.concat([prompts(GOUT, TALK), other], ignore_index=True), sets, MODES, 1)

    first = answers([one, two], tmp_path / "first", tmp_path / "state", questions=both(GOUT, TALK))
    assert len(first) == 8
    delete_weights(two)
    said: list[str] = []
    # It has answered two of the three questions that c has now: a part of a benchmark is none.
    found = answers([one, two], tmp_path / "second", tmp_path / "state", said, questions=both(GOUT, TALK, "More?"))
    assert started == [["one", "two"], ["one"]]
    assert said[0] == "t: the weights of two were deleted; their new requests are skipped"
    assert found.groupby([found["model"].map(lambda name: Path(name).name), "benchmark"]).size().to_dict() == {
        ("one", "b"): 2, ("one", "c"): 3, ("two", "b"): 2,
    }  # fmt: skip


def test_an_engine_also_evaluates_a_model_whose_answers_another_call_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def engine(command: list[str], *_: object, **__: object) -> None:
        """Answer A to every prompt, as each of the two models."""
        started.append(command)
        shown = read_parquet(command[command.index("--asked") + 1])
        for place, (shard, rows) in product(
            map(Path, command[command.index("--answers") + 1 :][:2]), shown.groupby("shard")
        ):
            columns = rows[["question_id", "benchmark", "mode"]]
            table = columns.assign(sample=0, response="A", finish_reason="stop", hardware="cpu", runner="V1")
            write_parquet(place / f"{shard}.parquet", table)

    monkeypatch.setattr(generate, "run_process", engine)
    last, selected = tmp_path / "last", tmp_path / "selected"
    for folder in (last, selected):
        shutil.copytree(BASE, folder)
    (selected / "config.json").write_text((selected / "config.json").read_text() + " ")
    for model, other in ((last, selected), (selected, last)):
        folder = tmp_path / f"eval_{model.name}"
        folder.mkdir()
        generate_answers(
            [model], asked(GOUT, TALK), folder, CPU,
            prompt_max_tokens=100, state=tmp_path / "state", display_name="t", notify=[].append, also=[other],
        )  # fmt: skip
        assert read_parquet(folder / "answers.parquet")["model"].unique().tolist() == [str(model)]
        assert str(other) not in (folder / "command.sh").read_text()
    assert len(started) == 1 and {str(last), str(selected)} < set(started[0])


@pytest.mark.slow
@pytest.mark.extended
def test_two_engines_give_the_answers_of_one_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_store, "SHARD_ANSWERS", 3)
    table = asked(GOUT, TALK, GOUT + " Colchicine.\n" + GOUT, modes=("written", "sampled", "loglikelihood"))
    one = answers([BASE], tmp_path / "one", tmp_path / "state of one", questions=table)
    monkeypatch.setattr(generate, "place_engines", lambda *_: Placement(2, 1))
    said: list[str] = []
    two = answers([BASE], tmp_path / "two", tmp_path / "state of two", said, questions=table)
    assert two.equals(one)
    written = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "answers").rglob("*.parquet")}
        for name in ("state of one", "state of two")
    ]
    assert written[0] == written[1] and len(written[0]) == 5


@pytest.mark.slow
@pytest.mark.extended
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
    (shard,) = (tmp_path / "alone/by-hand-1").glob("*.parquet")
    assert read_parquet(shard).equals(alone.drop(columns="model"))

    said: list[str] = []
    moved = tmp_path / "moved"
    other.rename(moved)
    again = answers([moved], tmp_path / "again", tmp_path / "state", said)
    assert said == ["t: all answers are cached"]
    assert again.equals(alone.assign(model=str(moved)))


@pytest.mark.slow
def test_letters_are_scored_samples_drawn_and_only_a_lost_shard_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters against transformers: the same log-probabilities, over the whole vocabulary, of the same tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setattr(answer_store, "SHARD_ANSWERS", 4)
    state, table = tmp_path / "state", asked(GOUT, TALK, modes=("written", "sampled", "loglikelihood"))
    found = answers([BASE], tmp_path / "first", state, questions=table)
    assert found.groupby("mode").size().to_dict() == {"loglikelihood": 2, "sampled": 6, "written": 2}

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32),
        AutoTokenizer.from_pretrained(BASE),
    )
    letters = [tokenizer.encode(f" {letter}", add_special_tokens=False)[-1] for letter in "ABC"]
    for row in found[found["mode"] == "loglikelihood"].to_dict("records"):
        prompt = {"q0": GOUT, "q1": TALK}[row["question_id"]]
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])).logits[0, -1]
        expected = logits.log_softmax(-1)[letters].numpy()
        np.testing.assert_allclose(row["letter_logprobs"], expected, atol=1e-4)
        assert row["response"] == " " + "ABC"[int(expected.argmax())]
        assert (row["finish_reason"], row["response_tokens"]) == ("loglikelihood", 1)

    sampled = found[found["mode"] == "sampled"]
    assert sampled["sample"].tolist() == [0, 1, 2] * 2
    assert sampled.groupby("question_id")["response"].nunique().max() > 1
    assert found[found["mode"] != "loglikelihood"]["letter_logprobs"].map(len).eq(0).all()

    circumstances = json.loads((tmp_path / "first/generation.json").read_text(encoding="utf-8"))
    assert circumstances["modes"]["sampled"] == {
        "answer_format": "bare", "max_tokens": 3, "samples": 3, "temperature": 1.0, "template": "t",
    }  # fmt: skip
    assert circumstances["answers"] == 10
    assert circumstances["runner"] == ["V1"], "vLLM's V2 runner needs Triton, which its CPU build does not have"
    assert circumstances["truncated"] == int((found["finish_reason"] == "length").sum()) > 0

    shards = read_parquet(tmp_path / "first/requests.parquet").groupby("mode")["shard"].unique()
    assert shards.map(len).to_dict() == {"loglikelihood": 1, "sampled": 2, "written": 1}
    (kept,) = (state / "answers").iterdir()
    times = {file: file.stat().st_mtime_ns for file in kept.glob("*.parquet")}
    (kept / f"{shards['sampled'][1]}.parquet").unlink()
    said: list[str] = []
    again = answers([BASE], tmp_path / "second", state, said, questions=table)
    assert said[0] == "t: 3 answers; starting vLLM"
    changed = [file.stem for file in kept.glob("*.parquet") if file.stat().st_mtime_ns != times[file]]
    assert changed == [shards["sampled"][1]]
    assert again.equals(found), "with a seed of its own a request draws the same again"


def test_a_prompt_that_would_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"requests.parquet: 1 of 2 .* evaluation.prompt_max_tokens = 9 .*row 2, "):
        generate_answers(
            [BASE], asked("short", "long " * 50), tmp_path, CPU,
            prompt_max_tokens=9, state=tmp_path, display_name="t", notify=print,
        )  # fmt: skip
