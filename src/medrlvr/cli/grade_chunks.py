"""Grade lines in chunks, in this process or in several."""

import json
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from medrlvr.cli.grade_summary import Summary, summarise
from medrlvr.cli.json_lines import Keys, grade_lines, read_reward
from medrlvr.grading.grader import AnswerFormat
from medrlvr.grading.rewards import Reward
from medrlvr.runtime.errors import UserError

LINES = 500
"""Number of lines of a chunk."""


class Task(NamedTuple):
    """What is done with every line. It can be sent to another process.

    Attributes:
        name: name of the input, for messages.
        keys: the keys of each line.
        answer_format: where the grader looks for the answer.
        reward: the reward as on the command line; None for none.
        as_tables: whether to return parquet tables instead of JSON lines.
    """

    name: str
    keys: Keys
    answer_format: AnswerFormat
    reward: str | None
    as_tables: bool


class Chunk(NamedTuple):
    """Consecutive lines of the input, and the number of the first one, from 1."""

    first: int
    lines: list[bytes]


class Graded(NamedTuple):
    """A graded chunk: its number of lines, its rows as JSON lines or as a table, and their summary."""

    lines: int
    rows: Any
    summary: Summary


def split_lines(lines: Iterable[bytes]) -> Iterator[Chunk]:
    """Yield the lines in chunks."""
    rest, first = iter(lines), 1
    while part := list(islice(rest, LINES)):
        yield Chunk(first, part)
        first += len(part)


@cache
def task_reward(text: str | None) -> Reward | None:
    """Return the reward of a command line, read once in each process; None for None.

    Raises:
        UserError: the reward cannot be used.
    """
    return None if text is None else read_reward(text)


def grade_chunk(task: Task, chunk: Chunk) -> Graded:
    """Grade the lines of one chunk.

    Raises:
        UserError: a line is malformed, or its row does not fit into the table.
    """
    reward = task_reward(task.reward)
    rows = list(grade_lines(chunk.lines, task.name, task.answer_format, reward, task.keys, chunk.first))
    lines, summary = len(chunk.lines), summarise(rows, rewarded=reward is not None)
    if not task.as_tables:
        return Graded(lines, "".join(f"{json.dumps(row)}\n" for row in rows), summary)
    from medrlvr.cli.grade_parquet import to_table

    place = f"{task.name}, lines {chunk.first} to {chunk.first + lines - 1}"
    return Graded(lines, to_table(rows, place), summary)


def grade_chunks(task: Task, chunks: Iterable[Chunk], processes: int) -> Iterator[Graded]:
    """Yield the graded chunks in their order. At most two chunks per process are in memory.

    Raises:
        UserError: a line is malformed, or a process was killed.
    """
    if processes == 1:
        yield from (grade_chunk(task, chunk) for chunk in chunks)
        return
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    waiting: deque[Future[Graded]] = deque()
    with ProcessPoolExecutor(processes, initializer=_own_signals) as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(grade_chunk, task, chunk))
                if len(waiting) == 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                f"{task.name}: one of the {processes} processes was killed, perhaps because the memory was full. Start"
                " the command again with fewer --processes."
            ) from None
        finally:
            # It waits for the pool's thread: a thread that closes its pipes at the interpreter's exit prints an error.
            pool.shutdown(cancel_futures=True)


def _own_signals() -> None:
    # Ctrl-C and a closed terminal reach every process of the terminal; the first one ends the others.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
