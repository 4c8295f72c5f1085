"""The record, its files and the ledger: what is refused, what comes back as it was, and what a crash leaves."""
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import aquilt
from aquilt.foundations.core import (LANGS, TASKS, Drop, Record, UserError, beside, check_output, is_stream, read_drops, read_lines, read_records, reconcile, text_hash, try_output, whole_file, write_drops,
                                     write_json, write_records, write_text)

ROOT = Path(aquilt.__file__).parents[1]
fewer = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PLACE = st.integers(0, 10**6)
RECORDS = st.builds(Record, text=TEXT, task=st.sampled_from(TASKS) | TEXT, lang=st.sampled_from(LANGS), question=TEXT, logic=TEXT, answer=TEXT, analysis=TEXT,
                    score=st.none() | st.integers(1, 5), source=TEXT, document=TEXT, span=st.none() | st.tuples(PLACE, PLACE), seed=st.none() | st.integers(0, 2**31), raw=TEXT)


# ---- the record

def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="quesion"): Record(quesion="?")
    with pytest.raises(ValidationError, match="quesion"): Record().with_(quesion="?")


@pytest.mark.parametrize("wrong", [{"text": 5}, {"text": None}, {"answer": ["A"]}, {"score": "high"}, {"score": 2.5}, {"span": (1,)}, {"span": "0-4"}, {"seed": "first"}])
def test_a_wrong_type_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))): Record(**wrong)


@pytest.mark.parametrize("score", ["3", True])
def test_a_score_is_a_number(score):
    with pytest.raises(ValidationError): Record(score=score)


@pytest.mark.parametrize("score", [-1, 0, 6, 100])
def test_a_score_is_one_to_five(score):
    with pytest.raises(ValidationError, match="1 to 5"): Record(score=score)
    with pytest.raises(ValidationError, match="1 to 5"): Record(score=3).with_(score=score)


@pytest.mark.parametrize("score", [None, 1, 2, 3, 4, 5])
def test_scores_that_are_allowed(score):
    assert Record().with_(score=score).score == score


def test_with_changes_a_copy_only():
    first = Record(text="u", span=(0, 1))
    second = first.with_(question="q", span=(2, 3))
    assert (first.question, first.span, second.text, second.question, second.span) == ("", (0, 1), "u", "q", (2, 3))
    assert first.with_() == first and hash(first.with_()) == hash(first)


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError): Record(text="u").text = "v"


# ---- hashes

def test_the_hash_is_the_same_on_every_machine():
    assert text_hash("a", 1, {"b": None}) == hashlib.sha256('["a", 1, {"b": null}]'.encode()).hexdigest()[:16]


def test_the_hash_sees_parts_and_not_the_order_of_keys():
    assert text_hash("ab", "c") != text_hash("a", "bc") and text_hash("a", "b") != text_hash("b", "a") and text_hash() != text_hash("")
    assert text_hash({"a": 1, "b": 2}) == text_hash({"b": 2, "a": 1}) and text_hash((1, 2)) == text_hash([1, 2])


@given(TEXT, TEXT)
@settings(deadline=None)
def test_two_texts_have_one_hash_only_where_they_are_one(a, b):
    assert (text_hash(a) == text_hash(b)) == (a == b)


# ---- round trips

@given(st.lists(RECORDS, max_size=5))
@fewer
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_records_come_back_as_they_were(tmp_path, suffix, records):
    path = tmp_path / f"records{suffix}"
    write_records(path, records)
    assert read_records(path) == records


def test_both_formats_hold_the_same(tmp_path):
    records = [Record(text="城市\u2028a\r\n\t\"\x00", span=(0, 4), score=3), Record(score=None, seed=7), Record(span=None, score=5)]
    for name in ("a.jsonl", "a.parquet"): write_records(tmp_path / name, records)
    assert read_records(tmp_path / "a.jsonl") == read_records(tmp_path / "a.parquet") == records


