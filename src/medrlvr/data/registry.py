"""Read the registry of data sets, `config/datasets.tsv`: one row per data set and split; `-` is an empty cell.

Columns:
    dataset, split: the configuration uses them as dataset/split.
    role: train (unusable rows are rejected), development or test (every row is kept and scored).
    home: a dataset repository on the Hugging Face Hub; `local` for a file that is only in a mirror folder; `miniature`
        for the project's own world, whose files rule make_miniature writes.
    revision, status: commit of the home. While the status is `unverified`, the hash has not been checked against this
        commit, and only the hash pins the file.
    file, member: path in the home and, if that is a zip archive, the path inside it.
    mirror_file: path in a local mirror folder.
    hash: `sha256:` of the content, or `git:` with its git blob id if only that is known.
    rows: number of questions after the filter.
    stem: the column of the stem. The file is .jsonl, .json (a list of objects, or JSON lines), .csv or .parquet.
    options: a column with a list, or with an object keyed by letters; or several columns separated by commas, one per
        option, the last of which may be empty in a row.
    answer, check: `column:form`, where form is letter, index (from 0), index_from_1 or text; check is a second record
        of the answer.
    filter: `column=value`; other rows are ignored.
    faults: known faults that no check can detect, `line:reason`, separated by semicolons. Training omits these rows.
    meta: columns to keep unchanged, separated by commas.
    licence, citation: those of the data, not of this project.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text

FORMATS = (".jsonl", ".json", ".csv", ".parquet")
AnswerForm = Literal["letter", "index", "index_from_1", "text"]


class AnswerColumn(BaseModel):
    """A column with the answer, and the form of its cells."""

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
        raise ValueError("a filter must have the form column=value")
    return tuple(cell.split("=", 1))


def _faults(cell: object) -> object:
    if not isinstance(cell, str):
        return cell or {}
    if not all(re.fullmatch(r"[1-9]\d*:\S.*", fault) for fault in cell.split(";")):
        raise ValueError("a fault must have the form line:reason; separate several by semicolons")
    lines = [fault.split(":")[0] for fault in cell.split(";")]
    if len(set(lines)) < len(lines):
        raise ValueError("one line has two faults; combine them into one")
    return dict(fault.split(":", 1) for fault in cell.split(";"))


def _several(cell: object) -> object:
    return tuple(cell.split(",")) if isinstance(cell, str) else cell or ()


Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
RelativePath = Annotated[str, Field(pattern=r"^\w[\w./-]*$")]


class Source(BaseModel):
    """One row of the registry. The module's docstring explains the columns."""

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
        """The name in the configuration, such as medqa/test."""
        return f"{self.dataset}/{self.split}"

    @property
    def generated(self) -> bool:
        """Whether the pipeline generates the file."""
        return self.home == "miniature"

    @property
    def raw_file(self) -> str:
        """Path of the file in data/raw, such as medqa/test.jsonl."""
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
            raise ValueError(
                f"{self.member or self.file}: the format is not supported; use one of {', '.join(FORMATS)}"
            )
        return self

    @model_validator(mode="after")
    def _is_pinned(self) -> "Source":
        if not self.generated:
            required = ["hash", "rows", "mirror_file"] + ([] if self.home == "local" else ["revision"])
            empty = [column for column in required if getattr(self, column) is None]
            if self.status == "verified" and not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
                raise ValueError(
                    "the status verified requires a commit of 40 hexadecimal digits as revision, because branches move"
                )
            if empty:
                raise ValueError(f"{', '.join(empty)}: must not be empty, because the file comes from {self.home}")
        return self


def load_registry(path: str | Path) -> dict[str, Source]:
    """Read the registry; the keys are `dataset/split`.

    Raises:
        UserError: the file or a column is missing, a column is unknown, a cell is not valid, or a name occurs twice;
            the message contains line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"the registry of data sets, {path}, does not exist. It is part of the repository. Restore it with git."
        )
    with io.StringIO(read_text(path)) as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(rows, [])
        if sorted(header) != sorted(Source.model_fields):
            missing = sorted(set(Source.model_fields) - set(header))
            unknown = sorted(set(header) - set(Source.model_fields))
            raise UserError(
                f"{path}, line 1: each column of the registry must occur exactly once. Missing columns:"
                f" {', '.join(missing) or 'none'}. Unknown columns: {', '.join(unknown) or 'none'}."
            )
        sources: dict[str, Source] = {}
        for line, cells in enumerate(rows, start=2):
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {line}: this row has {len(cells)} cells, but there are {len(header)} columns."
                    " Separate cells by tabs, and write - in an empty cell."
                )
            source = _source(dict(zip(header, cells, strict=True)), f"{path}, line {line}")
            if source.name in sources:
                raise UserError(f"{path}, line {line}: {source.name} already has a row. Remove one of the two rows.")
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
        sources: the registry, from `load_registry`.
        name: dataset/split.
        key: the setting with the name, for the message.

    Raises:
        UserError: the row does not exist; the message lists the existing names.
    """
    if name not in sources:
        raise UserError(
            f"{key}: there is no data set {name!r} in config/datasets.tsv; known data sets:"
            f" {', '.join(sorted(sources))}."
        )
    return sources[name]


def require_datasets(sources: Mapping[str, Source], names: Sequence[str], key: str) -> None:
    """Require that each of `names`, without a split, is a data set of the registry.

    Raises:
        UserError: one is not; the message contains `key`, the setting with the name, and lists the existing data sets.
    """
    known = sorted({source.dataset for source in sources.values()})
    for name in names:
        if name not in known:
            raise UserError(
                f"{key}: there is no data set {name!r} in config/datasets.tsv; known data sets: {', '.join(known)}."
            )
