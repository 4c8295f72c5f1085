"The registry and its sentences, rows to records, passages and pairs, the hub, and every real file with the counts of its index."
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.reading import sources as module
from aquilt.foundations.core import TASKS, Record, UserError
from aquilt.reading.readers import READERS, read_json, read_rows, table
from aquilt.foundations.runs import Run
from stages import done
from aquilt.reading.sources import (FORMS, PAIR_TASKS, Source, passage_alone, find_source, hub_rows, list_sources, load_registry, open_source, pairs, pin, read_source, registry, sample,
                            source_files)
from aquilt.miniature.world import grammar

ROOT = Path(__file__).resolve().parent.parent
PLAIN = {"name": "mine", "lang": "en", "domain": "news", "roles": ["unlabeled"], "licence": "mine", "get": "ask me", "reader": "lines", "files": ["*.jsonl"], "text": ["text"]}
ASKING = PLAIN | {"roles": ["unlabeled", "labeled"], "task": "extractive_qa", "question": ["question"], "answer": "answers"}


def source(**fields):
    return Source(**ASKING | fields)


def one(row, **fields):
    "The only record of the row."
    (record,) = read_source(source(**fields), [row])
    return record


def refusal(call, *args):
    with pytest.raises(UserError) as caught:
        result = call(*args)
        list(result if not isinstance(result, Source) else ())
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- the registry

def test_the_sources_of_appendix_a():
    assert len(list_sources("unlabeled")) == 33 and len(list_sources("labeled")) == 22
    assert Counter(s.lang for s in list_sources("unlabeled")) == {"zh": 13, "en": 20} and Counter(s.lang for s in list_sources("labeled")) == {"zh": 12, "en": 10}
    assert all("unlabeled" in s.roles for s in list_sources("labeled"))
    assert {s.task for s in list_sources("labeled")} == set(PAIR_TASKS)
    assert [s.name for s in list_sources("labeled") if s.task == "natural_language_inference"] == ["ANLI"]
    assert {s.name for s in list_sources("labeled") if s.task == "single_choice"} == {"C3", "HaihuaAI"}
    assert [s.name for s in list_sources("labeled") if s.task == "text_summarization"] == ["LCSTS"]


def test_they_join_with_those_of_the_world():
    assert [s.name for s in list_sources("unlabeled")] == list(grammar()["sources"])


def test_every_row_says_how_it_is_had_and_under_which_licence():
    for s in registry().values():
        assert s.licence and s.get and s.quirks and s.reader in READERS, s.name
        assert all(isinstance(n, int) and n > 0 for n in s.rows.values())
    assert {s.name for s in registry().values() if not s.official} == {"ChineseSquad", "DRCD", "WebQA", "NLPCC", "Dureader", "LCSTS"}


def test_loading_scripts_are_never_trusted():
    scripted = {"textmachinelab/quail", "allenai/cosmos_qa", "dataset-org/dream", "allenai/quoref", "luozhouyang/dureader", "allenai/social_i_qa"}
    assert {s.hub for s in registry().values() if s.revision == "refs/convert/parquet"} >= scripted
    assert "trust_remote_code" not in Path(module.__file__).read_text()


def test_listing_and_looking_up():
    assert find_source("squad") is registry()["Squad"] and [s.name for s in list_sources("labeled", "en")][:2] == ["AdversarialDbidaf", "AdversarialDroberta"]
    assert list_sources("labeled", "de") == [] and len(list_sources()) == len(registry())
    assert "choose one of CMRC2018, " in refusal(find_source, "Squad 3")


@pytest.mark.parametrize("change, said", [
    ({"lang": "de"}, "field lang"), ({"task": "translation"}, "field task"), ({"reader": "xml"}, "field reader"), ({"roles": []}, "field roles"), ({"roles": ["test"]}, "field roles"),
    ({"files": []}, "field files"), ({"licence": ""}, "field licence"), ({"hub": "squad", "revision": "main"}, "field hub"), ({"colour": "red"}, "field colour"), ({"rows": {"train": "many"}}, "field rows.train"),
    ({"get": ""}, "under `get`"), ({"hub": "a/b", "splits": ["train"]}, "a branch or a commit"), ({"hub": "a/b", "revision": "main"}, "at least one"), ({"text": []}, "fields that hold them"),
    ({"task": ""}, "names that of its pairs"), ({"answer": ""}, "a source with a task"), ({"question": []}, "all tasks but text_summarization"),
    ({"task": "single_choice"}, "single_choice names"), ({"task": "single_choice", "options": ["o"]}, "single_choice names"), ({"answers": "letter"}, "single_choice names"),
    ({"answers": "label"}, "need their translation"), ({"labels": {"e": "yes"}}, "need their translation")])
def test_a_wrong_row_is_a_sentence(tmp_path, change, said):
    fields = {k: v for k, v in (ASKING | change).items() if k != "name"}
    path = tmp_path / "rows.toml"
    written = "\n".join(f"{k} = " + ("{ " + ", ".join(f"{a} = {json.dumps(b)}" for a, b in v.items()) + " }" if isinstance(v, dict) else json.dumps(v)) for k, v in fields.items())
    path.write_text(f"[mine]\n{written}\n")
    message = refusal(load_registry, path)
    assert said in message and f"{path}, source mine, field " in message


def test_a_registry_of_ones_own(tmp_path):
    path = tmp_path / "rows.toml"
    path.write_text('[mine]\nlang = "zh"\ndomain = "news"\nroles = ["unlabeled"]\nlicence = "x"\nget = "x"\nreader = "table"\nfiles = ["*.csv"]\ntext = ["body"]\n')
    (tmp_path / "a.csv").write_text("body\n一\n二\n", encoding="utf-8")
    assert [(r.text, r.lang, r.source, r.task) for r in read_source(load_registry(path)["mine"], tmp_path)] == [("一", "zh", "mine", ""), ("二", "zh", "mine", "")]


@pytest.mark.parametrize("content, said", [("[mine", "TOML"), ("[a]\n[a]\n", "TOML"), ("a = 5\n", "source a")])
def test_a_file_that_is_no_registry(tmp_path, content, said):
    (tmp_path / "rows.toml").write_text(content)
    assert said in refusal(load_registry, tmp_path / "rows.toml")
    assert "none.toml" in refusal(load_registry, tmp_path / "none.toml")


# ---- a row becomes a record

def test_a_record_has_passage_question_answer_and_no_logic():
    r = one({"text": " Jones is a smith. ", "question": " Who? ", "answers": {"text": ["Jones"], "answer_start": [1]}})
    assert (r.text, r.question, r.answer, r.task, r.lang, r.source, r.logic) == (" Jones is a smith. ", " Who? ", "Jones", "extractive_qa", "en", "mine", "")
    assert r.span == (0, len(r.text)) and r.document == one({"text": r.text, "question": "Why?"}).document != one({"text": "x"}).document


