"""Teacher replies read into records or ledger rows, and the stage: it reconciles, keeps every reply, and repeats without asking again."""
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aquilt
from aquilt.miniature import server as teacher
from stages import done as do
from aquilt.foundations.core import Drop, Record, UserError, text_hash, parted
from aquilt.corpus import associate, corpus, labeled
from aquilt.distillation import QUESTIONS, Teachers, ask_teacher, cost_table, distillation, estimate, open_teacher, read_pair, read_teacher, review, total_from, write_review
from aquilt.models.engines import Completion, OnDemand, Sampling, Usage
from aquilt.models.prices import load_prices
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.prompt import LOGIC_KEYS, META_KEYS, distillation_messages, logic_messages
from aquilt.models.replies import stored, stored_cost
from aquilt.foundations.runs import Run, why_again
from aquilt.miniature.scoring import judge

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
    (Completion("", "stop"), "the reply is empty"),
    (Completion("", "length"), "cut off at the token limit, all of it thoughts: a larger teacher_max_tokens leaves room for an answer"),
    (Completion("<think>Let me see", "length"), "cut off at the token limit, all of it thoughts: a larger teacher_max_tokens leaves room for an answer"),
    (Completion("<think>x</think>" + said()[:20], "length"), "cut off at the token limit"),
    (Completion(" \n", "content_filter"), "ended by the server, which says content_filter"),
    (Completion(said(), "content_filter"), "ended by the server, which says content_filter"),
    (Completion(said()[:-9], "insufficient_system_resource"), "ended by the server, which says insufficient_system_resource"),
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

    def __init__(self, *completions): self.completions, self.calls = list(completions), []

    def of(self, prompt): return self

    def generate(self, prompts, sampling, desc="", keys=()):
        self.calls.append([p.content for p in prompts])
        self.sampling = sampling
        return [self.completions.pop(0) for _ in prompts]


def test_every_record_is_kept_or_in_the_ledger_in_its_order():
    engine = Scripted(Completion(said(), "stop", Usage(5, 2, 1)), Completion("no", "stop", Usage(5, 1, 1)), Completion("", "error", error="late"), Completion(said(answer="b"), "stop", Usage(4, 2, 1)),
                      Completion("still no", "stop", Usage(7, 1, 1)))
    records = [Record(text=t) for t in "abcd"]
    sent = [[{"role": "system", "content": "write"}, {"role": "user", "content": r.text}] for r in records]
    outcomes = ask_teacher(engine, records, sent, META_KEYS, "s", Sampling(1.0, 1.0, seed=7), "")
    kept, drops = parted(o for o, _ in outcomes)
    assert [r.text for r in kept] == ["a", "d"] and [d.record.text for d in drops] == ["b", "c"]
    assert [usage for _, usage in outcomes] == [Usage(5, 2, 1), Usage(12, 2, 2), Usage(), Usage(4, 2, 1)]
    assert drops[0].raw == "still no" and [len(call) for call in engine.calls] == [4, 1], "what is unreadable is asked for once more, and not twice"
    assert engine.calls[1][0][:3] == [*sent[1], {"role": "assistant", "content": "no"}] and "holds no readable JSON object" in engine.calls[1][0][3]["content"]
    assert {(r.model, r.seed, r.prompt_hash) for r in (*kept, *(d.record for d in drops))} == {("scripted", 7, text_hash("write"))}
    assert engine.calls[0] == sent and (engine.sampling.seed, engine.sampling.temperature) == (7, 1.0)


@pytest.mark.parametrize("problem", [Completion(said()[:20], "length"), Completion("", "error", error="The server is out of order.")])
def test_what_a_second_try_cannot_mend_is_not_asked_again(problem):
    engine = Scripted(problem)
    kept, drops = parted(o for o, _ in ask_teacher(engine, [Record(text="a")], [[{"role": "user", "content": "a"}]], META_KEYS, "s", Sampling(), ""))
    assert len(engine.calls) == 1 and not kept and len(drops) == 1


def test_what_came_instead_of_a_completion_is_in_the_ledger():
    assert read_pair(KNOWN, Completion("<html>busy</html>", "error", error="no completion"), META_KEYS, "s").raw == "<html>busy</html>"


