import hashlib
import re
from pathlib import Path

import jinja2
import pytest

from medrlvr.data.prompts import Renderer, load_template
from medrlvr.grading.grader import grade
from medrlvr.runtime.errors import UserError

QUESTION = {"question_id": "toy/train/1", "stem": "Which {metal} shines?", "options": ["iron", "gold"], "gold": 1}


@pytest.fixture
def renderer() -> Renderer:
    return Renderer("prompts/question.txt", direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")


@pytest.mark.parametrize("mode", ["direct", "chain_of_thought"])
def test_the_prompts_are_verbatim(renderer: Renderer, mode: str) -> None:
    assert renderer.prompt(QUESTION, mode) + "\n" == Path(f"tests/golden/{mode}.txt").read_text(encoding="utf-8")


def test_the_prompt_alone_would_pass_the_format_check(renderer: Renderer) -> None:
    """Why the reward must cut the prompt off: the paper's template holds a valid pair of tags."""
    assert grade(renderer.prompt(QUESTION, "chain_of_thought"), QUESTION["options"], 1).valid_format


def test_sft_row(renderer: Renderer) -> None:
    row = renderer.sft_row(QUESTION)
    assert row["output"] == " B"
    assert row["input"].endswith("\nAnswer:")


@pytest.mark.parametrize("text", ["no field", "{input} {input}", "{input} {other}", "{input"])
def test_a_bad_template_is_rejected_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.txt"):
        load_template(path, ["input"])


def test_a_missing_template_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.txt"):
        load_template(tmp_path / "nowhere.txt", ["input"])


TEMPLATES = sorted(Path("prompts").glob("*.txt"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_template_is_as_its_last_version_was(path: Path) -> None:
    """Results name a template; a change without a version of its own would change what they mean."""
    rows = re.findall(r"^\| (\S+) \| (\d+) \| `(\w+)` \|", Path("prompts/CHANGELOG.md").read_text(), re.MULTILINE)
    assert len({(name, version) for name, version, _ in rows}) == len(rows)
    versions = {name: digest for name, _, digest in sorted(rows, key=lambda row: int(row[1]))}
    assert versions[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


MODES = [path for path in TEMPLATES if not path.name.startswith("question")]


@pytest.mark.parametrize("path", MODES, ids=lambda path: path.name)
def test_every_template_can_be_used(path: Path) -> None:
    renderer = Renderer("prompts/question.txt", direct=path)
    prompt = renderer.prompt(QUESTION, "direct")
    assert prompt.count(QUESTION["stem"]) == 1 and prompt.count("\nB. gold") == 1
    assert renderer.sft_row(QUESTION)["output"] == ("B" if "chatml" in path.name else " B")


@pytest.mark.parametrize("path", [path for path in MODES if "shot" in path.name], ids=lambda path: path.name)
def test_the_examples_in_a_few_shot_template_are_answered_in_its_own_format(path: Path) -> None:
    examples = re.split(r"^(?:Question|User): ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:-1]
    assert len(examples) == 3
    for example in examples:
        options = re.findall(r"^([A-E])\. ", example, re.MULTILINE)
        answer = re.split(r"^(?:Answer|Assistant):", example, flags=re.MULTILINE)[1]
        found = grade(answer.rstrip(), options, 0, "tagged" if "<think>" in answer else "bare")
        assert found.letter in options
        assert found.strict_format == ("<think>" in answer)


def test_chatml_is_what_a_chat_template_writes() -> None:
    template = (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
        "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    prompt = Renderer("prompts/question.txt", direct="prompts/direct_chatml.txt").prompt(QUESTION, "direct")
    system, user = re.findall(r"<\|im_start\|>\w+\n(.*?)<\|im_end\|>", prompt, re.DOTALL)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    assert (
        jinja2.Template(template, keep_trailing_newline=True).render(messages=messages, add_generation_prompt=True)
        == prompt
    )


def test_a_template_may_have_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(b"\xef\xbb\xbfRead.\r\n{input}\r\n")
    assert load_template(file, ["input"]) == "Read.\n{input}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{input!r}", "write {input} without a conversion or format"),
        (b"{input:>200}", "write {input} without a conversion or format"),
        ("{input}".encode("utf-16"), "this file is UTF-16"),
        ("line\n\u00fc {input}".encode("latin-1"), "line 2: this is not UTF-8: byte 0xfc"),
    ],
)
def test_a_template_that_would_change_the_prompt_or_cannot_be_read_is_rejected(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_template(file, ["input"])
    assert str(error.value).startswith(str(file)) and message in str(error.value)
