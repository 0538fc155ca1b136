"""Write the results of docs/controls.md from a finished experiment with controls.

make controls RESULTS=results/miniature
make controls RESULTS="results/miniature ../other/results/miniature"    # each file from the first folder that has it
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from medrlvr.config.design import BLOCK_CHANGES
from medrlvr.config.load import read_overlays
from medrlvr.reference.markdown import splice, table
from medrlvr.report.figures.style import PAGE, save
from medrlvr.report.figures.waterfall import draw_waterfall
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json, write_json, write_text

DOCUMENT = Path("docs/controls.md")
FIGURE = Path("docs/figures/waterfall.svg")
SHIPPED = Path("docs/controls")
TITLES = {name: one.title for name, one in read_overlays(["config/miniature.yaml"]).benchmarks.items()}
FILES = {
    "waterfall": "controls/waterfall/waterfall.json",
    "samples": "controls/samples/samples.json",
    "formats": "controls/formats/formats.json",
}
FORMATS = {"tags": "the paper's tags", "boxed": "`\\boxed{}`", "answer_line": '"Answer:"', "open": "no options"}
TOTALS = {
    "gain": "gain, required format",
    "gain_any": "gain, any readable letter",
    "least": "what remains at least (`least`)",
}
ARMS = {"base": "base", "sft": "SFT", "rlvr": "RLVR"}

Record = Mapping[str, Any]


def export(folders: Sequence[Path]) -> None:
    """Copy what the tables need: three files, the last checkpoints' sensitivity, and the shifts of the options.

    Raises:
        UserError: no folder has a file.
    """
    for name, file in FILES.items():
        write_json(SHIPPED / f"{name}.json", read_json(_first(folders, file)))
    write_json(SHIPPED / "sensitivity.json", {"runs": dict(_last_checkpoints(folders[0]))})
    compared = [read_json(_first([folder], "compare/comparisons.json")) for folder in folders]
    shifts = next((one for one in compared if one["shifts"]), None)
    if shifts is None:
        raise UserError(
            f"no shifts of the options are in {', '.join(map(str, folders))}. Run config/controls/options.yaml."
        )
    replaced = [one for one in shifts["controls"] if one["control"] == "key_replaced"]
    kept = {"shifts": shifts["shifts"], "key_replaced": replaced, "provenance": shifts["provenance"]}
    write_json(SHIPPED / "shifts.json", kept)


def _first(folders: Sequence[Path], file: str) -> Path:
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    raise UserError(f"{file} is not in {', '.join(map(str, folders))}. Run the experiment with its overlay first.")


def _last_checkpoints(results: Path) -> Iterator[tuple[str, list[Record]]]:
    folder = results / "controls/sensitivity"
    for file in sorted(folder.glob("*/*/sensitivity.json")):
        records = read_json(file)["records"]
        last = max(record["update"] for record in records)
        yield "/".join(file.relative_to(folder).parts[:2]), [one for one in records if one["update"] == last]


def blocks(shipped: Path = SHIPPED) -> dict[str, str]:
    """Return the blocks of the document, from the shipped files: name -> Markdown."""
    found = {name: read_json(shipped / f"{name}.json") for name in (*FILES, "sensitivity", "shifts")}
    return {
        "sensitivity": table([*_sensitivity(found["sensitivity"]["runs"])]),
        "samples": table([*_samples(found["samples"])]),
        "shifts": table([*_shifts(found["shifts"])]),
        "formats": table([*_formats(found["formats"])]) + "\n\n" + _memory(found["formats"]["memory"]),
        "waterfall": table([*_steps(found["waterfall"]["steps"])]),
        "arms": table([*_arms(found["waterfall"]["arms"])]),
    }


def _interval(record: Record, *names: str, sign: str = "") -> str:
    value, low, high = (100 * record[name] for name in names or ("value", "low", "high"))
    if not sign:  # a share; its t-interval over seeds may exceed 0 or 1
        low, high = max(low, 0.0), min(high, 100.0)
    return f"{value:{sign}.1f} ({low:.1f} to {high:.1f})"


def _sensitivity(runs: Mapping[str, Sequence[Record]]) -> Iterator[list[str]]:
    """Yield the rows of the arms that have a response with a block to change."""
    yield ["arm", "seeds", "set", "used", *(f"kept, {change}" for change in BLOCK_CHANGES), "agreement"]
    arms: dict[str, list[Sequence[Record]]] = {}
    for run, records in runs.items():
        arms.setdefault(run.partition("/")[0], []).append(records)
    for arm, seeds in arms.items():
        if not any(one["value"] for seed in seeds for one in seed if one["measure"] == "used"):
            continue
        for benchmark, title in TITLES.items():
            own = [{one["measure"]: one["value"] for one in seed if one["benchmark"] == benchmark} for seed in seeds]
            measures = ("used", *(f"kept_{change}" for change in BLOCK_CHANGES), "agreement")
            cells = [_percents([seed.get(measure) for seed in own]) for measure in measures]
            yield [f"`{arm}`", str(len(own)), title, *cells]


def _percents(values: Sequence[float | None]) -> str:
    """Return a value for each seed, or a dash where no response has a block to change."""
    return ", ".join("-" if value is None else f"{100 * value:.0f}" for value in values)


def _samples(found: Mapping[str, Sequence[Record]]) -> Iterator[list[str]]:
    curves = {(one["benchmark"], one["arm"], one["measure"], one["reading"], one["k"]): one for one in found["curves"]}
    most = max(one["k"] for one in found["curves"])
    yield ["measure, any readable letter", "model", "k", *TITLES.values()]
    for measure in ("pass_reasoned", "majority"):
        for k in (1, most):
            for arm in ("base", "rlvr"):
                row = [curves[name, arm, measure, "lenient_correct", k] for name in TITLES]
                yield [f"`{measure}`", ARMS[arm], str(k), *map(_interval, row)]
    differences = {
        (one["benchmark"], one["reading"]): one
        for one in found["rlvr_minus_base"]
        if one["measure"] == "pass_reasoned" and one["k"] == most
    }
    for reading, name in (("lenient_correct", "any readable letter"), ("correct", "required format")):
        row = [differences[benchmark, reading] for benchmark in TITLES]
        yield [f"`pass_reasoned`, {name}", "RLVR minus base", str(most), *(_interval(one, sign="+") for one in row)]
        yield ["its finding", "", "", *(f"{one['finding']} (p = {one['p']:.2g})" for one in row)]
    guessing = [curves[name, "base", "guessing", "lenient_correct", most] for name in TITLES]
    yield ["`guessing`", "-", str(most), *(f"{100 * one['value']:.1f}" for one in guessing)]


def _shifts(found: Mapping[str, Sequence[Record]]) -> Iterator[list[str]]:
    yield [
        *("model", "seeds", "set", "accuracy", "`robust`", "`independent`", "`excess`", "excess above 0"),
        "accuracy, `key_replaced`",
    ]
    shifts = _by_arm(found["shifts"])
    replaced = _by_arm(found["key_replaced"])
    for (arm, benchmark), own in shifts.items():
        if arm in ARMS:
            names = ("accuracy", "robust", "independent", "excess")
            means = [_mean(own, name) for name in names]
            above = sum(one["excess_low"] > 0 for one in own)
            last = _mean(replaced[arm, benchmark], "control_accuracy")
            yield [ARMS[arm], str(len(own)), TITLES[benchmark], *means, f"{above} of {len(own)}", last]


def _by_arm(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Return (arm, benchmark) -> for each seed, the measures by any readable letter."""
    found: dict[tuple[str, str], list[Record]] = {}
    for one in records:
        found.setdefault((one["model"].partition("/")[0], one["benchmark"]), []).append(one["any_letter"])
    return found