@pytest.mark.parametrize("shares", [[1], [1, 3]])
def test_outcomes_are_made_when_they_are_asked_for(shares):
    class Counted(Scripted):
        def generate(self, prompts, sampling, desc="", keys=()): return OnDemand(len(prompts), lambda i: read.append(i) or Completion(said(question=prompts[i].content[0]["content"]), "stop"))
    read, n = [], 40
    records = [Record(text=str(i)) for i in range(n)]
    teacher = Teachers([Counted() for _ in shares], shares)
    outcomes = ask_teacher(teacher, records, OnDemand(n, lambda i: [{"role": "user", "content": f"about {i}"}]), META_KEYS, "s", Sampling(), "")
    before = len(read)
    assert outcomes[7][0].question == "about 7" and len(read) == before + 1, "no other reply was read for it"
    assert [o.question for o, _ in outcomes] == [f"about {i}" for i in range(n)]


def test_nobody_is_asked_for_no_records():
    assert ask_teacher(Scripted(), [], [], META_KEYS, "s", Sampling(), "") == []


def test_the_profile_says_who_the_teacher_is(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with open_teacher(Run(replace(SMOKE, teacher="big", teacher_url="https://far.example/v1"), tmp_path), tmp_path / "r.jsonl") as far: assert (far.engines[0].model, far.engines[0].base_url) == ("big", "https://far.example/v1")
    with open_teacher(Run(SMOKE, tmp_path)) as near: assert near.engines[0].model == "miniature-teacher" and near.engines[0].base_url.startswith("http://127.0.0.1:")


def test_the_teacher_can_be_asked_in_batches(tmp_path, monkeypatch):
    from aquilt.models.batches import BatchEngine
    monkeypatch.setenv("AQUILT_BATCH", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with open_teacher(Run(replace(SMOKE, teacher="big", teacher_url="https://far.example/v1"), tmp_path), tmp_path / "r.jsonl") as far: assert type(far.engines[0]) is BatchEngine
    with pytest.raises(UserError, match="has no batch API"): pipeline(tmp_path / "run")  # the miniature's teacher


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
        yield received


def pipeline(root, profile=TINY):
    run = Run(profile, root)
    for stage in (corpus(run), labeled(run), distillation(run)): result = do(run, stage)
    return run, result


def data(run):
    return [(run.folder("distillation") / name).read_bytes() for name in ("records.jsonl", "dropped.jsonl")]


def again(received): return sum(len(messages) > 2 for messages in received)


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
    assert counts["entered"] == ASKED == len(kept) + len(drops) and len(received) == ASKED + again(received) and (counts["kept"], counts["dropped"]) == (len(kept), len(drops))
    assert 0 < len(drops) <= again(received) < ASKED / 3 and counts["reasons"] == dict(Counter(d.reason for d in drops)) and all(d.raw and d.reason.startswith("unreadable") for d in drops)
    entered = [*associate(run.records("corpus"), 3, 0), *run.records("labeled")]
    assert Counter((r.text, r.task, r.document) for r in entered) == Counter((r.text, r.task, r.document) for r in (*kept, *(d.record for d in drops)))
    bill = cost_table(run)
    assert bill["prompt_tokens"].iloc[-1] > bill["completion_tokens"].iloc[-1] > 0 and set(bill["cost"]) == {"no price"} and bill["requests"].iloc[-1] == len(received)
    assert sum(result["read_as"].values()) == len(kept) and set(result["read_as"]) <= {"strict", "inside", "repaired"}
    assert {*bill["equation"]} == {"Eq. 1", "Eq. 2", "all"} and abs(bill["at deepseek-chat"].iloc[-1] - bill["at deepseek-chat"][:-1].sum()) < 1e-3


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
    assert len(lines) == len({line["key"] for line in lines}) == len(done[2]) and all(line["key"] == text_hash(line["request"]) for line in lines)
    said = {r.raw for r in done[0].records("distillation")} | {d.raw for d in done[0].drops("distillation")}
    told = {line["reply"]["choices"][0]["message"]["content"]: line["request"]["messages"] for line in lines}
    replaced = {messages[2]["content"] for messages in told.values() if len(messages) > 2}
    assert set(told) == said | replaced and not replaced & {r.raw for r in done[0].records("distillation")}


def test_repeated_from_its_replies_it_asks_nobody(done, copied, asked):
    folder = copied.folder("distillation")
    stored = (folder / "replies.jsonl").read_bytes()
    for name in ("result.json", "records.jsonl", "dropped.jsonl"): (folder / name).unlink()
    again = do(copied, distillation(copied))
    assert asked == [] and data(copied) == data(done[0]) and (folder / "replies.jsonl").read_bytes() == stored
    assert again | {"seconds": 0} == done[1] | {"seconds": 0} and do(copied, distillation(copied)) == again


def test_more_pairs_ask_only_for_the_new_ones(done, copied, asked):
    larger = Run(replace(TINY, pairs_per_task=4), copied.root)
    result = do(larger, distillation(larger))
    before = [text_hash(m) for m in done[2]]
    assert result["counts"]["entered"] == 2 * 9 * 4 + 15 and 0 < len(asked) - again(asked) <= 2 * 9 * 4 and not {text_hash(m) for m in asked} & set(before)


def test_another_seed_asks_again_and_writes_other_pairs(done, copied, asked):
    assert do(copied, distillation(copied, seed=1))["counts"]["entered"] == len(asked) - again(asked) == ASKED and data(copied) != data(done[0])


def test_a_server_that_answers_nothing_costs_its_records_until_it_does(tmp_path, monkeypatch, asked):
    answer, dumb = teacher.reply, lambda sent, *settings: "" if "useful single-choice Q&A" in sent[0]["content"] else answer(sent, *settings)
    with monkeypatch.context() as patch:
        patch.setattr(teacher, "reply", dumb)
        run, result = pipeline(tmp_path / "run", replace(TINY, teacher_faults=0.0))
        assert result["counts"]["kept"] == ASKED - 6 and result["passing"] == result["counts"]["dropped"] == 6 and {d.record.task for d in run.drops("distillation")} == {"single_choice"}
        assert all(d.reason.startswith("passing: ") and "is empty, also when it was asked for once more" in d.reason for d in run.drops("distillation"))
        assert why_again(run, distillation(run)) == ["6 of its requests failed in passing"]
        patch.setenv("AQUILT_COMMAND", "the next")
        do(run, distillation(run))
        assert why_again(run, distillation(run)) == [], "the command that made it asks no more"
    asked.clear()
    healed = do(run, distillation(run))
    whole, undisturbed = pipeline(tmp_path / "whole", replace(TINY, teacher_faults=0.0))
    assert len(asked) == 6 + ASKED and data(run) == data(whole) and healed["hash"] == undisturbed["hash"] != result["hash"] and "passing" not in healed
    assert cost_table(run)["requests"].iloc[-1] == ASKED + 6 * 4, "each of the six was paid for five times"


def wavering(rate):
    "A teacher whose server, three times in ten, sends something else: by the request and how often it came."
    bodies = [{"error": {"message": "Rate limit exceeded", "code": 429}}, {"choices": None}, {"choices": []}, {}, {"detail": "busy"}]
    class Wavering(teacher._handler(0.2)):
        tries = Counter()
        def _send(self, document):
            key = document["id"] + str(document["choices"])
            self.tries[key] += 1
            rng = random.Random(f"{key} {self.tries[key]}")
            choice = document["choices"][0]
            if rng.random() >= rate: choice["message"] |= {"reasoning_content": "hm"} if rng.random() < 0.5 else {"content": [{"type": "thinking", "thinking": "{}"}, {"type": "text", "text": choice["message"]["content"]}]}
            elif (kind := rng.randrange(8)) < 5: document = bodies[kind]
            else: choice |= [{"finish_reason": "insufficient_system_resource"}, {"message": {"content": None}}, {"message": {"content": ""}}][kind - 5]
            super()._send(document)
    return Wavering


def test_a_server_that_wavers_leaves_the_records_of_one_that_does_not(tmp_path, monkeypatch, done):
    from aquilt.models import api
    monkeypatch.setattr(api, "backoff_seconds", lambda attempt: 0.001)
    Wavering = wavering(0.3)
    monkeypatch.setattr(teacher, "_handler", lambda faults: Wavering)
    run, result = pipeline(tmp_path)
    while "passing" in result: result = do(run, distillation(run))
    assert data(run) == data(done[0]) and result["hash"] == done[1]["hash"] and sum(Wavering.tries.values()) > 1.2 * ASKED
    used = [row["reply"]["usage"] for row in stored(run.folder("distillation") / "replies.jsonl")]
    assert cost_table(run)["requests"].iloc[-1] == len(used), "what was empty is in the bill"


KILLED = """
import sys, time
from dataclasses import replace
from pathlib import Path
from aquilt.foundations import runs
from aquilt.miniature import server as teacher
from aquilt.corpus import corpus, labeled
from aquilt.distillation import distillation
from aquilt.foundations.profiles import SMOKE
answer = teacher.reply
def slow(*arguments):
    time.sleep(0.3)
    return answer(*arguments)
teacher.reply = slow
run = runs.Run(replace(SMOKE, passages_per_source=2, pairs_per_task=3, labeled_pairs=3, teacher_faults=0.2), Path(sys.argv[1]))
for stage in (corpus(run), labeled(run), distillation(run)): runs.perform(run, stage, runs.decides(run, stage), {})
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
    assert 0 < kept < ASKED and len(asked) == len(done[2]) - kept
    assert data(run) == data(done[0]) and result | {"seconds": 0} == done[1] | {"seconds": 0}
    keys = [{json.loads(line)["key"] for line in (r.folder("distillation") / "replies.jsonl").open()} for r in (run, done[0])]
    assert keys[0] == keys[1]


# ---- money

SHEET = """[[price]]
model = "miniature-teacher"
since = 2020-01-01T00:00:00Z
input = 100.0
cached = 10.0
output = 400.0
source = "a test"
"""


@pytest.fixture
def sheet(tmp_path, monkeypatch):
    (tmp_path / "prices.toml").write_text(SHEET)
    monkeypatch.setenv("AQUILT_PRICES", str(tmp_path / "prices.toml"))
    return monkeypatch


def test_a_run_stops_at_its_budget_and_a_larger_one_goes_on(tmp_path, sheet, asked):
    sheet.setenv("AQUILT_BUDGET", "0.5")
    before = len(asked)
    with pytest.raises(UserError, match=r"The budget of 0.5 is spent, .* To go on, repeat the command with a larger --budget"): pipeline(tmp_path / "run")
    first = len(asked) - before
    sheet.setenv("AQUILT_BUDGET", "500")
    run, result = pipeline(tmp_path / "run")
    assert 0 < first < result["counts"]["entered"] == len(asked) - before - again(asked[before:]), "nothing is paid for twice"
    total = cost_table(run)["cost"].iloc[-1]
    rates = cost_table(run).iloc[-1]
    assert abs(total - (rates.prompt_tokens * 100 + rates.completion_tokens * 400) / 1e6) < 1e-3
    assert 0.5 <= float(stored_cost(tmp_path / "run/distillation/replies.jsonl", tuple(load_prices(tmp_path / "prices.toml")))) == pytest.approx(total, abs=1e-3)


def test_what_each_record_used_and_cost(tmp_path, sheet):
    run, result = pipeline(tmp_path / "run")
    used = [json.loads(line) for line in (run.folder("distillation") / "usage.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(used) == result["counts"]["entered"] and sum(row["kept"] for row in used) == result["counts"]["kept"] < len(used)
    replies = [row["reply"]["usage"] for row in stored(run.folder("distillation") / "replies.jsonl")]
    for field in ("prompt_tokens", "completion_tokens"): assert sum(row[field] for row in used) == sum(usage[field] for usage in replies), "as the server counts"
    assert sum(row["requests"] for row in used) == len(replies) > len(used), "what is asked twice is paid for twice"
    assert all(row["cost"] == pytest.approx((100 * row["prompt_tokens"] + 400 * row["completion_tokens"]) / 1e6) for row in used)
    known = {(r.source, r.document, r.task) for r in run.records("distillation")}
    assert {(row["source"], row["document"], row["task"]) for row in used if row["kept"]} == known


def test_other_stages_count_towards_the_budget(tmp_path, sheet):
    run, _ = pipeline(tmp_path / "run")
    sheet.setenv("AQUILT_BUDGET", "0.01")
    with open_teacher(run, tmp_path / "run/later/replies.jsonl") as teacher: assert teacher.engines[0].spent > 0.01 and teacher.engines[0].budget == Decimal("0.01")


def test_how_teachers_are_asked(tmp_path, monkeypatch):
    given = {"concurrency": 256, "requests_per_minute": 500.0, "tokens_per_minute": 2e5, "timeout": 90.0}
    for name, value in given.items(): monkeypatch.setenv(f"AQUILT_{name.upper()}", str(value))
    several = replace(SMOKE, teachers=("a@http://127.0.0.1:9/v1*2", "b@http://127.0.0.1:8/v1"))
    for profile in (SMOKE, several):
        with open_teacher(Run(profile, tmp_path), tmp_path / "r.jsonl") as teacher:
            assert all({name: getattr(engine, name) for name in given} == given for engine in teacher.engines)
    for name in given: monkeypatch.setenv(f"AQUILT_{name.upper()}", "")
    with open_teacher(Run(SMOKE, tmp_path)) as teacher: assert (teacher.engines[0].concurrency, teacher.engines[0].timeout) == (64, 600)


@pytest.mark.parametrize("name, value", [("CONCURRENCY", "2.5"), ("CONCURRENCY", "many"), ("TIMEOUT", "0"), ("TIMEOUT", "inf"), ("TOKENS_PER_MINUTE", "nan"), ("REQUESTS_PER_MINUTE", "-1")])
def test_a_limit_that_is_none(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(f"AQUILT_{name}", value)
    with pytest.raises(UserError, match=rf"AQUILT_{name} \(--[a-z-]+\) is '{value}': give a (whole )?number above 0"):
        with open_teacher(Run(SMOKE, tmp_path)): pass


def test_the_teacher_s_replies_have_a_limit_of_their_own(tmp_path):
    run, _ = pipeline(tmp_path / "run", replace(TINY, teacher_max_tokens=77))
    assert {row["request"]["max_tokens"] for row in stored(run.folder("distillation") / "replies.jsonl")} == {77}


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf", "1,5"])
def test_a_budget_that_is_no_amount(tmp_path, sheet, given):
    sheet.setenv("AQUILT_BUDGET", given)
    with pytest.raises(UserError, match="is no amount"), open_teacher(Run(SMOKE, tmp_path), tmp_path / "r.jsonl"): pass


def test_an_estimate_is_kept_and_holds_the_cost(tmp_path, sheet, asked):
    run = Run(TINY, tmp_path / "run")
    for stage in (corpus(run), labeled(run)): do(run, stage)
    before = len(asked)
    expected = estimate(run, 20)
    assert len(asked) - before - again(asked[before:]) == expected.groupby("equation")["sample"].first().sum()
    _, result = pipeline(tmp_path / "run")
    assert len(asked) - before - again(asked[before:]) == result["counts"]["entered"], "the sample is not asked again"
    rows = expected[expected["what"] == "cost"]
    assert rows["from"].sum() <= cost_table(run)["cost"].iloc[-1] <= rows["to"].sum()


def test_an_estimate_holds_what_the_run_cost_in_nine_of_ten_seeds(tmp_path, sheet):
    run, result = pipeline(tmp_path / "run", replace(TINY, pairs_per_task=30, labeled_pairs=30))
    cost = cost_table(run).groupby("equation")["cost"].sum()
    held = Counter()
    for seed in range(10):
        expected = estimate(run, 100, seed)
        rows = expected[expected["what"] == "cost"].set_index("equation")
        for equation, row in rows.iterrows(): held[equation] += row["from"] <= cost[equation] + 1e-3 and cost[equation] - 1e-3 <= row["to"]
        held["both"] += rows["from"].sum() <= cost["all"] <= rows["to"].sum()
    assert set(rows["sample"]) == {100} and set(rows.index) == {"Eq. 1", "Eq. 2"} and min(held.values()) >= 9, held


def test_an_estimate_says_how_many_of_its_sample_are_of_use(tmp_path, sheet):
    answer = teacher.reply
    run = Run(replace(TINY, teacher_faults=0.0), tmp_path / "run")
    for stage in (corpus(run), labeled(run)): do(run, stage)
    sheet.setattr(teacher, "reply", lambda sent, *settings: "no" if "single-choice" in sent[0]["content"] else answer(sent, *settings))
    rows = estimate(run, 1000).groupby("equation")[["sample", "records", "cut off"]].first()
    assert rows.loc["Eq. 1"].tolist() == [54, 48, 0] and rows.loc["Eq. 2"].tolist() == [15, 15, 0]


def test_an_estimate_of_failures_alone_is_one_sentence_and_no_price(tmp_path, sheet):
    from aquilt.models import api
    run, class_of = Run(TINY, tmp_path / "run"), teacher._handler
    for stage in (corpus(run), labeled(run)): do(run, stage)
    sheet.setattr(api, "backoff_seconds", lambda attempt: 0.001)
    def down(faults):
        return type("Down", (class_of(0.0),), {"_send": lambda self, document: class_of(0.0)._send(self, {"error": "overloaded"} if only(document) else document)})
    only = lambda document: '"question"' not in document["choices"][0]["message"]["content"]  # Eq. 2 asks for the logic alone
    sheet.setattr(teacher, "_handler", down)
    rows = estimate(run, 4)
    second = rows[rows["equation"] == "Eq. 2"]
    assert second["estimate"].isna().all() and (second["failed"] == 4).all() and (rows[rows["equation"] == "Eq. 1"]["estimate"] > 0).all()
    only = lambda document: True
    (run.folder("distillation") / "replies.jsonl").unlink()
    with pytest.raises(UserError, match="None of the sample's 8 requests gave a record, the first so: passing: .*overloaded"): estimate(run, 4)


def test_an_estimate_counts_a_limit_spent_on_thinking(tmp_path, sheet):
    class_of = teacher._handler
    run = Run(replace(TINY, teacher_faults=0.0), tmp_path / "run")
    for stage in (corpus(run), labeled(run)): do(run, stage)
    def thinks(self, document):
        if int(document["id"], 16) % 2: document["choices"][0] |= {"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "length"}
        class_of(0.0)._send(self, document)
    sheet.setattr(teacher, "_handler", lambda faults: type("Thinks", (class_of(0.0),), {"_send": thinks}))
    rows = estimate(run, 1000)
    assert (rows["cut off"] > 0).all() and (rows["cut off"] + rows["records"] == rows["sample"]).all()


def test_an_estimate_says_what_batches_would_cost(tmp_path, sheet):
    run = Run(TINY, tmp_path / "run")
    for stage in (corpus(run), labeled(run)): do(run, stage)
    assert "cost with --batch" not in set(estimate(run, 5)["what"])
    (tmp_path / "prices.toml").write_text(SHEET + "batch = 0.5\n")
    single, batched = (rows["estimate"].sum() for _, rows in estimate(run, 5).groupby("what") if rows["what"].iloc[0].startswith("cost"))
    assert batched == pytest.approx(single / 2, abs=1e-3) and batched > 0


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_interval_holds_the_total_in_nine_cases_of_ten(start):
    held = 0
    for seed in range(start, start + 40):
        rng = random.Random(seed)
        costs = [rng.lognormvariate(0, 0.4) for _ in range(2000)]
        _, low, high = total_from(rng.sample(costs, 100), len(costs))
        held += low <= sum(costs) <= high
    assert held >= 33  # 38 are expected; below 33 of 40 in one case of thousands


def test_a_sample_of_all_has_no_doubt():
    assert total_from([1.0, 3.0], 2) == (4.0, 4.0, 4.0) and total_from([2.0], 5)[2] == float("inf") and total_from([], 0) == (0, 0.0, float("inf")) and total_from([], 5)[0] != total_from([], 5)[0]


# ---- several teachers

def test_several_teachers_share_the_work_by_weight_and_each_record_names_its_own(tmp_path, asked):
    with teacher.teacher_server() as url:
        run, result = pipeline(tmp_path, replace(TINY, teachers=(f"small@{url}*1", f"large@{url}*3")))
        by = Counter(r.model for r in run.records("distillation"))
        assert set(by) == {"small", "large"} and by["large"] > 1.5 * by["small"] and result["counts"]["kept"] == ASKED
        bill = cost_table(run)
        assert set(bill["teacher"]) == {"small", "large", ""} and bill["requests"].iloc[-1] == ASKED
        assert sum(usage for usage in bill["requests"][:-1][bill["teacher"][:-1] == "large"]) == by["large"]
        asked.clear()
        (run.folder("distillation") / "result.json").unlink()
        assert do(run, distillation(run))["bill"] == result["bill"] and asked == [], "the same prompt has the same teacher"


@pytest.mark.parametrize("text, read", [("m@http://localhost:8000/v1", ("m", "http://localhost:8000/v1", 1, "OPENAI_API_KEY")), ("org/m@https://x.example*2.5", ("org/m", "https://x.example", 2.5, "OPENAI_API_KEY")),
                                        ("m@https://x.example*2|OTHER_KEY", ("m", "https://x.example", 2, "OTHER_KEY")), ("m@https://x.example|K", ("m", "https://x.example", 1, "K"))])
def test_how_a_teacher_is_written(text, read): assert read_teacher(text) == read


@pytest.mark.parametrize("text", ["", "m", "@https://x", "m@", "m@https://x*", "m@https://x*0", "m@https://x*-1", "m@https://x*two"])
def test_what_is_no_teacher(text):
    with pytest.raises(UserError, match="is no teacher: write MODEL@URL"): read_teacher(text)


# ---- the review of logic

def filled(sheet, answers):
    "The sheet with `answers(record, question)` filled in, under another name."
    with sheet.open(encoding="utf-8-sig", newline="") as file: rows = list(csv.DictReader(file))
    for row in rows: row |= {q: answers(int(row["record"]), q) for q in QUESTIONS}
    path = sheet.with_name(f"filled{random.random()}.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


SAID = [Record(text=f"passage {i}, 河", question="q\nq", logic='"l", l', answer="a") for i in range(30)]


def test_a_sheet_is_a_random_sample_with_room_for_answers(tmp_path):
    sheet = write_review(SAID, tmp_path / "review.csv", 10, seed=1)
    with sheet.open(encoding="utf-8-sig", newline="") as file: rows = list(csv.DictReader(file))
    assert len(rows) == 10 and all(SAID[int(r["record"])].text == r["passage"] and r["logic"] == '"l", l' and not any(r[q] for q in QUESTIONS) for r in rows)
    assert sheet.read_bytes() == write_review(SAID, tmp_path / "again.csv", 10, seed=1).read_bytes() != write_review(SAID, tmp_path / "other.csv", 10, seed=2).read_bytes()
    assert len(list(csv.reader(write_review(SAID[:3], tmp_path / "few.csv", 10).open(encoding="utf-8-sig")))) >= 4


def test_shares_and_agreement_follow_from_the_filled_sheets(tmp_path):
    sheet = write_review(SAID, tmp_path / "review.csv", 30)
    one = filled(sheet, lambda i, q: "yes" if i % 3 else "no")
    two = filled(sheet, lambda i, q: " YES " if i % 3 else ("no" if i % 2 else "yes"))
    alone, both = review(one), review(one, two)
    assert alone["yes"].tolist() == [2 / 3] * 3 and alone["kappa"].tolist() == [None] * 3
    assert both["answers"].tolist() == [60] * 3 and both["agreement"].tolist() == [25 / 30] * 3 and all(0.4 < k < 0.7 for k in both["kappa"])


def test_no_cell_of_a_sheet_is_a_formula(tmp_path):
    sheet = write_review([Record(text="+x", task="=t", question="@q", logic="=cmd|' /C calc'!A0", answer="-1")], tmp_path / "review.csv")
    with sheet.open(encoding="utf-8-sig", newline="") as file: _, row = csv.reader(file)
    assert row == ["0", "'=t", "en", "'+x", "'@q", "'=cmd|' /C calc'!A0", "-1", "", "", ""]


def test_a_sheet_that_cannot_be_used_is_one_sentence(tmp_path):
    sheet = write_review(SAID, tmp_path / "review.csv", 5)
    with pytest.raises(UserError, match="is not filled in"): review(sheet)
    with pytest.raises(UserError, match="'maybe' is neither yes nor no"): review(filled(sheet, lambda i, q: "maybe"))
    with pytest.raises(UserError, match="cannot be read as a sheet"): review(tmp_path / "none.csv")
    (tmp_path / "gb.csv").write_bytes("记录".encode("gb18030"))
    with pytest.raises(UserError, match="save it as CSV in UTF-8"): review(tmp_path / "gb.csv")
