"""Grade an answer in words to a question whose options were not shown (docs/controls.md)."""

from collections.abc import Sequence

from medrlvr.grading.patterns import NEXT_TURN
from medrlvr.grading.search import find_words, fold_case


def names_only(response: str, options: Sequence[str], gold: int) -> bool:
    """Return whether an answer in words names the right option and no other one.

    Args:
        response: the response. With an answer block, only the last one counts; otherwise the text up to the next turn
            of a conversation that the model invents.
        options: the option texts, which the prompt does not contain. A longer one is not also a mention of one in it.
        gold: index of the right option.
    """
    turn = NEXT_TURN.search(response)
    _, block, after = response[: turn.start() if turn else None].rpartition("<answer>")
    text = " ".join((after.partition("</answer>")[0] if block else after).split())
    folded = fold_case(text)
    named = set()
    for index in sorted(range(len(options)), key=lambda index: len(options[index]), reverse=True):
        words = fold_case(" ".join(options[index].split()))
        while words and (at := find_words(words, text, folded)) is not None:
            named.add(index)
            text, folded = (f"{one[:at]}|{one[at + len(words) :]}" for one in (text, folded))
    return named == {gold}
