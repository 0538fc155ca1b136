"""What lm-evaluation-harness makes of the same model, prompts and responses; runs in the peer's own environment.

    .peer/bin/python tests/peer/harness.py <input.json> <output.json>

input.json: model (a folder); max_tokens; threads; loglikelihood, a list of {prompt, choices, gold}; generated, a list
of {prompt}; responses, a list of {response, choices}. output.json: what there is of each, in the same order: the
log-likelihood of every choice; the text written; the letter that each filter reads, or null. And versions.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FILTERS = {
    # What a task for the paper's prompt would have: the letter after the tag.
    "answer tag": ("regex", {"regex_pattern": r"<answer>\s*\(?([A-K])\b"}),
    # The harness's own for MMLU-Pro with a chain of thought.
    "its MMLU-Pro filter": ("regex", {"regex_pattern": r"answer is \(?([ABCDEFGHIJ])\)?"}),
    # The harness's own for MMLU with a chain of thought, which falls back to any option or letter in the text.
    "its flexible filter": (
        "multi_choice_regex",
        {"regex_pattern": r"(\([A-Z]\))", "group_select": -1, "ignore_case": True, "ignore_punctuation": True},
    ),
}


def task(name: str, rows: list[dict], folder: Path, **how: object) -> dict:
    """A task of the harness whose documents are `rows`."""
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}, "test_split": "test"}
    return {"task": name, **data, "doc_to_text": "prompt", "target_delimiter": "", **how}


def evaluate(given: dict, folder: Path) -> dict[str, list]:
    """Log-likelihoods of the choices, and greedy texts, by the harness's transformers backend in float32."""
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    tasks = []
    if given["loglikelihood"]:
        metrics = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
        choice = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold"}
        tasks.append(task("loglikelihood", given["loglikelihood"], folder, metric_list=metrics, **choice))
    if given["generated"]:
        metrics = [{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}]
        greedy = {"until": [], "do_sample": False, "max_gen_toks": given["max_tokens"]}
        how = {"output_type": "generate_until", "doc_to_target": "", "generation_kwargs": greedy}
        tasks.append(task("generated", given["generated"], folder, metric_list=metrics, **how))
    if not tasks:
        return {"loglikelihood": [], "generated": []}
    torch.set_num_threads(given["threads"])
    model = HFLM(pretrained=given["model"], dtype="float32", device="cpu", batch_size=32)
    samples = simple_evaluate(model=model, tasks=tasks, bootstrap_iters=0)["samples"]
    ordered = {name: sorted(rows, key=lambda row: row["doc_id"]) for name, rows in samples.items()}
    return {
        "loglikelihood": [
            [float(value) for value, _ in row["filtered_resps"]] for row in ordered.get("loglikelihood", [])
        ],
        "generated": [row["resps"][0][0] for row in ordered.get("generated", [])],
    }


def read(responses: list[dict]) -> dict[str, list]:
    """The letter that each filter takes from each response."""
    from lm_eval.api.registry import get_filter

    found = {}
    for name, (kind, settings) in FILTERS.items():
        texts, documents = [[row["response"]] for row in responses], [{"choices": row["choices"]} for row in responses]
        read = [row[0].strip("()") for row in get_filter(kind)(**settings).apply(texts, documents)]
        found[name] = [letter if len(letter) == 1 else None for letter in read]
    return found


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    with tempfile.TemporaryDirectory() as folder:
        found = evaluate(given, Path(folder)) | {"read": read(given["responses"])}
    found["versions"] = {name: version(name) for name in ("lm_eval", "transformers", "torch")}
    Path(sys.argv[2]).write_text(json.dumps(found))
