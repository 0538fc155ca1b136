"""What the documents say can be followed: links, paths, commands and examples."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from evaluated import evaluate
from pipeline import jobs, snakemake

from medrlvr import __version__
from medrlvr.cli.commands import COMMANDS
from medrlvr.cli.run import MINIATURE
from medrlvr.cli.snakemake import snakemake_arguments
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.data.registry import load_registry
from medrlvr.evaluation.claims import LEAST_QUESTIONS, MARGIN, RARE
from medrlvr.grading.reasoning import REASONED_CHARS

DOCUMENTS = [Path("README.md"), Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), Path("results/README.md")]
DOCUMENTS += sorted(Path("docs").glob("*.md"))
# Files that a reader writes by the examples of docs/configuration.md and docs/tutorial.md.
WRITTEN_BY_THE_READER = {"config/mine.yaml", "prompts/mine.txt", "config/harsh.py", "config/my_reward.py"}
WRITTEN_BY_THE_READER |= {f"config/my_{name}.yaml" for name in ("reward", "benchmark", "base")}


def commands() -> list[str]:
    """Every command that a document shows, in a block of its own or in a sentence."""
    found = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        shown = re.findall(r"^ {4,7}(\S.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
        found |= {line.split("  #")[0].split(" # ")[0].strip() for line in shown}
    # A synopsis has brackets or capitals, and tests/test_cli.py compares it with the help.
    found -= {line for line in found if re.search(r"medrlvr.*(\[|COMMAND|\$\(|--help)", line)}
    return sorted(
        line for line in found if re.match(r"(\w+=\S+ )?(make|\S*medrlvr|\S*snakemake|sh|python\S*) [\w.-]", line)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_and_paths_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link
    for path in re.findall(r"`((?:assets|config|docs|envs|prompts|src|tests|workflow|profiles|slurm)/[\w./-]*)`", text):
        # Modules are named as from the library's root.
        there = Path(path).exists() or Path("src/medrlvr", path).exists()
        assert there or path in WRITTEN_BY_THE_READER, path


def test_commands_were_found() -> None:
    assert {"make demo", "make test", "medrlvr demo --cores 2", "medrlvr config check config/miniature.yaml"} <= set(
        commands()
    )


def test_the_readmes_start_names_both_commands_that_set_up_and_run() -> None:
    start = Path("README.md").read_text(encoding="utf-8").partition("\n## Start\n")[2].partition("\n## ")[0]
    assert {"    make demo", "    make test"} <= set(start.splitlines())


def expanded(words: list[str]) -> list[str]:
    """Return the commands that make would run, one a line; continued lines are joined."""
    shown = subprocess.run(["make", "--dry-run", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.replace("\\\n", "").splitlines()


def handed_over(words: list[str]) -> list[list[str]]:
    """Return Snakemake's arguments, if these words after `medrlvr` are a command that runs it; wrong words fail."""
    command, *rest = words
    assert command in COMMANDS, command
    if not rest:  # its name alone, in a sentence
        return []
    options = import_module(f"medrlvr.cli.{COMMANDS[command].module}").PARSERS[command]().parse(rest)
    if command not in ("demo", "run"):
        return []
    given = vars(options)
    chosen = {name: given[name] for name in ("profile", "cores", "until", "dry_run") if name in given}
    return [snakemake_arguments(given.get("overlays", [MINIATURE]), more=options.snakemake, **chosen)]


@pytest.mark.parametrize("command", commands())
def test_a_shown_command_would_run(command: str) -> None:
    """Snakemake runs dry. The arguments of other commands are only parsed."""
    replaced = command.split(" | ")[0].replace("<folder>", "mirror")
    replaced = re.sub(r"config/(mine|my_\w+)\.yaml", MINIATURE, replaced)
    words = shlex.split(re.sub(r"^\w+=\S+ ", "", replaced))
    program = Path(words[0]).name
    if program == "make":
        lines = [line.partition(" -m medrlvr.cli.main ")[2] for line in expanded(words[1:])]
        runs = [run for line in lines if line for run in handed_over(shlex.split(line))]
        assert bool(runs) == (words[1] in ("demo", "test-peer", "gpu-check")), lines
    elif program == "medrlvr":
        runs = handed_over(words[1:])
    else:
        assert program == "snakemake", f"no way is known to try this: {command}"
        runs = [words[1:]]
    for run in runs:
        # A report needs finished results; test_experiment.py writes one.
        run = run[: run.index("--report")] if "--report" in run else run
        result = snakemake("--dry-run", *(word for word in run if word != "--unlock"), cores=False)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


