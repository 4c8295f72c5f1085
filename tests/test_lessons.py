"""Lessons: with their solutions all checks say right; without them each says not yet, and the notebook runs to its end."""
import json

import nbformat
import papermill
import pytest

from aquilt.foundations.core import UserError
from aquilt.runner.lessons import SOLUTION, hand_out, lessons, students_copy


def printed(path, tmp_path):
    "What the cells of an executed notebook print, line by line."
    papermill.execute_notebook(path, tmp_path / "done.ipynb", progress_bar=False, cwd=str(tmp_path))
    done = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    return [line for cell in done.cells for output in cell.get("outputs", []) for line in output.get("text", "").splitlines()]


@pytest.mark.parametrize("name", ["distil-filter-train", "inspect-calibrate"])
def test_a_lesson_is_right_with_its_solutions_and_open_without(name, tmp_path):
    solved = printed(lessons()[name], tmp_path)
    assert solved.count("right") >= 12 and not any(line.startswith("not yet") for line in solved)
    [copy] = hand_out(name, tmp_path / "student")
    text = copy.read_text(encoding="utf-8")
    assert "SOLUTION" not in text and all(not cell.get("outputs") for cell in json.loads(text)["cells"])
    opened = printed(copy, tmp_path)
    assert sum(line.startswith("not yet") for line in opened) >= 10 and opened.count("right") <= 3


def test_a_lesson_of_ones_own(tmp_path):
    cells = [nbformat.v4.new_code_cell("x = [\n    ### BEGIN SOLUTION\n    1,\n    ### END SOLUTION\n]"), nbformat.v4.new_markdown_cell("### BEGIN SOLUTION")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    [copy] = hand_out(str(tmp_path / "mine.ipynb"), tmp_path / "out")
    assert nbformat.read(copy, as_version=4).cells[0].source == "x = [\n    ...  # your turn\n]" and not SOLUTION.search(copy.read_text(encoding="utf-8"))
    with pytest.raises(UserError, match="is there already"): hand_out(str(tmp_path / "mine.ipynb"), tmp_path / "out")
    assert [path.name for path in hand_out(str(tmp_path), tmp_path / "again")] == ["mine.ipynb"]


@pytest.mark.parametrize(("text", "message"), [("{}", "is not a notebook"), ('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "holds no solution"), ("\xff", "is not a notebook")])
def test_what_is_no_lesson(tmp_path, text, message):
    (tmp_path / "x.ipynb").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message): students_copy(tmp_path / "x.ipynb", tmp_path / "y.ipynb")


def test_there_is_no_such_lesson(tmp_path):
    with pytest.raises(UserError, match="choose one of distil-filter-train, inspect-calibrate"): hand_out("nosuch")
    with pytest.raises(UserError, match="holds no notebook"): hand_out(str(tmp_path))
