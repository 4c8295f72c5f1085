"""Passages from a user's files and from the world's sources, the ledger of the unusable, and which passages meet which task."""
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aquilt import runs
from aquilt.core import LANGS, TASKS, Record, UserError
from aquilt.corpus import associate, clean, corpus, draw_source, labeled, read_passages, sources
from aquilt.profiles import PAPER, SMOKE
from aquilt.runs import Run
from aquilt.teacher import language_of, right_answer
from aquilt.world import grammar

TINY = replace(SMOKE, passages_per_source=2, pairs_per_task=3, labeled_pairs=3)
WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
fewer = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "environment", dict)
    return Run(TINY, tmp_path / "run")


def refusal(path, lang="en"):
    with pytest.raises(UserError) as caught: read_passages(path, lang)
    message = str(caught.value)
    assert "\n" not in message and (lang not in LANGS or str(path) in message)
    return message


# ---- a user's files

@given(st.lists(WORDS | st.sampled_from(["", " ", "\n", "\n\n", "\t\n", "城市", "a"]), max_size=12), st.sampled_from(["\n\n", "\n", "\n\n\n", " \n\n ", "\r\n\r\n"]))
@fewer
def test_a_span_is_where_the_passage_stands(tmp_path, parts, gap):
    path = tmp_path / "notes.txt"
    path.write_bytes(gap.join(parts).encode())
    whole, passages = path.read_text(encoding="utf-8"), read_passages(path, "en")
    assert [whole[slice(*p.span)] for p in passages] == [p.text for p in passages]
    assert all(a.span[1] <= b.span[0] for a, b in zip(passages, passages[1:]))
    assert "".join("".join(p.text for p in passages).split()) == "".join(whole.split())  # nothing but white space is lost
    assert all(p.text == p.text.strip() != "" and "\n\n" not in p.text for p in passages)


def test_paragraphs_of_a_text_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("\n\n  One\nline.\n\n\n\nTwo.\n\nTwo.  \n", encoding="utf-8")
    passages = read_passages(str(path), "zh")
    assert [(p.text, p.span) for p in passages] == [("One\nline.", (4, 13)), ("Two.", (17, 21)), ("Two.", (23, 27))]
    assert {(p.lang, p.source, p.document, p.task) for p in passages} == {("zh", "notes.txt", "notes.txt", "")}


@given(st.lists(WORDS, max_size=6))
@fewer
def test_lines_of_a_jsonl_file(tmp_path, texts):
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps({"text": t, "id": i}) + "\n\n" for i, t in enumerate(texts)), encoding="utf-8")
    passages = read_passages(path, "en")
    assert [p.text for p in passages] == texts and [p.text[slice(*p.span)] for p in passages] == texts
    assert [p.document for p in passages] == [f"line {2 * i + 1}" for i in range(len(texts))]


