"""Teacher replies read into records or ledger rows, and the stage: it reconciles, keeps every reply, and repeats without asking again."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import aquilt
from aquilt import runs, teacher
from aquilt.core import Drop, Record, text_hash
from aquilt.corpus import associate, corpus, labeled
from aquilt.distillation import ask_teacher, distillation, open_teacher, read_pair
from aquilt.engines import Completion, Usage
from aquilt.profiles import SMOKE
from aquilt.prompt import LOGIC_KEYS, META_KEYS, distillation_messages, logic_messages
from aquilt.runs import Run
from aquilt.teacher import judge

ROOT = Path(aquilt.__file__).parents[1]
TINY = replace(SMOKE, passages_per_source=2, pairs_per_task=3, labeled_pairs=3, teacher_faults=0.2)
ASKED = 2 * 9 * 3 + 5 * 3  # two languages, nine tasks, three pairs; five labeled task and language pairs, three of each
KNOWN = Record(text="u", task="closed_book_qa", question="old q", answer="old a", document="d")


def said(**fields):
    return json.dumps({"question": "q", "thought process": "l", "answer": "a"} | fields)


# ---- reading a reply

@pytest.mark.parametrize("text", [said(), f"Here it is:\n```json\n{said()}\n```\nBye.", said(more="x"), said().replace("thought process", "Thought_Process"), said()[:-1]])
def test_a_readable_reply_becomes_a_record(text):
    record = read_pair(KNOWN, Completion(text, "stop"), META_KEYS, "distillation")
    assert record == KNOWN.with_(question="q", logic="l", answer="a", raw=text)


def test_a_reply_with_logic_alone_leaves_question_and_answer():
    text = '{"thought_process": "because"}'
    assert read_pair(KNOWN, Completion(text, "stop"), LOGIC_KEYS, "distillation") == KNOWN.with_(logic="because", raw=text)


def test_values_that_are_no_text_become_text():
    record = read_pair(KNOWN, Completion(said(answer=["A", "C"], question=5), "stop"), META_KEYS, "distillation")
    assert (record.answer, record.question) == ("A\nC", "5")


@pytest.mark.parametrize("completion, reason", [
    (Completion("", "error", error="the server is on fire"), "the server is on fire"),
    (Completion(said(), "length"), "cut off at the token limit"),
    (Completion("", "stop"), "unreadable: the reply holds no readable JSON object"),
    (Completion("I cannot do this: no.", "stop"), "unreadable: the reply holds no readable JSON object"),
    (Completion('["q", "l", "a"]', "stop"), "unreadable: the reply holds no readable JSON object"),
    (Completion(said(answer=""), "stop"), "unreadable: the reply's 'answer' is missing or empty"),
    (Completion(said(answer=None), "stop"), "unreadable: the reply's 'answer' is missing or empty"),
    (Completion(said(question=" \n"), "stop"), "unreadable: the reply's 'question' is missing or empty"),
    (Completion('{"question": "q", "answer": "a"}', "stop"), "unreadable: the reply's 'thought process' is missing or empty"),
    (Completion(said()[:20], "stop"), "unreadable: the reply's 'thought process' is missing or empty")])
def test_another_reply_becomes_a_ledger_row_with_its_reason(completion, reason):
    assert read_pair(KNOWN, completion, META_KEYS, "distillation") == Drop(stage="distillation", reason=reason, raw=completion.text, record=KNOWN)


# ---- asking

class Scripted:
    "An engine that gives one completion after another."
    model = "scripted"

    def __init__(self, *completions): self.completions = completions

    def generate(self, prompts, sampling, adapter=None, desc=""):
        self.prompts, self.sampling = prompts, sampling
        return list(self.completions[:len(prompts)])


def test_every_record_is_kept_or_in_the_ledger_in_its_order():
    engine = Scripted(Completion(said(), "stop", Usage(5, 2, 1)), Completion("no", "stop", Usage(5, 1, 1)), Completion("", "error", error="late"), Completion(said(answer="b"), "stop", Usage(4, 2, 1)))
    records = [Record(text=t) for t in "abcd"]
    sent = [[{"role": "system", "content": "write"}, {"role": "user", "content": r.text}] for r in records]
    kept, drops, usage = ask_teacher(engine, records, sent, META_KEYS, "s", 7, "")
    assert [r.text for r in kept] == ["a", "d"] and [d.record.text for d in drops] == ["b", "c"] and usage == Usage(14, 5, 3)
    assert {(r.model, r.seed, r.prompt_hash) for r in (*kept, *(d.record for d in drops))} == {("scripted", 7, text_hash("write"))}
    assert [p.content for p in engine.prompts] == sent and (engine.sampling.seed, engine.sampling.temperature) == (7, 1.0)


def test_nobody_is_asked_for_no_records():
    assert ask_teacher(Scripted(), [], [], META_KEYS, "s", 0, "") == ([], [], Usage())


def test_the_profile_says_who_the_teacher_is(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with open_teacher(replace(SMOKE, teacher="big", teacher_url="https://far.example/v1"), tmp_path / "r.jsonl") as far: assert (far.model, far.base_url) == ("big", "https://far.example/v1")
    with open_teacher(SMOKE) as near: assert near.model == "miniature-teacher" and near.base_url.startswith("http://127.0.0.1:")


# ---- the stage

@pytest.fixture(scope="module", autouse=True)
def asked():
    "The messages that reached the teacher's server."
    received, answer = [], teacher.reply
    def counted(messages, *settings):
        received.append(messages)
        return answer(messages, *settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "reply", counted)
        patch.setattr(runs, "environment", dict)
        yield received


def pipeline(root, profile=TINY):
    run = Run(profile, root)
    corpus(run)
    labeled(run)
    return run, distillation(run)


def data(run):
    return [(run.folder("distillation") / name).read_bytes() for name in ("records.jsonl", "dropped.jsonl")]


@pytest.fixture(scope="module")
def done(tmp_path_factory, asked):
    "A finished run, its result, and what its teacher was asked."
    before = len(asked)
    run, result = pipeline(tmp_path_factory.mktemp("done"))
    return run, result, asked[before:]


@pytest.fixture
def copied(tmp_path, done, asked):
    "A copy of the finished run, and nobody asked yet."
    shutil.copytree(done[0].root, tmp_path / "copy")
    asked.clear()
    return Run(TINY, tmp_path / "copy")


def test_whatever_enters_is_kept_or_in_the_ledger(done):
    run, result, received = done
    kept, drops, counts = run.records("distillation"), run.drops("distillation"), result["counts"]
    assert counts["entered"] == ASKED == len(received) == result["requests"] == len(kept) + len(drops) and (counts["kept"], counts["dropped"]) == (len(kept), len(drops))
    assert 0 < len(drops) < ASKED / 3 and counts["reasons"] == dict(Counter(d.reason for d in drops)) and all(d.raw and d.reason.startswith("unreadable") for d in drops)
    entered = associate(run.records("corpus"), 3, 0) + run.records("labeled")
    assert Counter((r.text, r.task, r.document) for r in entered) == Counter((r.text, r.task, r.document) for r in (*kept, *(d.record for d in drops)))
    assert result["prompt_tokens"] > result["completion_tokens"] > 0


def test_a_record_says_how_it_was_made(done):
    run, _, received = done
    known = {(r.text, r.question): r.answer for r in run.records("labeled")}
    for r in run.records("distillation"):
        given = (r.text, r.question) in known
        sent = logic_messages(r.text, r.question, r.answer, r.task, r.lang) if given else distillation_messages(r.text, r.task, r.lang)
        assert r.prompt_hash == text_hash(sent[0]["content"]) and sent in received
        assert (r.model, r.seed) == ("miniature-teacher", 0) and r.question and r.logic and r.answer and r.raw and r.source and r.text[slice(*r.span)] == r.text
        assert not given or known[r.text, r.question] == r.answer
    assert len({r.prompt_hash for r in run.records("distillation")}) == 9 + 1  # a meta prompt for each task, and the prompt for logic


def test_without_faults_everything_is_kept_and_right(tmp_path):
    run, result = pipeline(tmp_path, replace(TINY, teacher_faults=0.0))
    assert result["counts"]["kept"] == ASKED
    assert all(judge(r.task, r.text, r.question, r.logic, r.answer, r.lang)[0] >= 4 for r in run.records("distillation"))


def test_every_reply_is_stored_by_its_request(done):
    lines = [json.loads(line) for line in (done[0].folder("distillation") / "replies.jsonl").read_bytes().splitlines()]
    assert len(lines) == len({line["key"] for line in lines}) == ASKED and all(line["key"] == text_hash(line["request"]) for line in lines)
    said = {r.raw for r in done[0].records("distillation")} | {d.raw for d in done[0].drops("distillation")}
    assert {line["reply"]["choices"][0]["message"]["content"] for line in lines} == said


def test_repeated_from_its_replies_it_asks_nobody(done, copied, asked):
    folder = copied.folder("distillation")
    stored = (folder / "replies.jsonl").read_bytes()
    for name in ("result.json", "records.jsonl", "dropped.jsonl"): (folder / name).unlink()
    again = distillation(copied)
    assert asked == [] and data(copied) == data(done[0]) and (folder / "replies.jsonl").read_bytes() == stored
    assert again | {"seconds": 0} == done[1] | {"seconds": 0} and distillation(copied) == again


def test_more_pairs_ask_only_for_the_new_ones(done, copied, asked):
    result = distillation(Run(replace(TINY, pairs_per_task=4), copied.root))
    before = [text_hash(m) for m in done[2]]
    assert result["counts"]["entered"] == 2 * 9 * 4 + 15 and 0 < len(asked) <= 2 * 9 * 4 and not {text_hash(m) for m in asked} & set(before)


def test_another_seed_asks_again_and_writes_other_pairs(done, copied, asked):
    assert distillation(copied, seed=1)["counts"]["entered"] == len(asked) == ASKED and data(copied) != data(done[0])


def test_a_server_that_answers_nonsense_costs_its_records_and_no_more(tmp_path, monkeypatch):
    answer = teacher.reply
    monkeypatch.setattr(teacher, "reply", lambda sent, *settings: "" if "useful single-choice Q&A" in sent[0]["content"] else answer(sent, *settings))
    run, result = pipeline(tmp_path, replace(TINY, teacher_faults=0.0))
    assert result["counts"] == {"entered": ASKED, "kept": ASKED - 6, "dropped": 6, "reasons": {"unreadable: the reply holds no readable JSON object": 6}}
    assert {d.record.task for d in run.drops("distillation")} == {"single_choice"}


KILLED = """
import sys, time
from dataclasses import replace
from pathlib import Path
from aquilt import runs, teacher
from aquilt.corpus import corpus, labeled
from aquilt.distillation import distillation
from aquilt.profiles import SMOKE
runs.environment, answer = dict, teacher.reply
def slow(*arguments):
    time.sleep(0.3)
    return answer(*arguments)
