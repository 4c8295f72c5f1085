"""The paper's numbers as data, and the audit that recomputes them."""
import pytest

from aquilt.evaluation import audit, paper
from aquilt.foundations.core import UserError

SHAPES = {1: (12, 2), 2: (14, 12), 3: (4, 4), 4: (2, 4), 5: (2, 5), 6: (2, 4), 7: (2, 5), 8: (14, 4)}


@pytest.mark.parametrize("number", SHAPES)
def test_every_cell_is_a_number_or_missing(number):
    printed, numbers = paper.printed_table(number), paper.paper_table(number)
    assert printed.shape == numbers.shape == SHAPES[number]
    assert printed.index.is_unique
    assert (printed.isna() == numbers.isna()).all(axis=None)
    assert paper.paper_caption(number)


@pytest.mark.parametrize("number", SHAPES)
def test_every_cell_stands_in_the_paper(shared, number):
    texts = [path.read_text(encoding="utf-8") for path in (shared / "paper").glob("001*.txt")]
    assert texts, "the paper's text is missing"
    words = set(texts[0].replace("<u>", "").replace("</u>", "").replace("\t", "\n").splitlines())
    printed = paper.printed_table(number)
    assert set(printed.to_numpy().flat) - {None} <= words
    assert {name for key in printed.index for name in ([key] if isinstance(key, str) else key)} <= words


def test_every_quote_stands_in_the_paper(shared):
    text = " ".join(" ".join(path.read_text(encoding="utf-8") for path in (shared / "paper").glob("001*.txt")).split())
    assert [name for name, claim in paper.paper_data()["claims"].items() if claim["quote"] not in text] == []


def test_not_available_by_design_is_missing():
    table = paper.paper_table(2)
    missing = table.isna()[[f"{task} Score" for task in audit.FIVE]].stack()
    assert {(key[1], key[2].split()[0]) for key in missing[missing].index} == {
        ("Bonito", "CEVAL"), ("Bonito", "Translation"), ("Bonito", "EssayQA"), ("DeepSeek-V3 w/ Self-Instruct", "SquadQA")}


def test_unknown_names_are_one_sentence():
    with pytest.raises(UserError, match="no Table 9; choose one of 1, 2"):
        paper.paper_table(9)
    with pytest.raises(UserError, match="gpu hours"):
        paper.paper_claim("price")


@pytest.mark.parametrize("printed, recomputed, verdict", [
    ("46.18", 46.1833, True), ("46.18", 46.1899, True), ("46.18", 46.195, False), ("362k", 362.0, True), ("362k", 363.0, False), ("5.23%", 5.027, False), ("0", 0.0, True)])
def test_agreement_is_one_unit_of_the_last_digit(printed, recomputed, verdict):
    assert audit.agrees(printed, recomputed) is verdict


def test_the_known_inconsistencies_and_no_others():
    table = audit.audit()
    assert [(row.printed, row.recomputed) for row in table[~table["agrees"]].itertuples()] == [
        ("51.47", "51.074"), ("5.23%", "5.027"), ("DeepSeek-V3 w/ SI+UD", "AQuilt"), ("21.93", "23.22"), ("23.22", "21.93"),
        ("less than 17%", "17.3%"), ("100%", "80.00%"), ("nearly half", "27.60%"), ("33", "32"), ("consistent", "6 of 10")]


def test_a_changed_cell_is_found(monkeypatch):
    rows = [list(row) for row in paper.paper_data()["tables"]["1"]["rows"]]
    rows[0][1] = "17k"
    monkeypatch.setitem(paper.paper_data()["tables"]["1"], "rows", rows)
    assert [row["agrees"] for row in audit.audit_totals()][:2] == [False, True]
