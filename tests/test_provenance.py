import hashlib
from importlib.metadata import version
from pathlib import Path

import medrlvr
from medrlvr.runtime.provenance import provenance


def test_a_number_names_its_inputs_versions_and_command(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "answers.parquet"
    file.write_bytes(b"answers")
    found = provenance([str(file)], "make it")
    assert found["inputs"] == {str(file): f"sha256:{hashlib.sha256(b'answers').hexdigest()}"}
    assert found["command"] == "make it"
    assert found["versions"]["statsmodels"] == version("statsmodels")

    package = tmp_path / "medrlvr"
    package.mkdir()
    (package / "__init__.py").write_text('"""Said."""\nx = 1\n')
    monkeypatch.setattr(medrlvr, "__file__", str(package / "__init__.py"))
    first = provenance([], "")["versions"]["medrlvr"]
    (package / "__init__.py").write_text('"""Said otherwise."""\nx = 1\n')
    assert provenance([], "")["versions"]["medrlvr"] == first
    (package / "__init__.py").write_text("x = 2\n")
    assert provenance([], "")["versions"]["medrlvr"] != first