teacher.reply = slow
run = runs.Run(replace(SMOKE, passages_per_source=2, pairs_per_task=3, labeled_pairs=3, teacher_faults=0.2), Path(sys.argv[1]))
corpus(run)
labeled(run)
distillation(run)
"""


def test_a_killed_distillation_repeated_ends_as_one_that_was_not_disturbed(tmp_path, done, asked):
    replies, script = tmp_path / "run/distillation/replies.jsonl", tmp_path / "distil.py"
    script.write_text(KILLED)
    command, environ, deadline = [sys.executable, str(script), str(tmp_path / "run")], {**os.environ, "PYTHONPATH": str(ROOT)}, time.time() + 60
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    while time.time() < deadline and not (replies.exists() and replies.stat().st_size): time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not (replies.parent / "result.json").exists()
    with replies.open("ab") as file: file.write(b'{"key": "torn')  # as a kill in the middle of a write leaves it
    kept = replies.read_bytes().count(b"\n")
    asked.clear()
    run, result = pipeline(tmp_path / "run")
    assert 0 < kept < ASKED and len(asked) == ASKED - kept
    assert data(run) == data(done[0]) and result | {"seconds": 0} == done[1] | {"seconds": 0}
    keys = [{json.loads(line)["key"] for line in (r.folder("distillation") / "replies.jsonl").open()} for r in (run, done[0])]
    assert keys[0] == keys[1]
