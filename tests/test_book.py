"""The pages as a book: their beginnings and ends, the ways through them, the size of their cells and outputs."""
import ast
import json
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
PAGES = sorted((p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts and p.stem != "index"), key=lambda p: p.stem)
LINK = re.compile(r"\]\(([^)#\s]+\.ipynb)\)")
BEGIN = re.compile(r"- \*\*This page answers:\*\* \S.*\?\n- \*\*Read before:\*\* \S.*\n- \*\*Minutes:\*\* (\d+)\.?\n")

MEDIAN, SHOWN = 8, 0.80


def cells(path, kind):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def minutes(path):
    return int(BEGIN.match(cells(path, "markdown")[1])[1])


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_a_page_says_what_it_answers_and_what_was_learnt(path):
    text = cells(path, "markdown")
    assert BEGIN.match(text[1]), "the text begins with: This page answers, Read before, Minutes"
    end = text[-1]
    assert end.count("\n- ") >= 2 and "## What was learnt" in end, "two facts at least were learnt"
    assert 2 <= end.count("<details><summary>Answer</summary>") == end.count("</details>") <= 4, "two or three exercises with folded answers"
    assert re.search(r"\*\*Next page:\*\* \[[^\]]+\]\([^)]+\.ipynb\)$", end.strip()), "the last line names the next page"


def test_minutes_follow_from_words_and_lines():
    for path in PAGES:
        words, code = sum(len(text.split()) for text in cells(path, "markdown")), sum(bool(line.strip()) for text in cells(path, "code") for line in text.splitlines())
        assert abs(minutes(path) - (words / 200 + code / 15)) <= (10 if path.parent.name != "lessons" else 60), path.name


def test_next_pages_make_one_path_through_the_method():
    page, seen = NBS / "10_introduction.ipynb", []
    while page not in seen and page.stem != "index":
        seen.append(page)
        page = (page.parent / LINK.findall(cells(page, "markdown")[-1].rpartition("**Next page:**")[2])[0]).resolve()
    method = {path for path in PAGES if path.parent == NBS}
    assert method <= set(seen)


def test_the_ways_of_the_index_add_up_their_minutes():
    rows = re.findall(r"^\| (the method|the whole paper|your own domain) \| (.*) \| (\d+) \|$", "\n".join(cells(NBS / "index.ipynb", "markdown")), re.MULTILINE)
    assert len(rows) == 3
    for way, links, total in rows:
        named = [NBS / link for link in LINK.findall(links)]
        if way == "the whole paper": named = [path for path in PAGES if path.parent == NBS] + named[-1:]
        assert sum(map(minutes, named)) == int(total), f"{way}: {sum(map(minutes, named))}"
    assert len(LINK.findall(rows[0][1])) == 10


def exported():
    "Each exported cell with definitions: its page, its source, and the code cell after it."
    for path in PAGES:
        code = cells(path, "code")
        for source, after in zip(code, [*code[1:], ""]):
            if not source.startswith("#| export"): continue
            body = ast.parse(source).body
            if not all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body): yield path, source, after


def test_cells_are_for_a_screen():
    sizes = sorted(sum(bool(line.strip()) and not line.startswith("#|") for line in source.splitlines()) for _, source, _ in exported())
    assert median(sizes) <= MEDIAN and sizes[int(0.9 * len(sizes))] <= 20
    wide = [f"{path.name}: {line}" for path in PAGES for source in cells(path, "code") for line in source.splitlines() if len(line) > 100]
    assert not wide


def test_definitions_are_shown_at_once():
    shown = [name in after and not after.startswith("#| export") for _, source, after in exported()
             for name in (node.name for node in ast.parse(source).body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)))
             if not name.startswith("_")]
    assert sum(shown) / len(shown) >= SHOWN


def test_outputs_are_a_small_part():
    outputs = sum(len(json.dumps(cell.get("outputs", []))) for path in PAGES for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    assert outputs <= 0.30 * sum(path.stat().st_size for path in PAGES)
