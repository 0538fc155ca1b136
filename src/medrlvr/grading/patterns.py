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
LETTER_ENDS = (
    r"(?![\w'\u2019-])"
    r"(?=\s*$|\s*[\r\n]|[\"*]{0,3}(?:[.](?!\s?[a-z])|[,:;)!?\"*]|\s*$)|\s+(?:is|because|as|since)\b)"
    r"(?![\s,*)]*(?:or|and|/|,)\s*[(*]*[A-K]\b)"
)
LETTER = rf"([A-K]){LETTER_ENDS}"
ENDS_LETTER = re.compile(LETTER_ENDS)
# A lower-case letter needs a mark or the end, because "a" is an article.
ENDS_SMALL_LETTER = re.compile(r"(?=\s*$|\s*[\r\n]|[\"*]{0,3}(?:[.](?!\s?[a-z])|[,;)!?\"*]|\s*$))")
# After its own name ("option C") a letter needs no mark, except A and I, which are words: "option A patient".
ENDS_LABELLED_LETTER = re.compile(r"(?![\w'\u2019-])")
SECOND_LETTER = re.compile(r"[\s,*)]*(?:or|and|/|,)\s*[(*]*[A-K]\b")
REFUSED = re.compile(r"[\s*).]{0,4}(?:is|was)\s+(?:not|wrong|incorrect|false|unlikely)\b")
LABELLED = r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter) [(*]{0,3}([B-HJK])\b(?![-'\u2019])"
_NOT_NEGATED = r"(?<!not )(?<!not the )(?<!n't )(?<!n't the )(?<!never )(?<!rather than )"
_VERB = r"(?: is| would be| must be| should be| =)"
_ADVERB = r"(?: (?:most )?(?:likely|probably|clearly|definitely|certainly|therefore|thus|indeed|simply))?"
_LABEL = r"(?: (?:the )?(option|choice|letter|answer))?"
_OPENING = r"[\s:\uff1a(*\"]{0,8}"
# Statements of a choice in untagged text: the words with which a match starts, and the pattern. Group 1 is a label
# before the letter, or absent; group 2 is the letter.
STATEMENTS = (
    (
        ("answer",),
        re.compile(
            rf"{_NOT_NEGATED}\banswer(?: to (?:this|the)(?: \w+)? question)?\b\**{_VERB}?{_ADVERB}{_LABEL}{_OPENING}"
            r"([A-K])",
            re.IGNORECASE,
        ),
    ),
    (
        ("option", "choice", "pick"),
        re.compile(
            rf"{_NOT_NEGATED}\b(?:option|choice|pick)\**(?:{_VERB}|[:\uff1a]){_ADVERB}{_LABEL}{_OPENING}([A-K])",
            re.IGNORECASE,
        ),
    ),
    (
        ("say", "choose", "pick", "select", "take", "favo", "prefer", "go"),
        re.compile(
            rf"{_NOT_NEGATED}\b(?:say|choose|pick|select|take|favou?r|prefer|go(?:ing)? with){_LABEL}{_OPENING}([A-K])",
            re.IGNORECASE,
        ),
    ),
)
BOXED = re.compile(r"\\boxed\{\s*(?:\\(?:text|textbf|mathrm|mathbf)\{\s*)?[(]?([A-Ka-k])[).]?\s*\}")
# The letter comes before the assertion on what precedes it, because a search for a letter is fast.
CALLED_RIGHT = re.compile(r"([A-K])(?<![\w'-][A-K])\)? is (?:the )?(?:correct|right|best)\b")
# Between an answer's letter and the option's text.
SEPARATOR = re.compile(r"[\s.:)*]+")
# A label that opens the text: "Option C".
OPENING_LABEL = re.compile(r"\s*[*]{0,2}(?:option|choice|letter|answer)\s+", re.IGNORECASE)
# Another option's letter with a mark; group 1 is absent if only a space separates it from the text before it.
FURTHER_LETTER = re.compile(
    r"(?:(^[^\S\n]*|[.;,]\s*|\b(?:or|and)\s+)|[^\S\n])[(*]{0,3}([A-K])([*)]{0,3}[.:)])\s*", re.MULTILINE
)
# What every match of FURTHER_LETTER contains.
LETTER_AND_MARK = re.compile(r"[A-K][*)]{0,3}[.:)]")
# A turn that the model makes up behind its own.
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
# For a fast search for NAMED_LETTER, in a text whose lines start with no white space. NAMED_LETTER_ALONE finds the
# letter of every match: after the end of a label or verb, in marks, at the start of a line, or before "is". It omits
# "A" and "I" before most words. LABEL finds the label, if a match starts with one: at most LABEL_REACH characters
# before the letter.
_LABEL_END = "(?:er|on|ce|se|[Ii]t|is|be)"
_AFTER_LABEL = "|".join(rf"(?<={_LABEL_END}{marks}[A-K])" for marks in (r"[\s:(*\"]" * count for count in range(5)))
NAMED_LETTER_ALONE = re.compile(
    r"[A-K](?![\w'\u2019-])(?!(?<=[AI]) [^abis\s])"
    rf"(?:(?=\)? is (?:the )?[bcr])|(?<=\([A-K])(?=\))|(?<=\*\*[A-K])(?=\*\*)|(?<=^[A-K])(?=[.:)])|{_AFTER_LABEL})",
    re.MULTILINE,
)
LABEL = re.compile(r"[AaOoCcLlIi](?:nswer|ption|hoice|hoose|etter|t)")
LABEL_REACH = len("option should be") + 4
