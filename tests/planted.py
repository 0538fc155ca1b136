"""A question that is held out, and training questions that are like it in known ways."""

import pandas as pd

from medrlvr.config.data import Contamination
from medrlvr.data.contamination import find_matches, find_overlaps
from medrlvr.data.duplicates import find_pairs

STEM = (
    "A sailor of forty years comes ashore with bleeding gums and loose teeth after nine months without any fruit; "
    "which of these does he lack?"
)
OPTIONS = ["ascorbic acid", "thiamine", "retinol"]


def table(dataset: str, split: str, *rows: tuple[str, list[str]], gold: int = 0) -> pd.DataFrame:
    """Questions (QUESTION_SCHEMA) with the same right option."""
    return pd.DataFrame(
        [
            {
                "question_id": f"{dataset}/{split}/{i}",
                "dataset": dataset,
                "split": split,
                "stem": stem,
                "options": options,
                "gold": gold,
                "source_file": f"{split}.jsonl",
                "source_line": i,
                "meta": "{}",
            }
            for i, (stem, options) in enumerate(rows, start=1)
        ]
    )


PLANTED = table(
    "world",
    "train",
    (STEM.upper().replace(";", " -"), OPTIONS),  # exact but for case and punctuation
    (STEM, OPTIONS[::-1]),  # options in another order
    (STEM, ["ascorbic acid", "thiamine", "niacin"]),  # another option
    (STEM.replace("nine", "ten"), OPTIONS),  # one word changed
    (STEM + " He was well before he went to sea.", OPTIONS),  # a sentence added
    ("What is missing in the diet of a seaman whose gums bleed?", OPTIONS),  # a paraphrase: no shared words in order
    ("Which of these does he lack?", OPTIONS),  # a short part
    (STEM.partition(" after")[0], OPTIONS),  # a substring: the first 13 words, 71 characters
)
HELD_OUT = table("world", "test", (STEM, OPTIONS))
QUESTIONS = pd.concat([PLANTED, HELD_OUT], ignore_index=True)


def matched(questions: pd.DataFrame, train: str, settings: Contamination | None = None) -> pd.DataFrame:
    """The matches of a training split, from the questions alone, as the rules make them one after the other."""
    settings = settings or Contamination()
    runs = find_overlaps(questions, train, settings.char_overlap, settings.word_overlap)
    return find_matches(questions, find_pairs(questions, settings.near_similarity), runs, train, settings.removing)
