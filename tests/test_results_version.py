"""A results folder of another version is rejected, with the reason and the command."""

import json
from pathlib import Path

import pytest

from medrlvr.config.results_version import check_version, record_version
from medrlvr.runtime.errors import UserError


def test_an_empty_or_absent_folder_and_its_own_are_accepted(tmp_path: Path) -> None:
    check_version(tmp_path / "absent")
    (tmp_path / "empty/logs").mkdir(parents=True)
    check_version(tmp_path / "empty")
    record_version(tmp_path / "mine")
    (tmp_path / "mine/data").mkdir()
    check_version(tmp_path / "mine")


@pytest.mark.parametrize("content", ["data", "models", "checkpoints", "eval"])
def test_a_folder_of_the_former_layout_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / content).mkdir()
    with pytest.raises(UserError) as error:
        check_version(tmp_path)
    assert "a version of medrlvr before 0.2.0 wrote this folder" in str(error.value)
    assert str(error.value).endswith(f"mv {tmp_path} {tmp_path}_old")


def test_a_folder_of_a_later_layout_is_rejected_and_named(tmp_path: Path) -> None:
    (tmp_path / "version.json").write_text(json.dumps({"medrlvr": "9.9.9", "layout": 99}))
    with pytest.raises(UserError, match=r"medrlvr 9\.9\.9 wrote this folder"):
        check_version(tmp_path)


def test_the_first_version_that_wrote_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "version.json").write_text("{}")
    record_version(tmp_path)
    assert (tmp_path / "version.json").read_text() == "{}"
