"""Read the registry of data sets, `config/datasets.tsv`: one row per data set and split; `-` is an empty cell.

Columns:
    dataset, split: the configuration uses them as dataset/split.
    role: train (unusable rows are rejected), development or test (every row is kept and scored).
    home: a dataset repository on the Hugging Face Hub; `local` for a file that is only in a mirror folder; `miniature`
        or `calculations` for the project's own worlds, whose files the rules make_miniature, plant_loophole and
        make_calculations write.
    revision, status: commit of the home. While the status is `unverified`, the hash has not been checked against this
        commit, and only the hash pins the file. While it is `unpinned`, the hash is not known: a run that needs the
        file stops after the download and prints the hash.
    file, member: path in the home and, if that is a zip archive, the path inside it.
    mirror_file: path in a local mirror folder.
    hash: `sha256:` of the content, or `git:` with its git blob id if only that is known.
    rows: number of questions after the filter.
    stem: the column of the stem, or several columns separated by commas, whose texts are joined by line breaks. The
        file is .jsonl, .json (a list of objects, or JSON lines), .csv or .parquet.
    options: a column with a list, or with an object keyed by letters; or several columns separated by commas, one per
        option, the last of which may be empty in a row. Empty if no question has options.
    answer: `column:form`. For questions with options, form is letter, index (from 0), index_from_1 or text; for numbers
        it is number; for short texts it is accepted: a list, or one text with `|` between the accepted texts. A file
        with questions of several kinds has one such entry for each kind, separated by commas, and each row has a value
        in exactly one of these columns.
    key: further facts of numbers and texts, `field=column` or, for all rows, `field="value"`, separated by semicolons.
        Fields of a number are unit, absolute, relative, lowest and highest; plural is one of a text
        (docs/grading_kinds.md). Empty cells of the file count as absent.
    check: `column:form`, a second record of the letter, index or text of the correct option.
    filter: `column=pattern`, or several such conditions separated by semicolons; rows that do not meet all of them are
        ignored. `|` separates patterns of which one must match; `*`, `?` and `[...]` are as in file names.
    faults: known faults that no check can detect, `line:reason`, separated by semicolons. Training omits these rows.
    meta: columns to keep unchanged, separated by commas.
    licence, citation: those of the data, not of this project.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medrlvr.grading.kinds import Kind
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text

WORLDS = ("miniature", "calculations")
"""Homes of the data sets that the pipeline generates; each world has a base model."""
FORMATS = (".jsonl", ".json", ".csv", ".parquet")
OptionForm = Literal["letter", "index", "index_from_1", "text"]
AnswerForm = Literal[OptionForm, "number", "accepted"]
KeyField = Literal["unit", "absolute", "relative", "lowest", "highest", "plural"]
KEY_FIELDS: dict[Kind, tuple[KeyField, ...]] = {
    "letter": (),
    "number": ("unit", "absolute", "relative", "lowest", "highest"),
    "text": ("plural",),
}
"""Fields of the registry column key that each kind of question has."""


class AnswerColumn(BaseModel):
    """A column with the answer, and the form of its cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: Annotated[str, Field(min_length=1)]
    form: AnswerForm

    @property
    def kind(self) -> Kind:
        """The kind of the questions whose answers the column has."""
        return "number" if self.form == "number" else "text" if self.form == "accepted" else "letter"


class CheckColumn(BaseModel):
    """A column with a second record of the correct option."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: Annotated[str, Field(min_length=1)]
    form: OptionForm


class KeyCell(BaseModel):
    """Where one field of a key is: in a column, or here for all rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str | None = None
    value: str | None = None

    def of(self, row: Mapping[str, Any]) -> object:
        """Return the field's value for one row of the file; None if the cell is empty."""
        cell = self.value if self.column is None else row[self.column]
        return None if is_empty(cell) else cell