@pytest.mark.parametrize("seed", [2**53 + 1, -2**62 - 1])
def test_a_large_seed_survives_parquet(tmp_path, seed):
    write_records(tmp_path / "a.parquet", [Record(seed=seed), Record()])
    assert read_records(tmp_path / "a.parquet")[0].seed == seed


BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines breaks a line


def test_a_line_has_every_field_and_no_bare_line_break(tmp_path):
    records = [Record(text=f"a{mark}b", raw=mark * 2) for mark in BREAKS] + [Record(), Record(lang="zh", span=(0, 1), score=3)]
    drops = [Drop(stage="s", reason=BREAKS, raw=BREAKS), Drop(stage="s", reason="r", record=records[0])]
    write_records(tmp_path / "a.jsonl", iter(records))
    write_drops(tmp_path / "d.jsonl", drops)
    lines, ledger = ((tmp_path / name).read_text(encoding="utf-8").splitlines() for name in ("a.jsonl", "d.jsonl"))
    assert {tuple(json.loads(line)) for line in lines} == {tuple(Record.model_fields)} and [Record.model_validate_json(line) for line in lines] == records
    assert {tuple(json.loads(line)) for line in ledger} == {tuple(Drop.model_fields)} and [Drop.model_validate_json(line) for line in ledger] == drops


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_field_that_changes_late_loads_with_datasets(tmp_path, name):
    import datasets
    write_records(tmp_path / name, [Record(text="u" * 300)] * 400 + [Record(text="文", lang="zh", logic="l")])
    kind = {"a.jsonl": ("json", {"chunksize": 10_000}), "a.parquet": ("parquet", {})}[name]
    rows = datasets.load_dataset(kind[0], data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache"), **kind[1])
    assert set(rows.column_names) == set(Record.model_fields) and (rows[0]["lang"], rows[-1]["lang"], rows[-1]["logic"]) == ("en", "zh", "l")


def test_parquet_has_one_schema_whatever_is_empty(tmp_path):
    import pyarrow.parquet
    for name, record in (("a", Record()), ("b", Record(span=(0, 4), score=3, seed=2**62))): write_records(tmp_path / f"{name}.parquet", [record])
    assert pyarrow.parquet.read_schema(tmp_path / "a.parquet") == pyarrow.parquet.read_schema(tmp_path / "b.parquet")


def test_blank_lines_are_passed_over_and_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"text":"a"}\n  \n{"text":"b"}', encoding="utf-8")
    assert [number for number, _ in read_lines(path)] == [2, 4] and [r.text for r in read_records(path)] == ["a", "b"]


def test_no_records_are_an_empty_file(tmp_path):
    for name in ("a.jsonl", "a.parquet"):
        write_records(tmp_path / name, [])
        assert read_records(tmp_path / name) == []


def test_half_a_surrogate_pair_does_not_stop_a_stage(tmp_path):
    try: record = Record(question=json.loads('"\\ud83d"'))
    except ValidationError: return  # refused where it enters, it goes to the ledger
    write_records(tmp_path / "a.jsonl", [record])
    assert text_hash(record.question)


# ---- damaged files

def refusal(read, path):
    with pytest.raises(UserError) as caught: read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("line", ["{", "not json", '{"text": "a"', '{"text": "a"} {}', "{'text': 'a'}", '"'])
def test_invalid_json_is_named_by_file_and_line(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text":"a"}\n\n' + line + '\n{"text":"b"}\n', encoding="utf-8")
    assert "line 3" in refusal(read_records, path)


@pytest.mark.parametrize("line, field", [('{"test": "a"}', "test"), ('{"text": 5}', "text"), ('{"score": 9}', "score"), ('{"span": [1]}', "span"), ("5", "the line"), ("[]", "the line")])
def test_a_field_that_does_not_fit_is_named_by_file_line_and_field(tmp_path, line, field):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text":"a"}\n' + line + "\n", encoding="utf-8")
    message = refusal(read_records, path)
    assert "line 2" in message and f"field {field}" in message


def test_bad_utf8_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"\xff"}\n')
    assert "line 1" in refusal(read_records, path)


def test_bad_utf8_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"a"}\n{"text":"b"}\n{"text":"\xff"}\n')
    assert "line 3" in refusal(read_records, path)


