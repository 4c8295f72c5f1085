"""Showing records: what a file holds, the terminal, and the page, which no text can break."""
import json
import re

import pytest

from aquilt.foundations.core import Drop, Record, UserError, write_drops, write_records
from aquilt.own.show import in_terminal, matching, page_row, script_json, show_file, shown_of

NASTY = "</script><script>alert(1)</script> <img src=x onerror=alert(1)> & \u2028 ]]> {{ 7 * 7 }} {% raw %}"
R = Record(text="The city ZoDiTe stands on the river LaMi.", task="closed_book_qa", question="On which river?", answer="LaMi", score=4, source="a.txt", span=(0, 40))


@pytest.fixture
def mine(tmp_path):
    write_records(tmp_path / "mine.jsonl", [R, R.with_(question=NASTY, source=NASTY)])
    write_drops(tmp_path / "mine.jsonl.dropped.jsonl", [Drop(stage="s", reason="score 1", record=R), Drop(stage="s", reason=NASTY, raw=NASTY)])
    return tmp_path / "mine.jsonl"


def data_of(page): return json.loads(re.search(r'<script type="application/json" id="rows">(.*?)</script>', page, re.S)[1])


def test_records_their_ledger_and_a_ledger_alone(mine):
    assert [s.dropped for s in shown_of(mine)] == ["", "", "score 1", NASTY]
    assert [s.dropped for s in shown_of(mine.with_name("mine.jsonl.dropped.jsonl"))] == ["score 1", NASTY]
    mine.rename(mine.with_name("records.jsonl"))
    mine.with_name("mine.jsonl.dropped.jsonl").rename(mine.with_name("dropped.jsonl"))
    assert len(shown_of(mine.parent)) == 4, "a stage's folder"
    write_records(mine.with_name("records.jsonl"), [])
    assert [s.dropped for s in shown_of(mine.parent)] == ["score 1", NASTY], "where nothing was kept, the ledger says why"


def test_passages_that_nobody_has_asked_about(tmp_path):
    write_records(tmp_path / "p.jsonl", [Record(text="The Veth is a river.")])
    assert "u, unlabeled text  The Veth is a river." in show_file(tmp_path / "p.jsonl")


def test_foreign_records_and_what_was_said_before(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps([{"conversations": [{"from": w, "value": t} for w, t in (("human", "Hi"), ("gpt", "Hello"), ("human", "Who?"), ("gpt", "A man."))]}, {"x": 1}]))
    text = show_file(tmp_path / "c.json")
    assert "user: Hi\nassistant: Hello" in text and "1 records, 1 dropped" in text and "no question" in text
    assert show_file(tmp_path / "c.json", rows=0).count("Who?") == 0


def test_the_terminal_is_told_nothing_by_a_text(tmp_path):
    write_records(tmp_path / "r.jsonl", [R.with_(answer="\x1b[2Jx\x07\u202ey")])
    text = show_file(tmp_path / "r.jsonl")
    assert not set("\x1b\x07\u202e") & set(text) and "\ufffd[2Jx" in text


def test_search_and_reason(mine):
    shown = shown_of(mine)
    assert len(matching(shown, "ALERT")) == 2 and len(matching(shown, reason="")) == 2 and len(matching(shown, "zodite", "SCORE")) == 1
    assert "characters 0 to 40" in in_terminal(shown, search="which")
    with pytest.raises(UserError, match="None of 4 rows"): in_terminal(shown, search="no such words")


def test_no_text_can_break_the_page(mine):
    assert "\u2028" not in show_file(mine, mine.with_name("p.html"))
    page = mine.with_name("p.html").read_text(encoding="utf-8")
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "<img" not in page and "://" not in page
    rows = data_of(page)
    assert dict(rows[1]["patches"])["q, question"] == NASTY and rows[3]["reason"] == NASTY and "{{ 7 * 7 }}" in json.dumps(rows)
    assert "default-src 'none'" in page and "".join(piece for piece, _ in rows[0]["text"]) == R.text
    assert script_json("</script>&\u2029") == '"\\u003c/script\\u003e\\u0026\\u2029"'


def test_some_thousand_records_are_one_quick_page(tmp_path):
    write_records(tmp_path / "r.jsonl", [R.with_(question=f"Which river is number {i}?") for i in range(3000)])
    show_file(tmp_path / "r.jsonl", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert len(data_of(page)) == 3000 and len(page) < 3_000_000


def test_a_row_knows_where_it_is_from():
    row = page_row(shown := shown_of_record(R))
    assert row["from"] == "a.txt, characters 0 to 40" and row["state"] == "kept" and row["score"] == "4" and shown.before == ""


def shown_of_record(record):
    from aquilt.own.show import Shown
    return Shown(record)


@pytest.mark.parametrize("out", ["p.htm", "p", "p.jsonl"])
def test_a_page_needs_its_ending(mine, out):
    with pytest.raises(UserError, match=".html"): show_file(mine, mine.with_name(out))
