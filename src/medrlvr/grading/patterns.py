"""Regular expressions of the grader; docs/grading.md explains each one."""

import re

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
ANSWER_FOLLOWS = re.compile(r"\s*<answer>")
# What follows a letter that is an answer: the end, or a closing mark, optionally after the asterisks of bold text.
CLOSED = r"(?=\s*$|\*{0,3}(?:[.:)\r\n]|\s*$))"
# A letter alone, optionally in brackets or bold: "A thiazide" does not answer A.
LEADING_LETTER = re.compile(rf"\s*[(*]{{0,3}}([A-Ka-k]){CLOSED}")
LEADING_MARKS = re.compile(r"\A[\s.:)*]+")
# Another letter directly after the first: a choice of several options, or a repeated list of options.
NEXT_LETTER = re.compile(rf"(?:(?:or|and|[/,&])\s*)?[(*]{{0,3}}([A-Ka-k]){CLOSED}", re.IGNORECASE)
# In running text an answer letter ends a clause or is followed by a verb: not "D-dimer", "E. coli", "B cells", "A".
LETTER = (
    r"([A-K])(?![\w'\u2019-])"
    r"(?=\s*$|\s*[\r\n]|[\"*]{0,3}(?:[.](?!\s?[a-z])|[,:;)!?\"*]|\s*$)|\s+(?:is|because|as|since)\b)"
    r"(?![\s,*)]*(?:or|and|/|,)\s*[(*]*[A-K]\b)"
)
REFUSED = r"(?![\s*).]{0,4}(?:is|was)\s+(?:not|wrong|incorrect|false|unlikely)\b)"
# Untagged text that states a choice; upper case only, because "a" is an article.
STATED_LETTER = re.compile(
    r"(?<!not )(?<!not the )\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b(?: is| would be| must be| should be)?:?"
    rf"[\s(*\"]{{0,4}}{LETTER}{REFUSED}"
)
# After "option" a letter needs no mark; the A of "option A patient" is still an article.
LABELLED = r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter) [(*]{0,3}([B-HJK])\b(?![-'\u2019])"
STATED_LABEL = re.compile(rf"(?<!not )(?<!not the ){LABELLED}{REFUSED}")
CALLED_RIGHT = re.compile(r"(?<![\w'-])([A-K])\)? is (?:the )?(?:correct|right|best)\b")
# A further turn that the model invents after its own.
NEXT_TURN = re.compile(r"\n[ \t]*(?:User|Human|Question):")
# A line that starts with a letter and a mark: the question's options, repeated.
LISTED_LETTER = re.compile(r"^[ \t]*[(*]{0,3}([A-K])[.:)]", re.MULTILINE)
# A think block names an option by its letter.
NAMED_LETTER = re.compile(
    r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice|[Ll]etter|[Cc]hoose|[Ii]t)\b(?: is| would be| must be| should be)?"
    rf"[\s:(*\"]{{0,4}}{LETTER}"
    rf"|{LABELLED}"
    r"|\(([A-K])\)"
    r"|\*\*([A-K])\*\*"
    r"|^[ \t]*([A-K])[.:)]"
    r"|(?<![\w'-])([A-K])\)? is (?:the )?(?:correct|right|best)\b",
    re.MULTILINE,
)
