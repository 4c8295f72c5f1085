"""Passages from a user's files and from the world's sources, the ledger of the unusable, and which passages meet which task."""
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.foundations.core import LANGS, TASKS, Record, UserError
from aquilt.corpus import associate, corpus, labeled
from aquilt.miniature.scene import MINIATURE, draw_source
from aquilt.reading import origins, scenes
from aquilt.reading.origins import cut_and_clean, from_each, in_turn, native_folder
from aquilt.reading.scenes import REAL_RULES
from aquilt.foundations.profiles import SINGLE_GPU, SMOKE
from aquilt.foundations.runs import Run
from aquilt.reading.sources import find_source, list_sources
from aquilt.miniature.scoring import right_answer
from aquilt.miniature.teacher import language_of
from aquilt.miniature.world import grammar
from stages import done

RULES = MINIATURE.rules
TINY = replace(SMOKE, passages_per_source=2, pairs_per_task=3, labeled_pairs=3)
UNLABELED, LABELED = list_sources("unlabeled"), list_sources("labeled")


@pytest.fixture
def run(tmp_path):
    return Run(TINY, tmp_path / "run")


# ---- the ledger

def documents(*texts, lang="en"):
    return [Record(text=t, lang=lang, source="s", document=str(i)) for i, t in enumerate(texts)]


def test_empty_and_repeated_passages_go_to_the_ledger():
    kept, drops = cut_and_clean(documents("a", " ", "b", "a", "", "a "), TINY, RULES, "corpus")
    assert [(r.document, r.text) for r in kept] == [("0", "a"), ("2", "b")]
    assert [(d.record.document, d.reason, d.stage) for d in drops] == [("1", "empty", "corpus"), ("3", "repeated", "corpus"), ("4", "empty", "corpus"), ("5", "repeated", "corpus")]
    assert cut_and_clean([], TINY, RULES, "corpus") == ([], [])


@given(st.lists(st.sampled_from(["a", "b", "", " ", "\n", "ab", "One. Two."]), max_size=12))
@settings(deadline=None)
def test_cleaning_loses_nothing_in_silence(texts):
    records = documents(*texts)
    kept, drops = cut_and_clean(records, TINY, RULES, "s")
    assert sorted(r.document for r in [*kept, *(d.record for d in drops)]) == sorted(r.document for r in records)
    assert sorted(r.text for r in kept) == sorted({t for t in texts if t.strip()})


def test_a_long_document_is_cut_and_keeps_its_spans():
    text = " ".join(f"In {1900 + i} the mill on the river was sold once more." for i in range(60))
    kept, drops = cut_and_clean(documents("  " + text), TINY, RULES, "corpus")
    assert len(kept) > 3 and not drops and all(("  " + text)[slice(*r.span)] == r.text and r.text[-1] == "." and (r.source, r.document) == ("s", "0") for r in kept)
    assert " ".join(r.text for r in kept) == text


def test_real_text_is_cleaned_by_every_rule():
    mill = "The mill stands on the river since 1874, says the old book, and nobody in the town remembers a year in which it did not grind the corn of the valley"
    texts = [mill + ".", mill + "!", "磨坊建在河边，至今已有一百多年的历史。", "Hm.",
             "Die alte Mühle steht seit mehr als hundert Jahren unten am Fluss."]
    kept, drops = cut_and_clean(documents(*texts), TINY, REAL_RULES, "corpus")
    assert [(r.document, r.lang) for r in kept] == [("0", "en"), ("2", "zh")]
    assert {d.record.document: d.reason for d in drops} == {"1": "nearly repeated", "3": "too short", "4": "language de"} and drops[0].raw == "like s 0 (0, 149)"


# ---- the sources

def test_the_world_has_kinds_for_every_source():
    assert set(grammar()["sources"]) == {s.name for s in UNLABELED}
    assert all(s.domain in grammar()["domains"] and set(grammar()["sources"][s.name]) <= set(grammar()["kinds"]) for s in UNLABELED)