@pytest.mark.parametrize("name", ["empty.txt", "empty.jsonl"])
def test_an_empty_file_has_no_passages(tmp_path, name):
    (tmp_path / name).write_text(" \n\n \n")
    assert read_passages(tmp_path / name, "en") == []


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"\xff\xfeh\x00i\x00", "café".encode("latin-1")])
def test_a_binary_file_named_txt_is_refused(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    assert "UTF-8" in refusal(tmp_path / "a.txt")


@pytest.mark.parametrize("line", ['{"txt": "a"}', '{"text": 5}', '{"text": null}', '{"text": ["a"]}', "[]", '"text"', "5", "null"])
def test_a_line_without_text_is_named(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n' + line + "\n")
    message = refusal(tmp_path / "a.jsonl")
    assert "line 3" in message and "text" in message


@pytest.mark.parametrize("name", ["a.pdf", "a.csv", "a", "a.parquet", "a.json"])
def test_an_unknown_suffix_is_refused(tmp_path, name):
    (tmp_path / name).write_text("text")
    assert ".txt nor .jsonl" in refusal(tmp_path / name)


@pytest.mark.parametrize("lang", ["", "de", "EN", "english"])
def test_an_unknown_language_is_refused(tmp_path, lang):
    (tmp_path / "a.txt").write_text("text")
    assert "en, zh" in refusal(tmp_path / "a.txt", lang)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_missing_file_is_refused(tmp_path, name):
    assert "does not exist" in refusal(tmp_path / name)


def test_damaged_lines_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"\n')
    assert "line 2" in refusal(tmp_path / "a.jsonl")


def test_a_folder_named_txt_is_refused(tmp_path):
    (tmp_path / "a.txt").mkdir()
    refusal(tmp_path / "a.txt")


def test_a_folder_named_jsonl_is_refused(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    refusal(tmp_path / "a.jsonl")


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\n\nTwo.")
    assert [p.text for p in read_passages(tmp_path / "a.txt", "en")] == ["One.", "Two."]


# ---- the ledger

def test_empty_and_repeated_passages_go_to_the_ledger():
    texts = ["a", " ", "b", "a", "", " ", "a", "a "]
    kept, drops = clean([Record(text=t, document=str(i)) for i, t in enumerate(texts)], "corpus")
    assert [(r.document, r.text) for r in kept] == [("0", "a"), ("2", "b"), ("7", "a ")]
    assert [(d.record.document, d.reason, d.raw, d.stage) for d in drops] == [("1", "empty", " ", "corpus"), ("3", "repeated", "a", "corpus"), ("4", "empty", "", "corpus"),
                                                                             ("5", "empty", " ", "corpus"), ("6", "repeated", "a", "corpus")]
    assert clean([], "corpus") == ([], []) and clean(kept, "corpus") == (kept, [])


@given(st.lists(st.sampled_from(["a", "b", "", " ", "\n", "ab"]), max_size=12))
@settings(deadline=None)
def test_cleaning_loses_nothing_in_silence(texts):
    records = [Record(text=t, document=str(i)) for i, t in enumerate(texts)]
    kept, drops = clean(records, "s")
    assert sorted([*kept, *(d.record for d in drops)], key=lambda r: int(r.document)) == records
    assert sorted(r.text for r in kept) == sorted({t for t in texts if t.strip()})


# ---- the sources

def test_appendix_a_has_33_sources():
    assert len(sources()) == len({s["name"] for s in sources()}) == 33 and Counter(s["lang"] for s in sources()) == {"zh": 13, "en": 20}
    assert all(s["domain"] in grammar()["domains"] and set(s["kinds"]) <= set(grammar()["kinds"]) and s["labeled"] in ("", *TASKS) for s in sources())


@pytest.mark.parametrize("source", sources(), ids=lambda s: s["name"])
def test_a_source_gives_its_passages(source):
    records = draw_source(source, 3, seed=1)
    assert records == draw_source(source, 3, seed=1) and records[:2] == draw_source(source, 2, seed=1) and records[0].text != draw_source(source, 1, seed=2)[0].text
    assert [r.document for r in records] == [f"{source['name']}/{i}" for i in range(3)] and draw_source(source, 0, seed=1) == []
    assert all(r.text[slice(*r.span)] == r.text and r.lang == source["lang"] == language_of(r.text) and (r.source, r.task) == (source["name"], "") for r in records)


def test_the_corpus_stage_counts_every_source(run):
    result = corpus(run)
    assert result["counts"]["entered"] == 66 == result["counts"]["kept"] + result["counts"]["dropped"] and result["per_source"] == {s["name"]: 2 for s in sources()}
    assert len(run.records("corpus")) == result["counts"]["kept"] and len(run.drops("corpus")) == result["counts"]["dropped"]


def test_another_seed_is_another_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "environment", dict)
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        corpus(Run(TINY, tmp_path / name), seed)
        drawn.append((tmp_path / name / "corpus/records.jsonl").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_profile_without_a_world_is_one_clear_sentence(tmp_path):
    with pytest.raises(UserError, match="Profile paper .*use profile mini"): corpus(Run(PAPER, tmp_path))


# ---- labeled pairs

def test_labeled_pairs_are_capped_per_task_and_language(run):
    corpus(run)
    counts = labeled(run)["counts"]
    records = run.records("labeled")
    given = {(s["labeled"], s["lang"]) for s in sources() if s["labeled"]}
    assert Counter((r.task, r.lang) for r in records) == {pair: 3 for pair in given} and counts["kept"] == 3 * len(given) == 15
    by_source = {s["name"]: s["labeled"] for s in sources()}
    assert all(r.task == by_source[r.source] and r.logic == "" and right_answer(r.task, r.text, r.question, r.answer, r.lang) for r in records)


@pytest.mark.parametrize("cap", [0, 1, 10_000])
def test_other_caps_on_labeled_pairs(tmp_path, monkeypatch, cap):
    monkeypatch.setattr(runs, "environment", dict)
    run = Run(replace(TINY, labeled_pairs=cap), tmp_path / "run")
    corpus(run)
    labeled(run)
    counts = Counter((r.task, r.lang) for r in run.records("labeled"))
    eightfold = Counter((s["labeled"], s["lang"]) for s in sources() for _ in range(16) if s["labeled"])
    assert counts == {pair: min(cap, most) for pair, most in eightfold.items() if min(cap, most)}


# ---- passages meet tasks

POOL = [Record(text=f"{lang} {i}", lang=lang, document=f"{lang}/{i}") for lang in LANGS for i in range(20)]
MET = [t for t in TASKS if t != "extractive_qa"]


@pytest.mark.parametrize("n", [0, 1, 7, 20, 33])
def test_every_task_meets_as_many_passages_of_each_language(n):
    records = associate(POOL, n, seed=0)
    assert Counter((r.task, r.lang) for r in records) == {(t, lang): n for t in MET for lang in LANGS if n}
    assert {r.with_(task="") for r in records} <= set(POOL)


def test_passages_repeat_only_where_there_are_too_few():
    for n, distinct in ((20, {20}), (7, {7}), (33, set(range(1, 21)))):
        drawn = Counter((r.task, r.lang) for r in set(associate(POOL, n, seed=0)))
        assert set(drawn.values()) <= distinct, n


def test_association_follows_from_the_seed():
    assert associate(POOL, 5, 0) == associate(POOL, 5, 0) != associate(POOL, 5, 1)
    drawn = [tuple(r.document for r in associate(POOL, 5, 0) if r.task == t and r.lang == "en") for t in MET]
    assert len(set(drawn)) == len(MET)  # each task has passages of its own


def test_one_language_alone_and_none():
    english = [r for r in POOL if r.lang == "en"]
    assert associate(english, 5, 0) == [r for r in associate(POOL, 5, 0) if r.lang == "en"] and associate([], 5, 0) == []