def _mean(records: Sequence[Record], name: str) -> str:
    return f"{100 * fmean(one[name] for one in records):.1f}"


def _formats(found: Mapping[str, Sequence[Record]]) -> Iterator[list[str]]:
    cells: dict[tuple[str, str, str], list[Record]] = {}
    for one in found["matrix"]:
        arm = one["model"].rpartition("/models/")[2].partition("/")[0]
        cells.setdefault((arm, one["format"], one["benchmark"]), []).append(one)
    yield ["model", "prompt for", "in this format", *TITLES.values()]
    for arm in ("base", "rlvr"):
        for form, name in FORMATS.items():
            own = [cells[arm, form, benchmark] for benchmark in TITLES]
            followed = fmean(one["followed"] for seeds in own for one in seeds)
            means = [f"{100 * fmean(one['accuracy'] for one in seeds):.1f}" for seeds in own]
            yield [ARMS[arm], name, f"{100 * followed:.0f}", *means]
    differences = {(one["format"], one["benchmark"]): one for one in found["rlvr_minus_base"]}
    for form, name in FORMATS.items():
        row = [differences[form, benchmark] for benchmark in TITLES]
        yield ["RLVR minus base", name, "", *(f"{_interval(one, sign='+')}, p = {one['p']:.2g}" for one in row)]


def _memory(memory: Sequence[Record]) -> str:
    base = [one for one in memory if one["model"] == "base"]
    remembered, asked = sum(one["remembered"] for one in base), sum(one["n"] for one in base)
    return f"The base completes the options of {remembered} of {asked} questions word for word."


def _steps(steps: Sequence[Record]) -> Iterator[list[str]]:
    found = {(one["step"], one["benchmark"]): one for one in steps}
    yield ["step", *TITLES.values()]
    for step in dict.fromkeys(one["step"] for one in steps):
        row = [found[step, benchmark] for benchmark in TITLES]
        name = TOTALS.get(step) or f"{row[0]['name']} (`{step}`)"
        yield [name, *(_interval(one, sign="+") for one in row)]


def _arms(arms: Sequence[Record]) -> Iterator[list[str]]:
    found = {(one["role"], one["benchmark"]): one for one in arms}
    yield ["arm", "measure", *TITLES.values()]
    for role in dict.fromkeys(one["role"] for one in arms):
        row = [found[role, benchmark] for benchmark in TITLES]
        accuracies = [f"{100 * one['accuracy']:.1f} \\| {100 * one['any_letter']:.1f}" for one in row]
        yield [f"`{role}`", "accuracy, required format \\| any letter", *accuracies]
        yield ["", "minus the base", *(_interval(one, sign="+") for one in row)]
        minus = [_interval(one, "rlvr_minus", "rlvr_low", "rlvr_high", sign="+") for one in row]
        yield ["", "RLVR minus the arm", *minus]


def draw(file: Path, shipped: Path = SHIPPED) -> None:
    """Draw the waterfall's steps from the shipped file."""
    found = read_json(shipped / "waterfall.json")
    steps, arms = (pd.DataFrame(found[name]) for name in ("steps", "arms"))
    save(draw_waterfall(steps.drop(columns="arms"), arms, TITLES, PAGE), file, ["svg"])


def main(folders: Sequence[str]) -> None:
    if not folders:
        raise UserError("Name the results folders: make controls RESULTS=results/miniature")
    export([*map(Path, folders)])
    for name, block in blocks().items():
        write_text(DOCUMENT, splice(DOCUMENT, name, block))
    draw(FIGURE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
