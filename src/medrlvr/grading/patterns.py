"""Regular expressions of the grader; docs/grading.md gives the reason for each."""

import re

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
ANSWER_FOLLOWS = re.compile(r"\s*<answer>")
# What stands behind a letter that is an answer: the end, or a mark that closes it, perhaps behind bold's stars.
CLOSED = r"(?=\s*$|\*{0,3}(?:[.:)\r\n]|\s*$))"
# A letter alone, perhaps in brackets or bold: "A thiazide" is not A.
LEADING_LETTER = re.compile(rf"\s*[(*]{{0,3}}([A-Ka-k]){CLOSED}")
LEADING_MARKS = re.compile(r"\A[\s.:)*]+")
# Another letter right behind the first: a choice of several, or the options told again.
NEXT_LETTER = re.compile(rf"(?:(?:or|and|[/,&])\s*)?[(*]{{0,3}}([A-Ka-k]){CLOSED}", re.IGNORECASE)
# In running text a letter closes something or is something: not "D-dimer", "E. coli", "B cells" or an article.
LETTER = (
    r"([A-K])(?![\w'\u2019-])"
    r"(?=\s*$|\s*[\r\n]|[\"*]{0,3}(?:[.](?!\s?[a-z])|[,:;)!?\"*]|\s*$)|\s+(?:is|because|as|since)\b)"
    r"(?![\s,*)]*(?:or|and|/|,)\s*[(*]*[A-K]\b)"
)
REFUSED = r"(?![\s*).]{0,4}(?:is|was)\s+(?:not|wrong|incorrect|false|unlikely)\b)"
# Untagged text that states its choice; upper case only, because "a" is an article.
STATED_LETTER = re.compile(
    r"(?<!not )(?<!not the )\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b(?: is| would be| must be| should be)?:?"
    rf"[\s(*\"]{{0,4}}{LETTER}{REFUSED}"
)
# Behind its own name a letter needs no mark; "option A patient" stays an article.
LABELLED = r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter) [(*]{0,3}([B-HJK])\b(?![-'\u2019])"
STATED_LABEL = re.compile(rf"(?<!not )(?<!not the ){LABELLED}{REFUSED}")
CALLED_RIGHT = re.compile(r"(?<![\w'-])([A-K])\)? is (?:the )?(?:correct|right|best)\b")
# A turn that the model makes up behind its own.
NEXT_TURN = re.compile(r"\n[ \t]*(?:User|Human|Question):")
# A line that opens with a letter and a mark: a question's options, told again.
LISTED_LETTER = re.compile(r"^[ \t]*[(*]{0,3}([A-K])[.:)]", re.MULTILINE)
# Where a think block names an option by its letter.
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