def examples() -> dict[str, str]:
    """Heading -> the text under it, of docs/configuration.md."""
    sections = Path("docs/configuration.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {section.split("\n")[0]: section for section in sections if "```yaml" in section}


EXPECTED = {
    "A new base model": {"fetch_model": 1},
    "A new training set or benchmark": {"fetch_dataset": 4},
    "A new prompt": {"render_training_prompts": 1},
    "A new reward": {"train_rlvr": 1},
    "A new arm": {"train_rlvr": 2, "select_rlvr": 2},
    "Another evaluation mode": {"render_eval_prompts": 1, "generate_answers": 2, "generate_selected": 1},
    "An additional model of your own": {"generate_answers": 3, "generate_selected": 1},
    "Several seeds": {"train_rlvr": 3, "train_sft": 9, "select_sft": 3},
}


def test_every_example_is_tried() -> None:
    assert set(examples()) == set(EXPECTED)


@pytest.mark.parametrize("heading", EXPECTED)
def test_an_example_is_planned_without_a_change(clone: Path, tmp_path: Path, heading: str) -> None:
    here = tmp_path / "here"
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake"))
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", examples()[heading], re.DOTALL))
    (here / "config/mine.yaml").write_text(blocks["yaml"], encoding="utf-8")
    (here / "config/harsh.py").write_text(blocks.get("python", ""), encoding="utf-8")
    (here / "prompts/mine.txt").write_text(Path("prompts/med_rlvr.txt").read_text(encoding="utf-8"), encoding="utf-8")
    with (here / "config/datasets.tsv").open("a", encoding="utf-8") as registry:
        registry.write(blocks.get("tsv", ""))
    shutil.copytree(here / "assets/miniature_base", here / "models/mine")
    planned = snakemake("--dry-run", "--configfile", "config/mine.yaml", cwd=here)
    counts = jobs(planned)
    assert EXPECTED[heading].items() <= counts.items()
    name = yaml.safe_load(blocks["yaml"])["experiment"]
    assert f"results/{name}/report.html" in planned.stdout
    for needed in re.findall(r"(?:config|prompts)/(?:mine\.txt|harsh\.py)", blocks["yaml"]):
        (here / needed).unlink()
        assert snakemake("--dry-run", "--configfile", "config/mine.yaml", cwd=here).returncode != 0
    assert not os.path.exists(here / "results" / name)


def steps() -> dict[str, str]:
    """Heading -> the text under it, of the steps of docs/tutorial.md that change the experiment."""
    sections = Path("docs/tutorial.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {section.split("\n")[0]: section for section in sections if "```yaml" in section}


PLANNED = {
    "4. Change the reward, and compare a shortcut": ("my_reward", {"train_rlvr": 1}),
    "5. Add a benchmark": ("miniature", {"fetch_dataset": 1, "train_rlvr": 1}),
    "6. Start from another base": ("my_base", {"fetch_model": 1, "train_rlvr": 1}),
}


def test_every_step_of_the_tutorial_is_tried() -> None:
    assert set(steps()) == set(PLANNED)


@pytest.mark.parametrize("heading", PLANNED)
def test_a_step_of_the_tutorial_is_planned_as_it_is_shown(clone: Path, tmp_path: Path, heading: str) -> None:
    here = tmp_path / "here"
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake"))
    text = steps()[heading]
    for model in re.findall(r"name: (results/\S+)", text):  # as the demo leaves it
        shutil.copytree(here / "assets/miniature_base", here / model)
    for name, block in re.findall(r"rite `([\w./]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(block, encoding="utf-8")
    for row in re.findall(r"```tsv\n(.*?)```", text, re.DOTALL):
        file = here / "my_data" / row.split("\t")[8]
        assert f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" == row.split("\t")[9]
        assert len(file.read_text(encoding="utf-8").splitlines()) == int(row.split("\t")[10])
        with (here / "config/datasets.tsv").open("a", encoding="utf-8") as registry:
            registry.write(row)
    (shown,) = set(re.findall(r"medrlvr run (config/miniature\.yaml config/my_\w+\.yaml)$", text, re.MULTILINE))
    given = ["--config", "data={mirror: my_data}"] if "MEDRLVR_MIRROR=my_data" in text else []
    planned = snakemake("--dry-run", "--configfile", *shown.split(), *given, cwd=here)
    name, expected = PLANNED[heading]
    assert expected.items() <= jobs(planned).items()
    assert f"results/{name}/report.html" in planned.stdout


def test_the_example_for_other_trainers_runs_with_the_standard_library_alone(tmp_path: Path) -> None:
    text = Path("docs/grader_in_your_trainer.md").read_text(encoding="utf-8")
    program = tmp_path / "program.py"
    without_a_framework = text.partition("\n## TRL\n")[0]  # tests/integrations runs the other examples
    program.write_text("".join(re.findall(r"```python\n(.*?)```", without_a_framework, re.DOTALL)), encoding="utf-8")
    # -S: without the packages of .venv. The variable replaces the installation.
    given = {"PYTHONPATH": str(Path("src").resolve())}
    ran = subprocess.run([sys.executable, "-S", str(program)], env=given, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_citations_have_the_version() -> None:
    assert yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__
    assert f"version = {{{__version__}}}" in Path("README.md").read_text(encoding="utf-8")


def test_the_site_has_every_document_and_package() -> None:
    shown = Path("mkdocs.yml").read_text(encoding="utf-8")
    assert {path.name for path in Path("docs").glob("*.md")} - set(re.findall(r"[\w]+\.md", shown)) == set()
    packages = {path.parent.name for path in Path("src/medrlvr").glob("*/__init__.py")}
    assert packages == set(re.findall(r"api/(\w+)\.md", shown))


def test_every_field_of_the_files_of_numbers_is_documented() -> None:
    """Of metrics.json, comparisons.json and claims.json; not the names that an experiment gives its own things."""

    def fields(value: Any) -> set[str]:
        if isinstance(value, dict):
            named = set(value) if all(re.fullmatch("[a-z_0-9]+", key) for key in value) else set()
            return named.union(*map(fields, value.values()))
        return set().union(*map(fields, value)) if isinstance(value, list) else set()

    experiment = Experiment()
    evaluated = evaluate(experiment)
    del evaluated["scores"], evaluated["questions"], evaluated["comparisons"]["provenance"]
    evaluated["metrics"] = [*evaluated["metrics"].values()]
    evaluated["comparisons"]["sanity"] = [*evaluated["comparisons"]["sanity"].values()]
    found = fields(evaluated) - {"metrics", "comparisons"} | {"inputs", "versions", "command", "provenance"}
    assert {"mcnemar_p", "same_text", "unparsed_known", "any_letter", "gold"} <= found
    documented = set(re.findall(r"`(\w+)`", Path("docs/metrics.md").read_text(encoding="utf-8")))
    assert found - documented == set()


def test_the_table_of_a_mirror_folder_has_every_file_and_the_experiments_that_need_it() -> None:
    table = re.findall(r"^\| `([\w/.-]+)` \| (.+) \| (.+) \|$", Path("docs/data.md").read_text("utf-8"), re.MULTILINE)
    names: dict[str, list[str]] = {}
    for name, source in load_registry("config/datasets.tsv").items():
        if source.mirror_file is not None:
            names.setdefault(source.mirror_file, []).append(name)
    assert [(path, listed.split(", ")) for path, listed, _ in table] == [*names.items()]
    overlays = {f"`{path}`": read_overlays([path]) for path in ("config/smollm2.yaml", "config/medcalc.yaml")}
    for shown, experiment in {"the paper's experiment": Experiment(), **overlays}.items():
        used = {benchmark.data for benchmark in experiment.benchmarks.values()}
        used |= {experiment.data.train, experiment.data.development}
        assert {path for path, _, users in table if shown in users} == {
            path for path, listed in names.items() if used & {*listed}
        }


def test_the_papers_differences_in_the_rules_are_the_judges() -> None:
    text = Path("docs/claims.md").read_text(encoding="utf-8")
    claims = evaluate(Experiment())["verdict"]["claims"]
    papers = [claim["paper"] for claim in claims if "difference" in claim["paper"]]
    assert len(papers) == 4
    for paper in papers:
        difference, low, high = (f"{100 * paper[name]:.1f}" for name in ("difference", "low", "high"))
        assert f"{difference} ({low} to {high})" in text
    for words in (
        f"inside ±{100 * MARGIN:.0f} points",
        f"fewer than {LEAST_QUESTIONS} questions",
        f"{REASONED_CHARS} or more characters",
        f"below {100 * RARE:.0f} %",
    ):
        assert words in text
