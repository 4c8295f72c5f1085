"""Records from anywhere, and for other tools: forms, paths, files, the filter, exports that TRL and datasets load."""
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquilt.filtering import filter_file
from aquilt.foundations.core import Record, UserError, read_drops, read_records, write_records
from aquilt.foundations.profiles import PAPER
from aquilt.own.exports import FORMS, asked, example, export_file, learnt
from aquilt.own.foreign import Given, all_given, at_path, filter_any, given_of, read_fields, read_given
from tiny_model import make_model

RECORD = Record(text="The Veth is a river.", task="open_book_qa", question="What is the Veth?", logic="The text says it.", answer="A river.", score=4, source="notes.txt")
USER, BOT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "A man."}
ALPACA = {"instruction": "Translate:", "input": "river", "output": "河"}
SHAREGPT = {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "A man."}], "system": "Be brief."}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def asked_and_answered(row, *fields):
    found = given_of(row, read_fields(fields))
    return found if isinstance(found, str) else (found.record.question, found.record.answer)


# ---- a row

@pytest.mark.parametrize("row, pair", [
    (ALPACA, ("Translate:\nriver", "河")), ({"input": "river", "output": "河"}, ("river", "河")), (SHAREGPT, ("Who?", "A man.")), ({"messages": [USER, BOT]}, ("Who?", "A man.")),
    ({"prompt": "Who?", "completion": "A man."}, ("Who?", "A man.")), ({"prompt": [USER], "completion": [BOT]}, ("Who?", "A man.")), ({"prompt": "a title", "messages": [USER, BOT]}, ("Who?", "A man.")),
    ({"instruction": "Who?", "context": "A man came.", "response": "A man."}, ("Who?", "A man.")), ({"question": "2 + 3?", "answer": 5}, ("2 + 3?", "5")), ({"query": "Who?", "response": "A man."}, ("Who?", "A man.")),
    ({"question": "Who?", "context": "c", "answers": {"text": ["A man."], "answer_start": [0]}}, ("Who?", "A man.")), ({"question": "Who?", "answers": ["A man.", "he"]}, ("Who?", "A man.")),
    ({"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "A man."}]}]}, ("Who?", "A man.")), ({"question": "Who?", "answers": {"text": []}}, ("Who?", "")),
])
def test_forms(row, pair):
    assert asked_and_answered(row) == pair


@pytest.mark.parametrize("row, reason", [
    ([1], "not an object"), ("text", "not an object"), (None, "not an object"), ({"messages": []}, "does not end with"), ({"messages": [USER]}, "does not end with"), ({"messages": [BOT]}, "does not end with"),
    ({"messages": [USER, "no"]}, "no object"), ({"messages": [{"role": "tool", "content": "x"}]}, "'tool'"), ({"messages": [USER, {"role": "assistant", "content": None}]}, "else than text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, BOT]}, "else than text"), ({"conversations": [{"value": "x"}]}, "role ''"),
])
def test_rows_that_are_none(row, reason):
    assert reason in asked_and_answered(row)


def test_what_was_said_before_is_kept():
    found = given_of(SHAREGPT, {})
    assert found.before == ({"role": "system", "content": "Be brief."},)
    assert given_of(ALPACA | {"history": [["a", "b"]], "system": "s"}, {}).before == (
        {"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    assert example(given_of({"messages": [USER, BOT, USER, BOT]}, {})) == ([USER, BOT, USER], [BOT])


def test_a_records_own_fields_stay_and_odd_ones_are_left_out():
    row = json.loads(RECORD.model_dump_json()) | {"mine": 1}
    assert given_of(row, {}).record == RECORD
    odd = given_of(row | {"score": "high", "source": {"a": 1}}, {}).record
    assert (odd.question, odd.task, odd.score, odd.source) == (RECORD.question, RECORD.task, None, "")


# ---- paths

@pytest.mark.parametrize("path, found", [("a", 1), ("b[0].c", 2), ("b[-1]", {"c": 2}), ("b[1]", None), ("b[-2]", None), ("a.b", None), ("none", None), ("b.c", None), ("a[0]", None)])
def test_a_path(path, found):
    assert at_path({"a": 1, "b": [{"c": 2}]}, read_fields([f"text={path}"])["text"]) == found


@pytest.mark.parametrize("word", ["", "question", "question=", "=a", "question=a..b", "question=[x]", "question=a[", "question=.a", "nothing=a", "question=a]", "score=a", "question=a[99999999999999]"])
def test_a_word_that_names_no_path(word):
    with pytest.raises(UserError, match="NAME=PATH"): read_fields([word])


@given(st.text(max_size=30))
def test_no_path_breaks_the_reader(text):
    try: at_path({"a": [1]}, read_fields([f"text={text}"])["text"])
    except UserError as e: assert "NAME=PATH" in str(e)


def test_fields_go_before_names():
    row = {"question": "no", "answer": "no", "qa": {"q": "Who?", "a": ["A man.", "he"]}}
    assert asked_and_answered(row, "question=qa.q", "answer=qa.a[0]") == ("Who?", "A man.")
    assert "its answer is no text" in asked_and_answered(row, "answer=qa.a")
    assert asked_and_answered({"messages": [USER, BOT, USER]}, "question=messages[0].content", "answer=messages[1].content") == ("Who?", "A man.")


# ---- files

def test_files_of_all_kinds_give_the_same(tmp_path):
    import pyarrow
    import pyarrow.parquet
    rows = [ALPACA, ALPACA | {"input": "man", "output": "人"}]
    write(tmp_path / "a.jsonl", rows)
    write(tmp_path / "lines.json", rows)
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "inside.json").write_text(json.dumps({"version": 1, "train": rows}))
    (tmp_path / "marked.jsonl").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.jsonl").read_bytes() + b"\n\n")
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    (tmp_path / "t.csv").write_text("instruction,input,output\n" + "".join(",".join(r.values()) + "\n" for r in rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    for path in sorted(tmp_path.iterdir()):
        found, drops = all_given(path)
        assert ([g.record.question for g in found], drops) == (["Translate:\nriver", "Translate:\nman"], []), path.name
    (tmp_path / "one.json").write_text(json.dumps({"messages": [USER, BOT]}))
    assert len(all_given(tmp_path / "one.json")[0]) == 1


def test_rows_that_cannot_be_read_are_ledger_rows_and_the_others_go_on(tmp_path):
    path = write(tmp_path / "a.jsonl", [ALPACA, [1], {"question": " ", "answer": "x"}, {"question": "Who?"}])
    path.write_bytes(path.read_bytes() + b"not json\n" + b"\xff\xfe\n" + json.dumps(SHAREGPT).encode())
    found = list(read_given(path))
    reasons = [f.reason.split(":")[0] for f in found if not isinstance(f, Given)]
    assert len(found) == 7 and reasons == ["not an object with fields", "no question", "no answer", "not JSON", "not JSON"]
    assert [f.record.question for f in found if isinstance(f, Given)] == ["Translate:\nriver", "Who?"]
    assert next(f for f in found if not isinstance(f, Given)).raw == "line 2: [1]"


@pytest.mark.parametrize("name, content, said", [
    ("a.jsonl", "", "there is nothing in it"), ("a.json", "", "not JSON"), ("a.json", "[]", "nothing in it"), ("a.json", "5", "no list of rows"), ("a.json", "{}", "no list of rows"), ("a.json", '{"a": [{}], "b": [{}]}', "several"),
    ("a.json", "[" * 100_000, "not JSON"), ("a.txt", "x", "no kind"), ("a.jsonl", '{"title": "x"}', "no question: its fields are title"), ("a.csv", "title\nx\n", "no question"), ("a.csv", 'question,answer\n"Who?,he\nWho?,she\n', "not sound CSV"), ("a.csv.gz", "x", "packed table"), ("a.jsonl", "[1]\n[2]\n", "not an object with fields: 2"),
    ("a.jsonl", json.dumps({"prompt": "x", "chosen": "y", "rejected": "z"}), "no answer"),
])
def test_a_file_with_nothing_in_it_is_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said): all_given(tmp_path / name)


# ---- the filter

def test_the_filter_takes_any_form_and_keeps_rows_as_they_are(tmp_path):
    rows = [ALPACA, SHAREGPT, {"messages": [{"role": "user", "content": "What does the passage say?"}, BOT]}, {"title": "x"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    for path in (tmp_path / "a.json", write(tmp_path / "a.jsonl", rows)):
        counts = filter_any(path, tmp_path / "out.jsonl", PAPER, task="closed_book_qa")["counts"]
        assert (counts["entered"], counts["kept"], counts["dropped"]) == (4, 2, 2)
        assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows[:2]
        leans, none = read_drops(tmp_path / "out.jsonl.dropped.jsonl")
        assert "leans on the passage" in leans.reason and leans.record.question == "What does the passage say?" and "no question" in none.reason


def test_the_filter_does_the_same_to_its_own_form(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"question": f"Who is number {i}?", "answer": "he", "mine": i} for i in range(40)] + [{"answer": "x"}, 5])
    results = [function(path, tmp_path / f"{function.__name__}.jsonl", PAPER, task="closed_book_qa", workers=n) for function in (filter_file, filter_any) for n in (0, 2)]
    kept = [(tmp_path / f"{name}.jsonl").read_bytes() for name in ("filter_file", "filter_any")]
    assert kept[0] == kept[1] and len({json.dumps([r["tasks"], r["counts"]["kept"]]) for r in results}) == 1


# ---- exports

def test_what_is_asked_and_learnt():
    assert asked(RECORD).startswith("The Veth is a river.\n\n") and asked(RECORD, False) == RECORD.question
    for task in ("closed_book_qa", "single_choice", "multi_choice"): assert asked(RECORD.with_(task=task)) == RECORD.question
    assert asked(RECORD.with_(task="closed_book_qa"), True) == asked(RECORD) and asked(RECORD.with_(text=" "), True) == RECORD.question
    assert "[[question]]" in asked(RECORD.with_(text="[[question]]")), "a passage is not filled itself"
    assert learnt(RECORD) == "Thinking steps:The text says it.\nAnswer:A river." and learnt(RECORD, False) == learnt(RECORD.with_(logic="")) == "A river."


@pytest.mark.parametrize("to", FORMS)
def test_every_form_loads_in_datasets_and_leads_back(tmp_path, to):
    import datasets
    records = [RECORD, RECORD.with_(text="", question="在哪里？\u2028", answer='"x"\n<b>', lang="zh")]
    write_records(tmp_path / "in.jsonl", records)
    out = {"llamafactory": "lf", "parquet": "o.parquet", "alpaca": "o.json"}.get(to, "o.jsonl")
    counts = export_file(tmp_path / "in.jsonl", to, tmp_path / out, logic=False, passage=False)
    assert (counts["entered"], counts["kept"], counts["dropped"]) == (2, 2, 0) and Path(counts["ledger"]).read_text() == ""
    file = tmp_path / "lf" / "in.json" if to == "llamafactory" else tmp_path / out
    loaded = datasets.load_dataset("parquet" if to == "parquet" else "json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 2
    assert [(g.record.question, g.record.answer) for g in all_given(file)[0]] == [(r.question, r.answer) for r in records]
    if to == "parquet": assert read_records(file) == records


def test_llamafactory_keeps_the_other_entries_and_names_the_columns(tmp_path):
    write_records(tmp_path / "in.jsonl", [RECORD])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')
    export_file(tmp_path / "in.jsonl", "llamafactory", tmp_path / "data")
    known = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    rows = json.loads((tmp_path / "data" / known["in"]["file_name"]).read_text())
    turn, tags = rows[0][known["in"]["columns"]["messages"]][0], known["in"]["tags"]
    assert known["other"] == {"file_name": "other.json"} and known["in"]["formatting"] == "sharegpt"
    assert turn[tags["role_tag"]] == tags["user_tag"] and turn[tags["content_tag"]] == asked(RECORD)


def test_what_a_form_cannot_hold_goes_to_the_ledger(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"messages": [USER, BOT]}, {"messages": [BOT, USER, BOT]}, {"messages": [USER, BOT, USER, BOT]}])
    for to, out, kept in (("messages", "m.jsonl", 3), ("alpaca", "a.json", 2), ("sharegpt", "s.json", 2), ("llamafactory", "lf", 2), ("parquet", "p.parquet", 1)):
        counts = export_file(path, to, tmp_path / out)
        assert (counts["kept"], counts["dropped"]) == (kept, 3 - kept) and len(read_drops(counts["ledger"])) == 3 - kept, to
    history = json.loads((tmp_path / "a.json").read_text())[1]["history"]
    assert history == [["Who?", "A man."]]
    with pytest.raises(UserError, match="none of its records"): export_file(write(tmp_path / "b.jsonl", [{"messages": [BOT, USER, BOT]}]), "sharegpt", tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("to", ["messages", "prompt-completion"])
def test_trl_trains_on_an_export_as_it_is(tmp_path, to):
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    write_records(tmp_path / "in.jsonl", [RECORD.with_(text="", logic="")] * 4)
    export_file(tmp_path / "in.jsonl", to, tmp_path / "o.jsonl")
    model = make_model(tmp_path / "model")
    data = load_dataset("json", data_files=str(tmp_path / "o.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    trainer = SFTTrainer(AutoModelForCausalLM.from_pretrained(model), train_dataset=data, processing_class=AutoTokenizer.from_pretrained(model),
                         args=SFTConfig(str(tmp_path / "trained"), max_steps=1, use_cpu=True, report_to="none", save_strategy="no", bf16=False, gradient_checkpointing=False, disable_tqdm=True))
    assert trainer.train().training_loss > 0
    row = trainer.train_dataset[0]
    if to == "prompt-completion": assert 0 < sum(label != -100 for label in row["labels"]) < len(row["input_ids"]), "the loss falls on the completion"