@pytest.mark.parametrize("source", UNLABELED, ids=lambda s: s.name)
def test_a_source_gives_its_passages(source):
    records = draw_source(source, 3, seed=1)
    assert records == draw_source(source, 3, seed=1) and records[:2] == draw_source(source, 2, seed=1) and records[0].text != draw_source(source, 1, seed=2)[0].text
    assert [r.document for r in records] == [f"{source.name}/{i}" for i in range(3)] and draw_source(source, 0, seed=1) == []
    assert all(r.text[slice(*r.span)] == r.text and r.lang == source.lang == language_of(r.text) and (r.source, r.task) == (source.name, "") for r in records)


def test_the_corpus_stage_counts_every_source(run):
    result = done(run, corpus(run))
    assert result["counts"]["entered"] == 66 == result["counts"]["kept"] + result["counts"]["dropped"] and result["per_source"] == {s.name: 2 for s in UNLABELED} and result["missing"] == {}
    assert len(run.records("corpus")) == result["counts"]["kept"] and len(run.drops("corpus")) == result["counts"]["dropped"]


def test_another_seed_is_another_corpus(tmp_path):
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done(Run(TINY, tmp_path / name), corpus(Run(TINY, tmp_path / name), seed))
        drawn.append((tmp_path / name / "corpus/records.jsonl").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


# ---- real sources

REAL = replace(SINGLE_GPU, student="qwen2", passages_per_source=40, labeled_pairs=30)
SQUAD = {"data": [{"title": "Mill", "paragraphs": [{"context": f"In {1700 + i} the mill number {i} was built on the river {'abcdefghij'[i % 10] * 4}, says page {i * 7} of the book.",
                                                    "qas": [{"id": f"{i}{q}", "question": f"{q} was built in {1700 + i}?", "answers": [{"text": "the mill", "answer_start": 8}]} for q in ("What", "Which")]}
                                                   for i in range(60)]}]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AQUILT_SOURCES", str(tmp_path / "sources"))
    (tmp_path / "sources/Squad").mkdir(parents=True)
    (tmp_path / "sources/Squad/train-v1.1.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    return tmp_path


def only(monkeypatch, *names):
    chosen = [find_source(n) for n in names]
    for module in (origins, scenes): monkeypatch.setattr(module, "list_sources", lambda role="", lang="": [s for s in chosen if role in s.roles and lang in ("", s.lang)])


def test_a_source_on_disk_is_sampled_cleaned_and_paired(folder, monkeypatch):
    only(monkeypatch, "Squad")
    run = Run(REAL, folder / "run")
    result = done(run, corpus(run))
    records = run.records("corpus")
    assert result["counts"]["entered"] == 40 == len(records) + len(run.drops("corpus")) and result["per_source"] == {"Squad": len(records)}
    assert result["missing"] == {} and result["origins"] == {"Squad": str(folder / "sources/Squad")}
    assert {(r.source, r.task, r.question, r.answer, r.lang) for r in records} == {("Squad", "", "", "", "en")} and all(d.reason == "nearly repeated" for d in run.drops("corpus"))
    assert done(run, labeled(run))["counts"]["kept"] == 30 and {(r.task, r.answer, r.logic) for r in run.records("labeled")} == {("extractive_qa", "the mill", "")}


def test_a_source_that_was_read_is_not_read_again(folder, monkeypatch):
    only(monkeypatch, "Squad", "HaihuaAI")
    with pytest.raises(UserError, match=r"1 of 2 sources cannot be read \(HaihuaAI\); the first: HaihuaAI is not on the hub.*--partial"): done(Run(REAL, folder / "run"), corpus(Run(REAL, folder / "run")))
    file = folder / "sources/Squad/train-v1.1.json"
    size = file.stat().st_size
    file.write_text("x" * size)  # the same name and size: what was read stands
    monkeypatch.setenv("AQUILT_PARTIAL", "1")
    result = done(Run(REAL, folder / "run"), corpus(Run(REAL, folder / "run")))
    assert list(result["per_source"]) == ["Squad"] and list(result["missing"]) == ["HaihuaAI"] and "biendata" in result["missing"]["HaihuaAI"]
    file.write_text("x")
    with pytest.raises(UserError, match="2 of 2 sources cannot be read"): done(Run(REAL, folder / "run"), corpus(Run(REAL, folder / "run")))


def test_without_any_source_a_partial_run_stops_too(folder, monkeypatch):
    monkeypatch.setenv("AQUILT_PARTIAL", "1")
    with pytest.raises(UserError, match="1 of 1 sources cannot be read"): from_each([find_source("CMQG")], 5, 0, folder / "cache")


def test_without_files_the_hub_is_asked(folder):
    with pytest.raises(UserError, match="hub cannot be reached for Quoref"): from_each([find_source("Quoref")], 5, 0, folder / "cache")
    assert not list(folder.glob("cache/*")) and native_folder(find_source("Quoref")) is None and native_folder(find_source("Squad")) == folder / "sources/Squad"


def test_a_folder_of_sources_that_does_not_exist_is_named(folder, monkeypatch):
    monkeypatch.setenv("AQUILT_SOURCES", str(folder / "none"))
    with pytest.raises(UserError, match="none does not exist as a folder: give --sources"): native_folder(find_source("Squad"))


def test_more_files_are_another_corpus(folder, monkeypatch):
    only(monkeypatch, "Squad", "Quoref")
    monkeypatch.setenv("AQUILT_PARTIAL", "1")
    first = done(Run(REAL, folder / "run"), corpus(Run(REAL, folder / "run")))
    (folder / "sources/Quoref").mkdir()
    (folder / "sources/Quoref/quoref-train-v0.1.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    second = done(Run(REAL, folder / "run"), corpus(Run(REAL, folder / "run")))
    assert first["hash"] != second["hash"] and not second["missing"]
    assert second["counts"]["reasons"]["repeated"] > 0, "the same passage stands in two sources"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(0, 40))
@settings(deadline=None)
def test_sources_take_turns(sizes, n):
    of_sources = [(find_source("Squad"), [Record(source=str(i), document=str(k)) for k in range(size)], []) for i, size in enumerate(sizes)]
    taken, drops = in_turn(of_sources, n)
    counts = Counter(r.source for r in taken)
    assert len(taken) == min(n, sum(sizes)) == len(set(taken)) and not drops
    least = min((counts[str(i)] for i, size in enumerate(sizes) if counts[str(i)] < size), default=None)
    assert least is None or max(counts.values(), default=0) <= least + 1, "none is ahead by more than a turn of one that has more to give"


# ---- labeled pairs

def test_labeled_pairs_are_capped_per_task_and_language(run):
    done(run, corpus(run))
    counts = done(run, labeled(run))["counts"]
    records = run.records("labeled")
    given = {(s.task, s.lang) for s in LABELED}
    assert Counter((r.task, r.lang) for r in records) == {pair: 3 for pair in given} and counts["kept"] == 3 * len(given) == 15
    by_source = {s.name: s.task for s in LABELED}
    assert all(r.task == by_source[r.source] and r.logic == "" and right_answer(r.task, r.text, r.question, r.answer, r.lang) for r in records)


@pytest.mark.parametrize("cap", [0, 1, 10_000])
def test_other_caps_on_labeled_pairs(tmp_path, cap):
    run = Run(replace(TINY, labeled_pairs=cap), tmp_path / "run")
    done(run, corpus(run))
    done(run, labeled(run))
    counts = Counter((r.task, r.lang) for r in run.records("labeled"))
    eightfold = Counter((s.task, s.lang) for s in LABELED for _ in range(16))
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