@pytest.mark.parametrize("given, wanted", [
    ("Jones", "Jones"), (["Jones", "Smith"], "Jones"), (["Mr Jones", "Jones"], "Jones"), ([39648.0, 39648.0], "39648.0"), (7, "7"), (True, "True"), (["", "  "], ""), ([], ""), (None, ""),
    ([{"text": "Jones", "answer_start": 0}], "Jones"), ({"text": [], "answer_start": []}, ""), ({"text": "Jones", "span": [0, 5]}, "Jones"),
    ([{"text": "", "answer_start": -1}] * 3, ""), (["", "", "Jones"], ""), (["", "Jones", "Jones"], "Jones"), (["", "Jones"], "Jones"), (["YES", "YES", ""], "YES")])
def test_answers_of_every_shape(given, wanted):
    assert one({"text": "Jones is a smith.", "question": "Who?", "answers": given}).answer == wanted


def test_parts_of_one_answer_stay_together():
    given = {"text": ["Jones", "Smith", "Jones"], "answer_start": [0, 6, 0]}
    assert one({"text": "Jones Smith", "question": "Who?", "answers": given}, all_answers=True).answer == "Jones, Smith"
    assert one({"text": "Jones Smith", "question": "谁？", "answers": given}, all_answers=True, lang="zh").answer == "Jones、Smith"


CHOICE = {"task": "single_choice", "options": ["options"], "answer": "answer"}


@pytest.mark.parametrize("answers, given, wanted", [
    ("letter", "B", "B"), ("letter", " B ", "B"), ("letter", "", ""), ("letter", None, ""), ("letter", "Z", "Z"), ("index", 1, "B"), ("index", "0", "A"), ("index", -1, ""), ("index", "", ""), ("index", 7, "7"),
    ("number", "1", "A"), ("number", 3, "C"), ("number", "0", ""), ("number", "4", "4"), ("option", "Coffee", "B"), ("option", " Milk ", "C"), ("option", "Water", "Water"), ("option", None, "")])
def test_answers_among_options_are_letters(answers, given, wanted):
    r = one({"text": "t", "question": "Drink?", "options": ["Tea", " Coffee", "Milk "], "answer": given}, answers=answers, **CHOICE)
    assert r.question == "Drink?\nA. Tea\nB. Coffee\nC. Milk" and r.answer == wanted
    kept, drops = pairs(source(answers=answers, **CHOICE), [r])
    assert bool(kept) == (wanted in "ABC" and wanted != "") and [d.reason for d in drops] == ([] if kept else ["answer is no option" if wanted else "no answer"])


@pytest.mark.parametrize("options", [["A. Tea", "B. Coffee"], ["A．Tea", "B．Coffee"], ["A、Tea", "B、Coffee"], {"text": ["Tea", "Coffee"], "label": ["A", "B"]}, [{"text": "Tea", "label": "A"}, {"text": "Coffee", "label": "B"}]])
def test_options_of_every_shape(options):
    assert one({"text": "t", "question": "Drink?", "options": options, "answer": "B"}, answers="letter", **CHOICE).question == "Drink?\nA. Tea\nB. Coffee"


@pytest.mark.parametrize("question", [" ", "", None])
def test_options_or_a_form_make_no_question(question):
    (r,) = read_source(find_source("C3"), [{"documents": ["t"], "question": question, "choice": ["茶", "咖啡"], "answer": "茶"}])
    assert not r.question.strip() and [d.reason for d in pairs(find_source("C3"), [r])[1]] == ["no question"]
    (r,) = read_source(find_source("ANLI"), [{"premise": "p", "hypothesis": question, "label": 0}])
    assert [d.reason for d in pairs(find_source("ANLI"), [r])[1]] == ["no question"]


def test_options_in_columns_may_be_fewer_or_numbers():
    row = {"text": "t", "question": "How many?", "A": "007", "B": 8, "C": "", "D": None, "answer": "B"}
    assert one(row, answers="letter", **CHOICE | {"options": ["A", "B", "C", "D"]}).question == "How many?\nA. 007\nB. 8"
    assert one(row | {"A": "A. one"}, answers="letter", **CHOICE | {"options": ["A", "B", "C", "D"]}).question == "How many?\nA. A. one\nB. 8"  # not all are marked


@pytest.mark.parametrize("label, wanted", [("e", "yes"), ("n", "maybe"), ("c", "no"), (0, "yes"), (1, "maybe"), (2, "no"), ("2", "no"), (-1, ""), ("", ""), (None, ""), ("x", "x")])
def test_labels_become_yes_maybe_no(label, wanted):
    anli = find_source("ANLI")
    (r,) = read_source(anli, [{"premise": "Jones is a smith.", "hypothesis": "Jones works.", "label": label}])
    assert (r.text, r.question, r.answer) == ("Jones is a smith.", "Is this statement true? Jones works.", wanted)
    assert [d.reason for d in pairs(anli, [r])[1]] == ([] if wanted in ("yes", "maybe", "no") else ["unknown label" if wanted else "no answer"])


def test_native_names_of_anli_give_the_same():
    rows = [{"premise": "p", "hypothesis": "h", "label": 2}, {"context": "p", "hypothesis": "h", "label": "c"}, {"context": "p", "statement": "h", "gold_label": "c"}]
    assert len(set(map(Record.model_dump_json, read_source(find_source("ANLI"), rows)))) == 1


def test_a_question_already_asked_keeps_its_words():
    (r,) = read_source(find_source("PubMedQA"), [{"pubid": 7, "question": "Does it {work}?", "context": {"contexts": ["One.", "Two."]}, "final_decision": "maybe"}])
    assert (r.text, r.question, r.answer, r.document) == ("One.Two.", "Does it {work}?", "maybe", "7")


def test_a_summary_is_asked_for_with_its_text():
    (r,) = read_source(find_source("LCSTS"), [{"text": "琼斯是{铁匠}。", "summary": "铁匠"}])
    assert (r.question, r.answer, r.task) == ("请概括：琼斯是{铁匠}。", "铁匠", "text_summarization")
    (r,) = read_source(find_source("LCSTS"), [{"text": "琼斯是铁匠。"}])
    assert (r.question, r.answer, r.task) == ("", "", "")


def test_the_forms_hold_no_word_that_the_filter_counts():
    from aquilt.filtering import protected_words, words
    for (task, lang), form in FORMS.items(): assert words(form.format(""), lang) <= protected_words(task, lang), (task, lang)


