"""The registry of data sets, `config/datasets.tsv`: one row per data set and split, `-` for an empty cell.

Columns:
    dataset, split: the name used in the configuration, as dataset/split.
    role: train (unusable rows are rejected), development or test (every row is kept and scored).
    home: a dataset repository of the hub; `local` for a file that only a mirror folder holds; `miniature` for the
        project's own world, whose files rule make_miniature writes.
    revision, status: commit of the home. `unverified` until the hash was once checked against that commit: until then
        the hash alone is the pin.
    file, member: path in the home and, where that is a zip archive, the path inside it.
    mirror_file: path below a local mirror folder.
    hash: `sha256:` of the content, or `git:` with its git blob id where only that is known.
    rows: questions that the filter leaves.
    stem: a column of the file, which is .jsonl, .json (a list of objects), .csv or .parquet.
    options: a column that holds a list, or an object keyed by letters; or several columns separated by commas, one for
        each option, of which a row may leave the last ones empty.
    answer, check: `column:form`, form being letter, index (from 0) or text; check is a second statement of the answer.
    filter: `column=value`.
    faults: faults of rows that no check can see, `line:reason` separated by semicolons; such a row is not trained on.
    meta: columns to keep as they are, separated by commas.
    licence, citation: of the data, not of this project.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medrlvr.runtime.errors import UserError

FORMATS = (".jsonl", ".json", ".csv", ".parquet")
AnswerForm = Literal["letter", "index", "text"]


class AnswerColumn(BaseModel):
    """A column that states the answer, and how it does so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: Annotated[str, Field(min_length=1)]
    form: AnswerForm


def _answer_column(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    column, _, form = cell.rpartition(":")
    return {"column": column, "form": form}


def _filter(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    if "=" not in cell:
        raise ValueError("a filter reads column=value")
    return tuple(cell.split("=", 1))


def _faults(cell: object) -> object:
    if not isinstance(cell, str):
        return cell or {}
    if not all(re.fullmatch(r"[1-9]\d*:\S.*", fault) for fault in cell.split(";")):
        raise ValueError("a fault reads line:reason; semicolons divide several")
    lines = [fault.split(":")[0] for fault in cell.split(";")]
    if len(set(lines)) < len(lines):
        raise ValueError("one line has two faults; say both in one")
    return dict(fault.split(":", 1) for fault in cell.split(";"))


def _several(cell: object) -> object:
    return tuple(cell.split(",")) if isinstance(cell, str) else cell or ()


Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
RelativePath = Annotated[str, Field(pattern=r"^\w[\w./-]*$")]


class Source(BaseModel):
    """One row of the registry; the module's docstring explains the columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Name
    split: Name
    role: Literal["train", "development", "test"]
    home: Annotated[str, Field(pattern=r"^(local|miniature|[\w.-]+/[\w.-]+)$")]
    revision: str | None
    status: Literal["verified", "unverified", "generated"]
    file: RelativePath
    member: RelativePath | None
    mirror_file: RelativePath | None
    hash: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|git:[0-9a-f]{40})$")] | None
    rows: Annotated[int, Field(gt=0)] | None
    stem: str
    options: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_several), Field(min_length=1)]
    answer: Annotated[AnswerColumn, BeforeValidator(_answer_column)]
    check: Annotated[AnswerColumn | None, BeforeValidator(_answer_column)]
    filter: Annotated[tuple[str, str] | None, BeforeValidator(_filter)]
    faults: Annotated[dict[int, str], BeforeValidator(_faults)]
    meta: Annotated[tuple[str, ...], BeforeValidator(_several)]
    licence: Annotated[str, Field(min_length=1)]
    citation: Annotated[str, Field(min_length=1)]

    @property
    def name(self) -> str:
        """The split's name in the configuration, such as medqa/test."""
        return f"{self.dataset}/{self.split}"

    @property
    def generated(self) -> bool:
        """Whether the pipeline makes the file itself."""
        return self.home == "miniature"

    @property
    def raw_file(self) -> str:
        """Where the file lies below data/raw, such as medqa/test.jsonl."""
        return self.name + PurePosixPath(self.member or self.file).suffix

    @property
    def columns(self) -> list[str]:
        """Every column that the file must have."""
        named = [self.stem, *self.options, self.answer.column, *self.meta]
        named += [self.check.column] if self.check else []
        named += [self.filter[0]] if self.filter else []
        return list(dict.fromkeys(named))

    @model_validator(mode="after")
    def _has_a_known_format(self) -> "Source":
        if not self.raw_file.endswith(FORMATS):
            raise ValueError(f"{self.member or self.file}: only {', '.join(FORMATS)} can be read")
        return self

    @model_validator(mode="after")
    def _is_pinned(self) -> "Source":
        if not self.generated:
            required = ["hash", "rows", "mirror_file"] + ([] if self.home == "local" else ["revision"])
            empty = [column for column in required if getattr(self, column) is None]
            if self.status == "verified" and not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
                raise ValueError("verified is a commit of 40 hexadecimal digits only: branches move")
            if empty:
                raise ValueError(f"{', '.join(empty)}: empty, but the file comes from {self.home}")
        return self


def load_registry(path: str | Path) -> dict[str, Source]:
    """Read the registry; the keys are `dataset/split`.

    Raises:
        UserError: a missing file, a missing or unknown column, a cell that cannot be used, a name given twice; each
            with line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"the data registry {path} does not exist; it belongs to the repository: restore it from there."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason} at byte {error.start}.") from None
    with io.StringIO(text) as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(rows, [])
        if sorted(header) != sorted(Source.model_fields):
            missing = sorted(set(Source.model_fields) - set(header))
            unknown = sorted(set(header) - set(Source.model_fields))
            raise UserError(f"{path}, line 1: missing columns {missing}, unknown or repeated columns {unknown}.")
        sources: dict[str, Source] = {}
        for line, cells in enumerate(rows, start=2):
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {line}: {len(cells)} cells under {len(header)} columns; tabs divide them."
                )
            source = _source(dict(zip(header, cells, strict=True)), f"{path}, line {line}")
            if source.name in sources:
                raise UserError(f"{path}, line {line}: {source.name} is given twice.")
            sources[source.name] = source
    return sources


def _source(cells: dict[str, str], where: str) -> Source:
    try:
        return Source.model_validate({column: None if cell == "-" else cell for column, cell in cells.items()})
    except ValidationError as error:
        problems = "; ".join(
            f"column {problem['loc'][0]}: {problem['msg']} (cell: {cells[str(problem['loc'][0])]!r})"
            if problem["loc"]
            else problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        )
        raise UserError(f"{where} ({cells['dataset']}/{cells['split']}): {problems}.") from None


def find(sources: Mapping[str, Source], name: str, key: str = "data") -> Source:
    """Return the row called `name`.

    Args:
        key: the setting that holds the name, for the message.

    Raises:
        UserError: there is none; the message lists those there are.
    """
    if name not in sources:
        raise UserError(
            f"{key}: there is no data set {name!r} in the registry; there are: {', '.join(sorted(sources))}."
        )
    return sources[name]


def require_datasets(sources: Mapping[str, Source], names: Sequence[str], key: str) -> None:
    """Require that each of `names`, without a split, is a data set of the registry.

    Raises:
        UserError: one is not; the message names `key`, the setting that holds it, and lists those there are.
    """
    known = sorted({source.dataset for source in sources.values()})
    for name in names:
        if name not in known:
            raise UserError(f"{key}: there is no data set {name!r} in the registry; there are: {', '.join(known)}.")
