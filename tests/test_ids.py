"""Whether every test of an earlier commit has a successor."""

from ids import collected, lost, read_table


def test_no_test_is_lost() -> None:
    table = read_table()
    assert len(table) == 1613
    assert [*lost(table, collected())] == []


def test_a_lost_test_is_named() -> None:
    rows = [["a::x", "=", ""], ["a::y", "b::y", ""], ["a::z", "", "measured elsewhere"], ["a::w", "", ""]]
    assert [*lost(rows, {"a::x", "b::y"})] == ["line 4: a::w has neither a test nor a reason."]
    assert [line.split(":")[0] for line in lost(rows[:3], {"c::x"})] == ["line 1", "line 2"]