def test_several_texts_are_joined_and_missing_ones_passed_over():
    assert one({"a": "One.", "b": ["Two.", "Three."]}, text=["a", "b", "c"], join=" ").text == "One. Two. Three."
    assert one({"a": None, "b": "", "d": {"e": "Deep."}}, text=["a|b", "d.e"]).text == "Deep."
    assert one({"context": "x", "passage": "y"}, text=["passage|context"]).text == "y"


@pytest.mark.parametrize("several", [[{"question": "1?", "answers": "a"}, {"question": "2?", "answers": "b"}], {"question": ["1?", "2?"], "answers": ["a", "b"]}])
def test_several_questions_of_one_row(several):
    found = list(read_source(source(each="qa", document="id"), [{"id": 5, "text": "t", "qa": several}]))
    assert [(r.question, r.answer, r.document) for r in found] == [("1?", "a", "5"), ("2?", "b", "5")]
    assert [r.question for r in read_source(source(each="qa"), [{"text": "t", "qa": []}, {"text": "t", "question": "3?"}])] == ["", "3?"]


@pytest.mark.parametrize("row, said", [({"body": "x"}, "none of its fields text, question, answers is there"), ({"text": {"a": 1}}, "words are expected, not dict"), ({"text": "t", "answers": [b"x"]}, "not bytes"),
                                       ({}, "none of its fields"), ({"text": ""}, "none of its fields"), ("text", "row 2"), (5, "row 2")])
def test_a_row_of_another_dataset_is_named(row, said):
    message = refusal(read_source, source(), [{"text": "fine"}, row])
    assert said in message and "mine, row 2" in message


def test_ragged_questions_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "t", "qa": {"question": ["1?"], "answers": []}}) + "\n")
    assert f"{tmp_path / 'a.jsonl'}, row 1" in refusal(read_source, source(each="qa"), tmp_path)


WORD = st.text(max_size=8)