def is_empty(cell: object) -> bool:
    """Return whether a cell of a file has no value: null, an empty text, or not a number."""
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def _answer_column(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    column, _, form = cell.rpartition(":")
    return {"column": column, "form": form}


def _answer_columns(cell: object) -> object:
    return tuple(map(_answer_column, cell.split(","))) if isinstance(cell, str) else cell


def _key(cell: object) -> object:
    if not isinstance(cell, str):
        return cell or {}
    if not all(re.fullmatch(r'[a-z]+=("[^"]+"|[^"]+)', part) for part in cell.split(";")):
        raise ValueError('each part must have the form field=column or field="value"; separate several by semicolons')
    parts = dict(part.split("=", 1) for part in cell.split(";"))
    if len(parts) <= cell.count(";"):
        raise ValueError("a field occurs twice; remove one")
    return {field: {"value": text[1:-1]} if text.startswith('"') else {"column": text} for field, text in parts.items()}


def _filter(cell: object) -> object:
    if not isinstance(cell, str):
        return cell or {}
    if not all(re.fullmatch(r"[^=]+=.+", condition) for condition in cell.split(";")):
        raise ValueError("a filter must have the form column=value; separate several by semicolons")
    conditions = dict(condition.split("=", 1) for condition in cell.split(";"))
    return {column: tuple(patterns.split("|")) for column, patterns in conditions.items()}


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
    home: Annotated[str, Field(pattern=r"^(local|miniature|calculations|[\w.-]+/[\w.-]+)$")]
    revision: str | None
    status: Literal["verified", "unverified", "unpinned", "generated"]
    file: RelativePath
    member: RelativePath | None
    mirror_file: RelativePath | None
    hash: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|git:[0-9a-f]{40})$")] | None
    rows: Annotated[int, Field(gt=0)] | None
    stem: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_several), Field(min_length=1)]
    options: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_several)]
    answer: Annotated[tuple[AnswerColumn, ...], BeforeValidator(_answer_columns)]
    key: Annotated[dict[KeyField, KeyCell], BeforeValidator(_key)]
    check: Annotated[CheckColumn | None, BeforeValidator(_answer_column)]
    filter: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_filter)]
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
        return self.home in WORLDS

    @property
    def raw_file(self) -> str:
        """Path of the file in data/raw, such as medqa/test.jsonl."""
        return self.name + PurePosixPath(self.member or self.file).suffix

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of the file's questions."""
        return tuple(answer.kind for answer in self.answer)

    def includes(self, row: Mapping[str, Any]) -> bool:
        """Return whether the filter keeps a row of the file."""
        return all(
            any(fnmatchcase(str(row[column]), pattern) for pattern in patterns)
            for column, patterns in self.filter.items()
        )

    @property
    def columns(self) -> list[str]:
        """Every column that the file must have."""
        named = [*self.stem, *self.options, *(answer.column for answer in self.answer), *self.meta]
        named += [cell.column for cell in self.key.values() if cell.column is not None]
        named += [self.check.column] if self.check else []
        named += [*self.filter]
        return list(dict.fromkeys(named))

    @model_validator(mode="after")
    def _has_a_known_format(self) -> "Source":
        if not self.raw_file.endswith(FORMATS):
            raise ValueError(
                f"{self.member or self.file}: the format is not supported; use one of {', '.join(FORMATS)}"
            )
        return self

    @model_validator(mode="after")
    def _describes_each_kind(self) -> "Source":
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("answer: two columns are for questions of one kind; keep one, and use check for the other")
        has_options = "letter" in self.kinds
        if has_options and not self.options:
            raise ValueError("options: must not be empty, because the answer is an option; name the options' column")
        if not has_options and (self.options or self.check):
            raise ValueError(
                "options and check: must be empty (-), because no question has options: the answer's form is"
                f" {self.answer[0].form}"
            )
        allowed = [field for kind in self.kinds for field in KEY_FIELDS[kind]]
        for field in self.key:
            if field not in allowed:
                raise ValueError(
                    f"key: questions of the kind {' or '.join(self.kinds)} have no field {field};"
                    f" their fields: {', '.join(allowed) or 'none'}"
                )
        if ("lowest" in self.key) != ("highest" in self.key):
            raise ValueError("key: an accepted range needs both lowest and highest")
        return self

    @model_validator(mode="after")
    def _is_pinned(self) -> "Source":
        if not self.generated:
            required = ["mirror_file"] if self.status == "unpinned" else ["hash", "rows", "mirror_file"]
            required += [] if self.home == "local" else ["revision"]
            empty = [column for column in required if getattr(self, column) is None]
            if self.status == "verified" and not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
                raise ValueError(
                    "the status verified requires a commit of 40 hexadecimal digits as revision, because branches move"
                )
            if empty:
                raise ValueError(f"{', '.join(empty)}: must not be empty, because the file comes from {self.home}")
            if self.status == "unpinned" and self.hash:
                raise ValueError("the status unpinned is for rows without a hash; enter unverified")
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