def test_endless_nesting_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("[" * 100_000, encoding="utf-8")
    assert "line 1" in refusal(read_records, path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_missing_file_is_refused(tmp_path, name):
    refusal(read_records, tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_folder_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    refusal(read_records, tmp_path / name)


def test_a_damaged_parquet_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    write_records(path, [Record(text="a")])
    path.write_bytes(path.read_bytes()[:-9])
    refusal(read_records, path)


def test_a_parquet_of_something_else_is_refused(tmp_path):
    import pandas
    pandas.DataFrame([{"text": "a", "label": 1}]).to_parquet(tmp_path / "a.parquet")
    assert "line 1, field label" in refusal(read_records, tmp_path / "a.parquet")


# ---- writing

def test_writing_makes_the_folder_and_leaves_no_temporary_file(tmp_path):
    write_text(tmp_path / "a/b/c.txt", "é城")
    assert (tmp_path / "a/b/c.txt").read_bytes() == "é城".encode() and [p.name for p in (tmp_path / "a/b").iterdir()] == ["c.txt"]


def test_json_is_readable_text(tmp_path):
    write_json(tmp_path / "a.json", {"名": [1, None], "path": Path("x")})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "名" in text and text.endswith("}\n") and json.loads(text) == {"名": [1, None], "path": "x"}


@pytest.mark.parametrize("name", ["a.txt", "deeper/a.txt"])
def test_an_unwritable_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / name
    assert "Cannot write" in refusal(lambda p: write_text(p, "x"), path)


def test_an_unwritable_folder_is_refused_for_parquet(tmp_path):
    (tmp_path / "file").write_text("")
    refusal(lambda p: write_records(p, [Record()]), tmp_path / "file" / "a.parquet")


def test_a_folder_in_the_way_is_refused(tmp_path):
    (tmp_path / "a.txt").mkdir()
    refusal(lambda p: write_text(p, "x"), tmp_path / "a.txt")


def failing():
    yield Record(text="first")
    raise RuntimeError("the work failed here")


def no_space(*_):
    raise OSError(28, "No space left on device")


def test_an_error_in_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError): write_records(path, failing())
    monkeypatch.setattr(os, "replace", no_space)
    assert "No space left" in refusal(lambda p: write_json(p, {"new": 2}), path)
    assert json.loads(path.read_text()) == {"old": 1}


def test_an_error_in_writing_leaves_no_temporary_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    refusal(lambda p: write_text(p, "x"), tmp_path / "a.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_process_killed_in_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = f"import os; from aquilt.foundations.core import write_text; os.replace = lambda *_: os.kill(os.getpid(), 9); write_text({str(path)!r}, 'new' * 10**5)"
    died = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert died.returncode == -signal.SIGKILL and path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_name_are_told_apart(tmp_path):
    path = tmp_path / "a.jsonl"
    with whole_file(path) as first:
        first.write(b"mine")
        assert "written by another process" in refusal(lambda p: write_text(p, "theirs"), path) and "written by another process" in refusal(try_output, path)
    assert path.read_bytes() == b"mine" and [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    write_text(path, "later")
    assert path.read_text() == "later"


def test_two_processes_with_one_name_write_one_after_the_other_or_say_so(tmp_path):
    "Each that ends well has written what it says; nobody's lines stand in another's file."
    code = f"import sys, time; from aquilt.foundations.core import UserError, whole_file\ntry:\n with whole_file({str(tmp_path / 'a')!r}) as f:\n  for _ in range(20): f.write(sys.argv[1].encode() * 999); time.sleep(0.1)\nexcept UserError as e: sys.exit(str(e))"
    both = [subprocess.Popen([sys.executable, "-c", code, name], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True) for name in "xy"]
    said = [process.communicate()[1] for process in both]
    written = set((tmp_path / "a").read_text())
    assert written in ({"x"}, {"y"}) and [p.name for p in tmp_path.iterdir()] == ["a"]
    for words in said: assert words == "" or "is being written by another process" in words


@pytest.mark.parametrize("left", [b"left by a kill " * 9, b""])
def test_what_a_kill_left_is_taken_over(tmp_path, left):
    (tmp_path / ".a.txt.tmp").write_bytes(left)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_is_followed_and_a_loop_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, to in (("link", "folder/real"), ("loop", "loop")): (tmp_path / name).symlink_to(to)
    for text in ("one", "two"): write_text(tmp_path / "link", text)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder/real").read_text() == "two"
    assert "symbolic links" in refusal(lambda p: write_text(p, "x"), tmp_path / "loop") and (tmp_path / "loop").is_symlink()
    (tmp_path / ".b.tmp").symlink_to("folder/real")
    refusal(lambda p: write_text(p, "x"), tmp_path / "b")
    assert (tmp_path / "folder/real").read_text() == "two", "nor is the temporary name of another followed"


def test_a_pipe_is_written_into_and_one_that_nobody_reads_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refusal(lambda p: write_text(p, "x"), tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_records(tmp_path / "pipe", [Record(text="a")])
    assert json.loads(os.read(end, 999))["text"] == "a" and is_stream(tmp_path / "pipe") and beside(tmp_path / "pipe") == Path("pipe.dropped.jsonl")
    os.close(end)
    assert (tmp_path / "pipe").is_fifo() and [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_a_device_is_a_stream(monkeypatch):
    real = os.stat("/dev/null")
    monkeypatch.setattr("aquilt.foundations.core.os.stat", lambda path, **_: real)
    assert is_stream("anything")


def test_the_permissions_of_a_file_stay(tmp_path):
    write_text(tmp_path / "a", "x")
    os.umask(mask := os.umask(0))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask
    (tmp_path / "a").chmod(0o600)
    write_text(tmp_path / "a", "y")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("out", ["a.csv", "a", "a.jsonl.gz", "A.JSONL", ""])
def test_an_output_of_another_kind_is_refused(tmp_path, out):
    with pytest.raises(UserError, match="must end in .jsonl or .parquet"): check_output(out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", ["a.jsonl", "./a.jsonl", "link", "a.jsonl.dropped.jsonl"])
def test_an_output_never_takes_the_place_of_an_input(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("a.jsonl")
    with pytest.raises(UserError, match="would be overwritten"): check_output("a.jsonl", [read])
    check_output("a.jsonl", ["b.jsonl", "hub:owner/name@1"])
    assert [p.name for p in tmp_path.iterdir()] == ["link"]


# ---- the ledger

@given(st.lists(st.builds(Drop, stage=TEXT, reason=TEXT, raw=TEXT, record=st.none() | RECORDS), max_size=4))
@fewer
def test_ledger_rows_come_back_as_they_were(tmp_path, drops):
    write_drops(tmp_path / "dropped.jsonl", drops)
    assert read_drops(tmp_path / "dropped.jsonl") == drops


@pytest.mark.parametrize("line", ['{"stage": "s"}', '{"stage": "s", "reason": "r", "why": 1}', '{"stage": "s", "reason": "r", "record": {"score": 9}}', "[]", "{"])
def test_a_damaged_ledger_is_refused(tmp_path, line):
    (tmp_path / "dropped.jsonl").write_text(line, encoding="utf-8")
    refusal(read_drops, tmp_path / "dropped.jsonl")


def test_counts_reconcile():
    drops = [Drop(stage="s", reason=r) for r in ("short", "empty", "short")]
    assert reconcile("s", 5, [Record(), Record()], drops) == {"entered": 5, "kept": 2, "dropped": 3, "reasons": {"empty": 1, "short": 2}}
    assert reconcile("s", 0, [], []) == {"entered": 0, "kept": 0, "dropped": 0, "reasons": {}}


@pytest.mark.parametrize("entered", [0, 1, 3])
def test_a_record_lost_or_doubled_is_a_fault(entered):
    with pytest.raises(RuntimeError, match=f"s: {entered} entered, but 1 kept and 1 dropped"): reconcile("s", entered, [Record()], [Drop(stage="s", reason="r")])