@given(st.lists(st.fixed_dictionaries({}, optional={"text": WORD, "question": WORD, "answers": st.none() | WORD | st.lists(WORD | st.floats() | st.integers(), max_size=4)}), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_rows_reconcile(rows):
    asked = source(spans=True)
    try: records = list(read_source(asked, rows))
    except UserError: return
    assert len(records) == len(rows)
    kept, drops = pairs(asked, records)
    assert len(kept) + len(drops) == len(records) and all(r.text.strip() and r.question.strip() and r.answer in r.text for r in kept)
    texts = sample(map(passage_alone, records), 100, 0)
    assert {r.text for r in texts} == {r.text for r in records} and len({r.text for r in texts}) == len(texts)


# ---- files and folders

def test_of_a_folder_the_files_for_training_are_read(tmp_path):
    for name in ("train-v1.1.json", "deep/train-v2.0.json", "dev-v1.1.json", "notes.txt"): (tmp_path / name).parent.mkdir(exist_ok=True); (tmp_path / name).write_text("{}")
    squad = find_source("Squad")
    assert [file.relative_to(tmp_path).as_posix() for file in source_files(squad, tmp_path)] == ["deep/train-v2.0.json", "train-v1.1.json"]
    assert source_files(squad, str(tmp_path / "dev-v1.1.json")) == [tmp_path / "dev-v1.1.json"]
    (tmp_path / "empty").mkdir()
    assert "holds no file of Squad (train*.json)" in refusal(source_files, squad, tmp_path / "empty")
    assert "does not exist" in refusal(source_files, squad, tmp_path / "none")


def test_parquet_files_in_a_folder_are_found(tmp_path):
    import pyarrow
    import pyarrow.parquet
    rows = [{"context": "Jones is a smith.", "question": "Who?", "answers": {"text": ["Jones"], "answer_start": [0]}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "0000.parquet")
    assert list(open_source("squad", tmp_path)) == list(open_source("Squad", rows)) and next(open_source("Squad", tmp_path)).answer == "Jones"


# ---- passages and pairs

def test_passages_come_once_and_bare():
    rows = [{"text": "a", "question": "1?", "answers": "a"}, {"text": "a", "question": "2?"}, {"question": "3?", "answers": "x"}, {"text": "b"}]
    found = sample(map(passage_alone, read_source(source(), rows)), 9, seed=0)
    assert sorted((r.text, r.task, r.question, r.answer) for r in found) == [("", "", "", ""), ("a", "", "", ""), ("b", "", "", "")]


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(0, 60), st.integers(0, 3), st.randoms())
@settings(deadline=None)
def test_a_sample_is_distinct_and_does_not_depend_on_order(numbers, n, seed, rng):
    records = [Record(text=str(i)) for i in numbers]
    found = sample(records, n, seed)
    assert len(found) == len(set(found)) == min(n, len(set(numbers))) and set(found) <= set(records)
    rng.shuffle(records)
    assert sample(iter(records * 2), n, seed) == found
    assert set(sample(records, max(0, n - 1), seed)) <= set(found), "a smaller sample is part of a larger one"


def test_a_sample_is_uniform():
    records = [Record(text=str(i)) for i in range(100)]
    drawn = Counter(r.text for seed in range(300) for r in sample(records, 20, seed))
    assert len(drawn) == 100 and 30 < min(drawn.values()) and max(drawn.values()) < 95  # 60 expected, standard deviation 7


def test_pairs_and_the_reasons_of_the_others():
    whole = {"text": "Jones is a smith.", "question": "Who?", "answers": ["Jones"]}
    rows = [whole, whole, whole | {"text": ""}, whole | {"question": " "}, whole | {"answers": []}, whole | {"answers": [39648.0]}, whole | {"answers": ["the smith"]}, {"text": "alone"}]
    reasons = ["repeated pair", "no passage", "no question", "no answer", "answer not in passage", "answer not in passage", "no question"]
    asked = source(spans=True)
    kept, drops = pairs(asked, read_source(asked, rows), "labeled")
    assert [r.answer for r in kept] == ["Jones"] and [d.reason for d in drops] == reasons and drops[4].raw == "39648.0" and all(d.record for d in drops)
    kept, drops = pairs(source(), read_source(source(), rows))  # where answers may be in the annotator's words
    assert [r.answer for r in kept] == ["Jones", "39648.0", "the smith"]


def test_parts_of_an_answer_are_sought_one_by_one():
    asked = source(spans=True, all_answers=True)
    row = {"text": "Jones met Smith, Ltd. there.", "question": "Who?"}
    kept, drops = pairs(asked, read_source(asked, [row | {"answers": ["Jones", "Smith, Ltd."]}, row | {"answers": ["Jones", "Brown"]}]))
    assert [r.answer for r in kept] == ["Jones, Smith, Ltd."] and [d.reason for d in drops] == ["answer not in passage"]


@pytest.mark.parametrize("name", ["CosmosQA", "SuperGLUE", "PubMedQA", "NLPCC"])
def test_unlabeled_sources_give_no_pairs(name):
    assert f"{name} is no labeled source" in refusal(pairs, find_source(name), [])


def test_pairs_fill_the_prompt_of_equation_2():
    from aquilt.foundations.prompt import logic_messages
    (r,) = read_source(find_source("Squad"), [{"context": "Jones is a smith.", "question": "Who?", "answers": {"text": ["Jones"], "answer_start": [0]}}])
    assert "Jones is a smith." in logic_messages(r.text, r.question, r.answer, r.task, r.lang)[-1]["content"]


# ---- the hub

ROWS = [{"context": "Jones is a smith.", "question": "Who is?", "answers": {"text": ["Jones"], "answer_start": [0]}}, {"context": "Smith is not.", "question": "Who is not?", "answers": {"text": ["Smith"], "answer_start": [0]}}]
SHA = "a" * 40


def test_rows_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    assert [r.answer for r in open_source("Squad", datasets.Dataset.from_list(ROWS))] == ["Jones", "Smith"]
    c3 = [{"documents": ["男：茶?", "女：咖啡。"], "document_id": "1", "questions": {"question": ["喝什么?", "谁?"], "answer": ["咖啡", "女"], "choice": [["茶", "咖啡"], ["男", "女", "都"]]}}]
    found = list(open_source("C3", datasets.Dataset.from_list(c3)))
    assert [(r.text, r.question, r.answer) for r in found] == [("男：茶?\n女：咖啡。", "喝什么?\nA. 茶\nB. 咖啡", "B"), ("男：茶?\n女：咖啡。", "谁?\nA. 男\nB. 女\nC. 都", "B")]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    "A folder as a repository of the hub is laid out: its own files under data/, and two configurations of the hub's conversion."
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("own/data/train-00000-of-00001.parquet", "own/data/validation-00000-of-00001.parquet", "converted/default/train/0000.parquet", "converted/other/train/0000.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(ROWS[: 1 if "other" in name or "validation" in name else 2]).to_parquet(tmp_path / name)
    return tmp_path


def test_a_clone_stands_for_the_hub(clone):
    squad = find_source("Squad").model_copy(update={"configs": []})
    assert list(hub_rows(squad, clone=clone / "own")) == ROWS and list(hub_rows(squad, ["validation"], clone / "own")) == ROWS[:1]
    quoref = find_source("Quoref")
    assert list(hub_rows(quoref, clone=clone / "converted")) == ROWS
    assert list(hub_rows(quoref.model_copy(update={"configs": ["default", "other"]}), clone=clone / "converted")) == [*ROWS, ROWS[0]]
    assert "does not give test" in refusal(hub_rows, squad, ["test"], clone / "own")
    assert "does not give lost train" in refusal(hub_rows, quoref.model_copy(update={"configs": ["lost"]}), (), clone / "converted")


def test_what_is_not_on_the_hub_says_how_it_is_had():
    for call in open_source, lambda name: pin(find_source(name)): assert "HaihuaAI is not on the hub: get its files (biendata.xyz" in refusal(call, "HaihuaAI")


def test_a_commit_is_pinned_already():
    fixed = find_source("Squad").model_copy(update={"revision": SHA})
    assert pin(fixed) is fixed


class FakeHub(http.server.BaseHTTPRequestHandler):
    "As much of the hub as `datasets` asks for: one repository at one commit, or a refusal."
    folder, refuse, asked = Path(), None, []

    def log_message(self, *args): pass

    def answer(self):
        path, folder = unquote(self.path.split("?")[0]), self.folder
        self.asked.append(path)
        if self.refuse: return self.send(*self.refuse)
        if "/tree/" in path:
            inside = folder / "/".join(path.split("/tree/")[1].split("/")[1:])
            entries = sorted(inside.iterdir()) if inside.is_dir() else []
            return self.send(200, {}, [{"type": "directory" if e.is_dir() else "file", "path": e.relative_to(folder).as_posix(), "oid": "b" * 40, "size": e.stat().st_size} for e in entries])
        if "/resolve/" in path:
            file = folder / path.split("/resolve/")[1].split("/", 1)[1]
            return self.send(200, {"X-Repo-Commit": SHA, "ETag": '"1"'}, file.read_bytes()) if file.is_file() else self.send(404, {"X-Error-Code": "EntryNotFound"}, b"")
        if path.startswith("/api/datasets/"):
            return self.send(200, {}, {"id": "x/y", "sha": SHA, "siblings": [{"rfilename": f.relative_to(folder).as_posix()} for f in folder.rglob("*") if f.is_file()], "private": False, "disabled": False, "tags": []})
        self.send(404, {}, b"")

    def send(self, status, headers, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items(): self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer


@pytest.fixture
def ask_hub(tmp_path):
    "A function that opens Quoref in a fresh interpreter against a hub of ours: its answers or the sentence, and what it asked for."
    def ask(folder=tmp_path, refuse=None, reachable=True, offline="0"):
        handler = type("Handler", (FakeHub,), {"folder": folder, "refuse": refuse, "asked": []})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if reachable: threading.Thread(target=server.serve_forever, daemon=True).start()
        else: server.server_close()
        code = "from aquilt.foundations.core import UserError\nfrom aquilt.reading.sources import open_source\ntry: print(*[r.answer for r in open_source('Quoref')])\nexcept UserError as e: print(e)"
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")}
        env = kept | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": offline, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}
        try: done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=env)
        finally:
            if reachable: server.shutdown(); server.server_close()
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), handler.asked
    return ask


def test_from_the_hub_at_a_commit(clone, ask_hub):
    said, asked = ask_hub(clone / "converted")
    assert said == "Jones Smith"
    assert any(path.endswith("/revision/refs/convert/parquet") for path in asked) and any(f"/resolve/{SHA}/default/train/0000.parquet" in path for path in asked)
    assert not any("/resolve/refs" in path or "/resolve/main" in path for path in asked)  # the branch is asked for its commit and for nothing else


@pytest.mark.parametrize("refuse, said", [
    ((403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to dataset is restricted."}, b"{}"), "asks for agreement to its conditions: accept them at huggingface.co/datasets/allenai/quoref, set HF_TOKEN"),
    ((401, {"X-Error-Code": "GatedRepo"}, b"{}"), "asks for agreement"), ((404, {"X-Error-Code": "RepoNotFound"}, b"{}"), "is not at huggingface.co/datasets/allenai/quoref, revision refs/convert/parquet"),
    ((404, {"X-Error-Code": "RevisionNotFound"}, b"{}"), "is not at"), ((400, {}, b"{}"), "cannot be reached")])
def test_a_hub_that_refuses(ask_hub, refuse, said):
    message, _ = ask_hub(refuse=refuse)
    assert said in message and "\n" not in message and "quoref-train-dev-v0.1.zip" in message


@pytest.mark.parametrize("reachable, offline", [(False, "0"), (True, "1")])
def test_a_hub_out_of_reach(ask_hub, reachable, offline):
    message, asked = ask_hub(reachable=reachable, offline=offline)
    assert message.startswith("The hub cannot be reached for Quoref") and "HF_ENDPOINT" in message and "\n" not in message and not asked


@pytest.mark.parametrize("error, said", [(RuntimeError("Dataset scripts are no longer supported, but found quoref.py"), 'write revision = "refs/convert/parquet"'), (ValueError("Unknown split \"train\""), "does not give x"),
                                         (FileNotFoundError("allenai/aggregated not found"), "does not give x"), (OSError("Dataset 'a/b' is a gated dataset on the Hub."), "asks for agreement")])
def test_other_words_of_the_loader(error, said):
    assert said in module._hub_problem(find_source("Quoref"), error, "x")


# ---- every real file, with the counts of its index

@pytest.fixture(scope="module")
def data(shared):
    folder = shared / "data"
    if not (folder / "SOURCES.md").is_file(): pytest.skip(f"no real files at {folder}")
    return folder


BARE = Source(**PLAIN | {"name": "bare"})
LETTERED = {"options": ["options"], "answer": "answer", "answers": "option"}
ASIDE = {"answers": "text", "labels": {}, "options": [], "task": ""}

# The index's first column begins so; which files that means; the source and what of its row differs there; what the index says of them: the numbers of
# files, records, questions, distinct passages, questions without answer, or of records in a file (each), at least (least) and at most (most).
INDEX = [
    ("squad_v1.1/dev-v1.1", "squad_v1.1/dev*", "Squad", {}, {"passages": 58, "questions": 299}),
    ("squad_v1.1/train-v1.1", "squad_v1.1/train*", "Squad", {}, {"questions": 300}),
    ("squad_v1.1/allennlp", "squad_v1.1/allennlp*", "Squad", {}, {"questions": 5}),
    ("squad_v2.0/cs224n", "squad_v2.0/*dev*", "Squad", {}, {"questions": 291, "unanswered": 151}),
    ("squad_v2.0/cs224n", "squad_v2.0/*test*", "Squad", {}, {"questions": 58, "unanswered": 58}),
    ("cmrc2018/cmrc2018_dev", "cmrc2018/cmrc2018_dev*", "CMRC2018", {}, {"passages": 78, "questions": 290}),
    ("cmrc2018/squad-style", "cmrc2018/squad-style/*", "CMRC2018", {}, {"passages": 78, "questions": 290}),
    ("cmrc2018/cmrc2018_trial", "cmrc2018/cmrc2018_trial*", "CMRC2018", {}, {"passages": 40}),
    ("drcd/", "drcd/*", "DRCD", {}, {"questions": 290}),
    ("chinese_squad/", "chinese_squad/dev-v1.1*", "ChineseSquad", {}, {"questions": 200}),
    ("chinese_squad/", "chinese_squad/dev-v2.0*", "ChineseSquad", {}, {"questions": 199, "unanswered": 120}),
    ("pubmedqa/ori_pqal", "pubmedqa/ori_pqal*", "PubMedQA", {}, {"questions": 300}),
    ("pubmedqa/ori_pqal", "pubmedqa/test_ground_truth*", "PubMedQA", {}, {"records": 150}),
    ("pubmedqa/pqa_", "pubmedqa/pqa_*", "PubMedQA", {}, {"each": 1}),
    ("lexeval/5_3", "lexeval/5_3*", "Translation", {}, {"questions": 125}),
    ("lexeval/5_3", "lexeval/5_4*", "EssayQA", {}, {"questions": 250}),
    ("lexeval/other", "lexeval/other/*", "EssayQA", {}, {"each": 20}),
    ("ceval/{dev", "ceval/dev/*", "CEVAL", {}, {"files": 8, "each": 5}),
    ("ceval/{dev", "ceval/val/*", "CEVAL", {}, {"files": 8, "least": 12, "most": 24}),
    ("ceval/{dev", "ceval/test/*", "CEVAL", {}, {"files": 8, "each": 60}),
    ("aquilt/CEVAL", "aquilt/CEVAL/geography*", "Textbooks", {}, {"records": 12}),
    ("aquilt/CEVAL", "aquilt/CEVAL/[!g]*", "Textbooks", {}, {"each": 1}),
    ("aquilt/input", "aquilt/input*", "", {"reader": "text_lines"}, {"records": 2}),
    ("c3/", "c3/*", "C3", {}, {"texts of one file": 60}),
    ("dream/", "dream/*", "Dream", {}, {"texts of one file": 100}),
    ("quail/", "quail/xml/*", "Quail", {}, {"passages": 16, "questions": 289}),
    ("quail/", "quail/json/*", "Quail", {}, {"questions": 60}),
    ("cosmos_qa/", "cosmos_qa/*", "CosmosQA", {}, {"questions": 250}),
    ("anli/anli_v0.1", "anli/anli_v0.1/*/*", "ANLI", {}, {"each": 3, "questions": 27}),
    ("anli/alt", "anli/*.csv", "ANLI", {"reader": "table"}, {"questions": 150}),
    ("adversarial_qa/", "adversarial_qa/*/*/*", "AdversarialDbert", {}, {"least": 20, "most": 228, "questions": 825}),
    ("race/", "race/*/*/*/*", "RACE", {}, {"passages": 15}),
    ("quoref/quoref", "quoref/quoref*", "Quoref", {}, {"questions": 300, "in parts": 24}),
    ("quoref/allennlp", "quoref/allennlp*", "Quoref", {}, {"questions": 4}),
    ("ropes/", "ropes/*", "Ropes", {}, {"questions": 300}),
    ("social_i_qa/socialiqa", "social_i_qa/*/*.jsonl", "SocialQA", {}, {"each": 2}),
    ("social_i_qa/derived", "social_i_qa/derived*", "SocialQA", LETTERED, {"questions": 100}),
    ("qasc/", "qasc/*/*", "Qasc", {}, {"questions": 5}),
    ("qasc/", "quartz/*/*", "Quartz", {}, {"questions": 6}),
    ("duorc/", "duorc/SelfRC*", "SelfRC", {}, {"texts of one file": 5}),
    ("duorc/", "duorc/ParaphraseRC*", "ParaphraseRC", {}, {"texts of one file": 5}),
    ("app_reviews/", "app_reviews/*", "APPReviews", {}, {"records": 4}),
    ("super_glue/", "super_glue/*/*", "SuperGLUE", {}, {"least": 1, "most": 3}),
    ("wiki_hop/", "wiki_hop/*.json", "WikiHop", {}, {"each": 2}),
    ("wiki_hop/", "wiki_hop/*/*/*", "WikiHop", {}, {"each": 2}),
    ("cail2019/rc", "cail2019/rc/*", "CAIL2019", {}, {"passages": 70, "questions": 420}),
    ("cail2019/scm", "cail2019/scm/*", "CAIL2019", {}, {"triplets": 100}),
    ("cail_other/", "cail_other/*.csv", "CAIL2021", {"reader": "table", "text": ["sc"]}, {"records": 200}),
    ("cail_other/", "cail_other/*.json", "CAIL2021", {}, {"records": 100}),
    ("dureader/", "dureader/*", "Dureader", {}, {"questions of one file": 50}),
    ("webqa/", "webqa/*", "WebQA", {}, {"questions": 300}),
    ("lcsts/PART_III", "lcsts/PART*", "LCSTS", {}, {"records": 200}),
    ("lcsts/derived", "lcsts/derived*", "", {}, {"records": 100}),
    ("chip2020_cmqg/", "chip2020_cmqg/*", "CHIP2020", {}, {"passages": 120}),
    ("chip2020_cmqg/", "chip2020_cmqg/*", "CMQG", {}, {"passages": 120}),
    ("covid19qa/NCPPolicies", "covid19qa/*train_2*", "Covid19QA", {}, {"questions": 300}),
    ("covid19qa/NCPPolicies", "covid19qa/*test*", "Covid19QA", {}, {"questions": 100}),
    ("covid19qa/derived", "covid19qa/derived*", "Covid19QA", {}, {"questions": 100}),
    ("maud_legalbench/", "maud_legalbench/*/*", "MAUD", {}, {"files": 34}),
    ("derived_hub_rows/aquilt", "derived_hub_rows/*.csv", "SquadContexts", {}, {"questions": 60}),
]
HUB_ROWS = {"QAngaroo__wiki_hop": "WikiHop", "UCLNLP__adversarial_qa": "AdversarialDbidaf", "allenai__cosmos_qa": "CosmosQA", "allenai__qasc": "Qasc", "allenai__quartz": "Quartz", "allenai__quoref": "Quoref",
            "allenai__ropes": "Ropes", "allenai__social_i_qa": "SocialQA", "aps__super_glue": "Record", "clue__clue": "DRCD", "dataset-org__c3": "C3", "dataset-org__dream": "Dream", "ehovy__race": "RACE",
            "facebook__anli": "ANLI", "hfl__cmrc2018": "CMRC2018", "ibm-research__duorc": "SelfRC", "qiaojin__PubMedQA": "PubMedQA", "rajpurkar__squad": "Squad", "rajpurkar__squad_v2": "Squad"}


def records_of(file, name, changes):
    asked = (find_source(name) if name else BARE).model_copy(update=changes)
    if file.name.startswith("derived_tsv"): return list(read_source(BARE, table(file, ["id", "label", "summary", "text"])))
    return list(read_source(asked, file))


def measures(files, name, changes):
    by_file = [records_of(file, name, changes) for file in files]
    found = [r for records in by_file for r in records]
    sizes, questions = {len(records) for records in by_file}, [r for r in found if r.question]
    same = lambda values: values.pop() if len(values) == 1 else sorted(values)
    return {"files": len(files), "records": len(found), "questions": len(questions), "passages": len({r.text for r in found if r.text}), "unanswered": sum(not r.answer for r in questions),
            "each": same(set(sizes)), "least": min(sizes), "most": max(sizes), "triplets": len(found) // 3, "in parts": sum(len(row["answers"]) > 1 for file in files for row in read_rows(file, "squad")) if name == "Quoref" else 0,
            "texts of one file": same({len({r.text for r in records}) for records in by_file}), "questions of one file": same({sum(bool(r.question) for r in records) for records in by_file})}


def index_rows(data):
    "The first and the fourth column of the index in SOURCES.md."
    table = (line.split("|") for line in (data / "SOURCES.md").read_text(encoding="utf-8").splitlines() if line.startswith("| "))
    return [(cells[1].strip(), cells[4].strip()) for cells in table if len(cells) > 5]


@pytest.mark.parametrize("begins, pattern, name, changes, wanted", INDEX, ids=[f"{row[1]}-{row[2]}" for row in INDEX])
def test_counts_of_the_real_files(data, begins, pattern, name, changes, wanted):
    files = sorted(file for file in data.glob(pattern) if file.suffix != ".lst")
    found = measures(files, name, changes)
    print(f"{begins:28} {name or 'bare':20} files {found['files']:3} records {found['records']:4} questions {found['questions']:4} passages {found['passages']:4} unanswered {found['unanswered']:4}   {wanted}")
    assert {measure: found[measure] for measure in wanted} == wanted


def test_the_counts_are_those_of_the_index(data):
    "The wanted numbers above stand in the index; the table of what was read is printed (pytest -rP)."
    rows = index_rows(data)
    for begins, pattern, name, changes, wanted in INDEX:
        said = [records for path, records in rows if path.startswith(begins)]
        assert len(said) == 1, begins
        unsaid = {"files"} if begins.startswith("ceval") else {"least"} if begins.startswith("anli") else {"unanswered"} if pattern.endswith("*test*") else set()
        missing = [n for measure, n in wanted.items() if measure not in unsaid and not re.search(rf"(?<!\d){n}(?!\d)", said[0])]
        assert not missing, (begins, missing, said[0])
        print(f"{begins:28} {name or 'bare':20} {wanted}   index: {said[0]}")


def test_every_real_file_is_read(data):
    files = {file for file in data.rglob("*") if file.is_file() and file.name != "SOURCES.md"}
    named = {file for row in INDEX for file in data.glob(row[1])}
    aside = {data / "ceval/subject_mapping.json", data / "ceval/submission_example.json", *data.glob("social_i_qa/*/*.lst"), *data.glob("derived_hub_rows/*.jsonl")}
    assert files == named | aside, sorted(map(str, files ^ (named | aside)))
    assert len(read_json(data / "ceval/subject_mapping.json")) == 52 and isinstance(read_json(data / "ceval/submission_example.json"), dict)
    assert {file.name.split(".")[0] for file in data.glob("derived_hub_rows/*.jsonl")} == set(HUB_ROWS)


def test_hub_rows_give_the_records_of_the_native_files(data):
    native, said = {}, lambda r: (r.text.strip(), r.question.strip(), r.answer)  # the hub's Quoref has no blanks around its texts
    for _, pattern, name, changes, _ in INDEX:
        for file in data.glob(pattern) if name and not changes else (): native.setdefault(name, set()).update(said(r) for r in read_source(find_source(name), file) if file.suffix != ".lst")
    native["AdversarialDbidaf"] = native["AdversarialDbert"]
    native["Record"] = {said(r) for file in data.glob("super_glue/ReCoRD/*") for r in read_source(find_source("Record"), file)}
    for file in sorted(data.glob("derived_hub_rows/*.jsonl")):
        name = HUB_ROWS[file.name.split(".")[0]]
        found = list(read_source(find_source(name), read_rows(file, "lines")))
        if name == "Record": strangers = [r for r in found if said(r)[:2] not in {(text, question) for text, question, _ in native[name]}]  # its answers are names of one entity, which the hub sorts
        else: strangers = [r for r in found if said(r) not in native[name]]
        print(f"{file.name:55} {name:18} {len(found):3} records, {len(found) - len(strangers):3} as in the native files")
        assert 1 <= len(found) and not strangers, (file.name, strangers[0])


def test_the_same_rows_through_datasets(data):
    datasets = pytest.importorskip("datasets")
    for file in sorted(data.glob("derived_hub_rows/*.jsonl")):
        asked, rows = find_source(HUB_ROWS[file.name.split(".")[0]]), list(read_rows(file, "lines"))
        assert list(read_source(asked, datasets.Dataset.from_list(rows))) == list(read_source(asked, rows)), file.name


# ---- quirks of the real files

def kept_and_reasons(name, file, **changes):
    asked = find_source(name).model_copy(update=changes)
    kept, drops = pairs(asked, read_source(asked, file))
    return kept, Counter(d.reason for d in drops)


def test_numbers_and_absent_answers_of_cmrc(data):
    file = data / "cmrc2018/cmrc2018_dev.subset.json"
    rows = list(read_rows(file, "squad"))
    given = [(a, row["context"]) for row in rows for a in row["answers"]]
    assert len(given) == 870 and sum(not isinstance(a, str) for a, _ in given) == 4 and sum(str(a) not in text for a, text in given) == 17
    kept, reasons = kept_and_reasons("CMRC2018", file)
    assert len(kept) == 290 and not reasons and all(r.answer in r.text for r in kept)  # each question has another answer that stands in its passage
    other, _ = kept_and_reasons("CMRC2018", data / "cmrc2018/squad-style/cmrc2018_dev.subset.json")
    assert [(r.text, r.question) for r in kept] == [(r.text, r.question) for r in other]
    alone = [row | {"answers": [a]} for row in rows for a in row["answers"] if not isinstance(a, str)]
    assert Counter(d.reason for d in pairs(find_source("CMRC2018"), read_source(find_source("CMRC2018"), alone))[1]) == {"answer not in passage": 4}


def test_the_string_true_of_cail(data):
    file = data / "cail2019/rc/dev_ground_truth.subset.json"
    rows = list(read_rows(file, "cail"))
    assert Counter(row["is_impossible"] for row in rows) == {"false": 291, "true": 129}
    kept, reasons = kept_and_reasons("CAIL2019", file)
    assert reasons == {"no answer": 96} and len(kept) == 324  # what most annotators answered, whatever the flag says
    assert sum(r.answer in ("YES", "NO") for r in kept) >= 50 and all(r.answer for r in kept)


def test_hidden_and_impossible_answers(data):
    assert kept_and_reasons("AdversarialDbidaf", data / "adversarial_qa/aqa_v1.0/1_dbidaf/test.json")[1] == {"no answer": 124}
    assert kept_and_reasons("Squad", data / "squad_v2.0/cs224n-dev-v2.0.subset.json")[1] == {"no answer": 151}
    assert kept_and_reasons("Record", data / "super_glue/ReCoRD/test.jsonl")[1] == {"no answer": 1}


def test_blank_last_lines_and_byte_order_marks(data):
    assert (data / "lexeval/5_3.subset.json").read_bytes().endswith(b"\n\n") and (data / "covid19qa/NCPPolicies_test.subset.csv").read_bytes()[:3] == b"\xef\xbb\xbf"
    first = next(open_source("Translation", data / "lexeval/5_3.subset.json"))
    assert first.question and first.answer and not first.text
    assert list(next(read_rows(data / "covid19qa/NCPPolicies_test.subset.csv", "covid"))) == ["id", "question"]


def test_a_missing_version_key(data):
    assert "version" not in read_json(data / "chinese_squad/dev-v1.1-zh.subset.json")
    kept, reasons = kept_and_reasons("ChineseSquad", data / "chinese_squad/dev-v1.1-zh.subset.json")
    assert len(kept) == 199 and reasons == {"repeated pair": 1}


def test_contexts_repeat_and_are_taken_once(data):
    for name, pattern, records, texts in [("Squad", "squad_v1.1/dev*", 299, 58), ("Ropes", "ropes/*", 300, 44), ("CosmosQA", "cosmos_qa/*", 250, 207), ("Textbooks", "aquilt/CEVAL/geo*", 12, 11)]:
        found = [r for file in data.glob(pattern) for r in open_source(name, file)]
        assert (len(found), len(sample(map(passage_alone, found), 1000, 0))) == (records, texts)


def test_questions_that_are_empty_and_passages_that_are_missing(data):
    kept, reasons = kept_and_reasons("CHIP2020", data / "chip2020_cmqg/round1_test_0907.subset.json")
    assert not kept and reasons == {"no question": 354}
    quoted = sample(map(passage_alone, open_source("CHIP2020", data / "chip2020_cmqg/round1_test_0907.subset.json")), 1000, 0)
    assert sum(r.text[0] == '"' for r in quoted) == 38 and sum(r.text[-1] == '"' for r in quoted) == 28  # as the file has them
    assert kept_and_reasons("Covid19QA", data / "covid19qa/NCPPolicies_train_20200301.subset.csv")[1] == {"no passage": 300}
    assert len(kept_and_reasons("Covid19QA", data / "covid19qa/derived_local_train_with_context.subset.jsonl")[0]) == 100


def test_blanks_around_real_texts_stay(data):
    found = list(open_source("Squad", data / "squad_v1.1/dev-v1.1.subset.json")) + list(open_source("Squad", data / "squad_v1.1/train-v1.1.subset.json"))
    raw = [row for name in ("dev", "train") for row in read_rows(data / f"squad_v1.1/{name}-v1.1.subset.json", "squad")]
    assert [(r.text, r.question) for r in found] == [(row["context"], row["question"]) for row in raw]
    assert all(row["context"][a["answer_start"]:].startswith(a["text"]) for row in raw for a in row["answers"])


def test_the_inclusive_end_of_record(data):
    for row in read_rows(data / "super_glue/ReCoRD/train.jsonl", "lines"):
        for asked in row["qas"]:
            assert all(row["passage"]["text"][a["start"]:a["end"] + 1] == a["text"] for a in asked["answers"])
    kept, reasons = kept_and_reasons("Record", data / "super_glue/ReCoRD/train.jsonl")
    assert len(kept) == 9 and not reasons and all("@placeholder" in r.question and "@highlight" in r.text for r in kept)


@pytest.mark.parametrize("name, pattern, letters", [("C3", "c3/*", "ABCD"), ("Dream", "dream/*", "ABC"), ("RACE", "race/*/*/*/*", "ABCD"), ("Quail", "quail/*/*", "ABCD"), ("CosmosQA", "cosmos_qa/*", "ABCD"),
                                                    ("Qasc", "qasc/*/[dt][er][va]*", "ABCDEFGH"), ("Quartz", "quartz/*/*", "AB"), ("CEVAL", "ceval/val/*", "ABCD")])
def test_choices_end_in_a_letter_of_theirs(data, name, pattern, letters):
    found = [r for file in data.glob(pattern) for r in open_source(name, file)]
    assert found and {r.answer for r in found} <= set(letters) and all(f"\n{r.answer}. " in r.question for r in found) and {r.task for r in found} == {"single_choice"}


def test_labels_of_social_iqa_stand_in_their_own_file(data):
    assert [r.answer for r in open_source("SocialQA", data / "social_i_qa/socialiqa-train-dev/dev.jsonl")] == ["C", "A"]


def test_the_four_task_types_of_section_3_2(data):
    files = {"extractive_qa": ("DRCD", "drcd/*"), "natural_language_inference": ("ANLI", "anli/anli_v0.1/R1/train.jsonl"), "single_choice": ("C3", "c3/c3-d-train*"), "text_summarization": ("LCSTS", "lcsts/PART*")}
    for task, (name, pattern) in files.items():
        (file,) = data.glob(pattern)
        kept, _ = kept_and_reasons(name, file)
        print(task, kept[0].question[:60], "->", kept[0].answer[:60])
        assert {r.task for r in kept} == {task} and task in TASKS and all(r.text and r.question and r.answer and not r.logic for r in kept)


def test_folders_of_real_files_give_those_for_training(data):
    assert {file.parent.name for file in source_files(find_source("AdversarialDbert"), data / "adversarial_qa/aqa_v1.0/2_dbert")} == {"2_dbert"}
    assert [file.name for file in source_files(find_source("Squad"), data / "squad_v1.1")] == ["train-v1.1.subset.json"]
    assert len(list(open_source("RACE", data / "race/RACE"))) == 22 and len(source_files(find_source("MAUD"), data / "maud_legalbench")) == 34


def test_the_corpus_of_the_real_files(data, tmp_path, monkeypatch):
    from aquilt.corpus import corpus, labeled
    from aquilt.foundations.profiles import SINGLE_GPU
    for name, value in (("HF_HUB_OFFLINE", "1"), ("AQUILT_SOURCES", str(tmp_path / "sources")), ("AQUILT_PARTIAL", "1")): monkeypatch.setenv(name, value)
    for number, (_, pattern, name, changes, _) in enumerate(INDEX):
        if changes or not name or "unlabeled" not in find_source(name).roles: continue
        for i, file in enumerate(sorted(data.glob(pattern))):
            named = next((p for p in find_source(name).files if p.rsplit(".", 1)[-1] == file.suffix[1:]), "")
            if not named or file.name.endswith(".lst"): continue
            link = tmp_path / "sources" / name / f"{number}-{i}" / named.replace("*", "0")  # under a name that the registry looks for
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
            if (labels := file.with_name(file.stem + "-labels.lst")).exists(): link.with_name(link.stem + "-labels.lst").symlink_to(labels)
    run = Run(replace(SINGLE_GPU, student="qwen2", passages_per_source=200, passage_tokens=512, labeled_pairs=150), tmp_path / "run")
    result = done(run, corpus(run))
    print(result["counts"], {s.name: result["per_source"].get(s.name, 0) for s in list_sources("unlabeled")}, result["missing"].keys(), sep="\n")
    assert set(result["missing"]) == {"HaihuaAI", "NLPCC", "AdversarialDbidaf", "AdversarialDroberta", "Record", "Covid19QA"}
    assert "holds a passage" in result["missing"]["Covid19QA"], "whose file of contexts is not among the samples"
    assert {s.name for s in list_sources("unlabeled")} - set(result["missing"]) - set(result["per_source"]) == {"CMQG"}, "whose texts are CHIP2020's here"
    records = run.records("corpus")
    assert {r.lang for r in records} == {"en", "zh"} and all(r.text and r.span and r.span[1] - r.span[0] == len(r.text) for r in records)
    counts = done(run, labeled(run))["counts"]
    pairs = Counter((r.task, r.lang) for r in run.records("labeled"))
    print(counts, pairs, sep="\n")
    assert set(pairs) == {("extractive_qa", "en"), ("extractive_qa", "zh"), ("natural_language_inference", "en"), ("single_choice", "zh"), ("text_summarization", "zh")} and max(pairs.values()) <= 150
    assert len({r.source for r in run.records("labeled") if (r.task, r.lang) == ("extractive_qa", "zh")}) >= 6, "no source crowds out the others"
    for name, pattern, link in (("Squad", "squad_v1.1/dev*", "dev-v1.1.json"), ("PubMedQA", "pubmedqa/ori_pqal*", "ori_pqal.json"), ("CEVAL", "ceval/test/*", "test/{}"), ("Translation", "lexeval/5_3*", "5_3.json"),
                                ("EssayQA", "lexeval/5_4*", "5_4.json")):
        for file in data.glob(pattern):
            (at := tmp_path / "sources" / name / link.format(file.name)).parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(file)
    from aquilt import benchmarks
    from aquilt.reading.cleaning import Overlap
    overlap = Overlap(benchmarks.test_texts(run.profile))
    for r in records: overlap.of(r.text)
    table = overlap.table().set_index("benchmark")
    print(table.to_string())
    assert list(table.index) == list(benchmarks.suite(run.profile)) and (table["items"] > 100).all()
    assert table.loc["squadqa", "passages"] >= 50 and table.loc["squadqa", "note"] and table["passages"].drop("squadqa").sum() < 20, "only the test's own contexts were put into this corpus"
