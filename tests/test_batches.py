"Batches against a provider on loopback that finishes them, lets them expire, refuses them, or is killed between any two steps."
import json
import random
import re
import socket
import threading
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aquilt.corpus import corpus, labeled
from aquilt.distillation import distillation
from aquilt.miniature.server import reply as taught
from aquilt.models import batches
from aquilt.models.api import APIEngine
from aquilt.models.batches import BatchEngine, complaint
from aquilt.foundations.core import UserError, passing, read_drops, read_records, text_hash
from aquilt.models.engines import Prompt, Sampling
from aquilt.models.prices import Price
from aquilt.models.replies import ReplyStore, list_replies, reply_cost, stored, stored_cost
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from stages import done as do

KEY = "sk-planted-0123456789"
PROMPTS = [Prompt(f"question {i} 河") for i in range(8)]
KEYS = ("question", "answer")


class Provider(ThreadingHTTPServer):
    "`outcome(body)` gives status and reply for a request, None for one whose turn does not come; `ends` is what a batch ends as, `dies` the step at which connections break, `deaths` how many."
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.batches, self.calls, self.answered = {}, {}, [], []
        self.outcome, self.ends, self.looks, self.dies, self.deaths, self.keys = self.well, "completed", 1, "", 9, set()
        self.state, self.room, self.keeps, self.raw, self.cuts = "in_progress", 99, True, [], 0  # the name of waiting; batches at once; whether a batch is made though the answer is lost; odd lines; broken downloads
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self): return f"http://127.0.0.1:{self.server_port}/v1"

    def well(self, body):
        return 200, {"created": 1_770_000_000, "choices": [{"message": {"content": f"answer to {body['messages'][-1]['content']}"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 100, "completion_tokens": 50}}

    def handle_error(self, *args): pass

    def finish(self, batch):
        good, bad = [], []
        for line in map(json.loads, self.files[batch["input_file_id"]]):
            if not (found := self.outcome(line["body"])): continue
            self.answered.append(line["body"]["messages"][-1]["content"])
            (good if found[0] == 200 else bad).append(json.dumps({"id": "x", "custom_id": line["custom_id"], "response": {"status_code": found[0], "request_id": "r", "body": found[1]}, "error": None}, ensure_ascii=False).encode())
        good += self.raw
        batch["status"] = self.ends
        for name, lines in (("output", good), ("error", bad)):
            if lines: self.files[f"{batch['id']}-{name}"], batch[f"{name}_file_id"] = lines, f"{batch['id']}-{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version, refuses = "HTTP/1.1", b""

    def do_POST(self):
        body, server = self.rfile.read(int(self.headers["Content-Length"])), self.server
        server.keys.add(self.headers["Authorization"])
        if self.path == "/v1/files":
            name = f"file-{len(server.files)}"
            server.files[name] = re.findall(rb'^{"custom_id".*}', body, re.MULTILINE)
            return self.say("upload", {"id": name, "object": "file"})
        if self.path == "/v1/chat/completions": return self.say("chat", server.well(json.loads(body))[1])
        asked, name = json.loads(body), f"batch-{len(server.batches)}"
        if server.dies == "create" and not server.keeps: return self.say("create", {})
        if self.refuses and self.refuses in server.files[asked["input_file_id"]][0]: return self.say("create", {"error": {"message": "no batches for this model"}}, 400)
        server.batches[name] = asked | {"id": name, "status": server.state, "seen": 0}
        full = sum(b["status"] == server.state for b in server.batches.values()) > server.room
        if server.ends == "failed" or full: server.batches[name] |= {"status": "failed", "errors": {"data": [{"code": "x", "message": "Enqueued token limit reached."}]}}
        self.say("create", server.batches[name])

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0].removeprefix("/v1/").split("/")
        if path == ["batches"]:  # one to a page, the newest first
            names = list(server.batches)[::-1]
            place = names.index(after[1]) + 1 if (after := re.search(r"after=([\w-]+)", self.path)) else 0
            return self.say("list", {"data": [server.batches[name] for name in names[place:place + 1]], "has_more": place + 1 < len(names)})
        if path[0] == "files": return self.say("content", b"\n".join(server.files[path[1]]) + b"\n")
        batch = server.batches[path[1]]
        batch["seen"] += 1
        if batch["seen"] > server.looks and batch["status"] == server.state: server.finish(batch)
        self.say("retrieve", batch)

    def say(self, step, reply, status=200):
        self.server.calls.append(step)
        if self.server.dies == step and self.server.deaths:
            self.server.deaths, self.close_connection = self.server.deaths - 1, True
            return self.connection.shutdown(socket.SHUT_RDWR)
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if step == "content" and self.server.cuts:
            self.server.cuts, self.close_connection, data = self.server.cuts - 1, True, data[:len(data) // 2]
        self.wfile.write(data)

    def log_message(self, *args): pass


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(batches, "EVERY", 0.01)
    monkeypatch.setattr(batches, "PATIENCE", 0.03)
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(tmp_path): return tmp_path / "replies.jsonl"


def engine(provider, store, **settings): return BatchEngine("m", provider.url, replies=store, **{"retries": 0} | settings)


def test_the_replies_are_those_of_single_requests(provider, store, tmp_path):
    batch = engine(provider, store).generate(PROMPTS, Sampling(), keys=KEYS)
    live = APIEngine("m", provider.url, replies=tmp_path / "live" / "replies.jsonl").generate(PROMPTS, Sampling(), keys=KEYS)
    assert [c.text for c in batch] == [c.text for c in live] and [c.usage.completion_tokens for c in batch] == [50] * 8
    assert {row["key"] for row in stored(store)} == {row["key"] for row in stored(tmp_path / "live" / "replies.jsonl")}
    assert all(row["reply"]["batch"] == "batch-0" and row["request"]["response_format"] for row in stored(store))
    assert provider.keys == {f"Bearer {KEY}"} and not list(engine(provider, store).folder.glob("*"))


def test_what_is_stored_is_not_sent_again_by_either_engine(provider, store):
    APIEngine("m", provider.url, replies=store).generate(PROMPTS[:3], Sampling())
    engine(provider, store).generate(PROMPTS, Sampling())
    assert sorted(provider.answered) == [p.content for p in PROMPTS[3:]]
    calls = len(provider.calls)
    engine(provider, store).generate(PROMPTS, Sampling())
    APIEngine("m", provider.url, replies=store).generate(PROMPTS, Sampling())
    assert len(provider.calls) == calls


@pytest.mark.parametrize("step", ["upload", "create", "retrieve", "content"])
def test_a_break_at_any_step_pays_nothing_twice(provider, store, step):
    provider.dies = step
    with pytest.raises(UserError, match="the same command finds it") as broken: engine(provider, store).generate(PROMPTS, Sampling())
    assert KEY not in str(broken.value) and "\n" not in str(broken.value)
    provider.dies, provider.deaths = "list", 9
    with pytest.raises(UserError, match="the same command finds it"): engine(provider, store).generate(PROMPTS, Sampling())
    provider.dies = ""
    completions = engine(provider, store).generate(PROMPTS, Sampling())
    assert [c.text for c in completions] == [f"answer to {p.content}" for p in PROMPTS]
    assert len(provider.batches) == 1 and sorted(provider.answered) == [p.content for p in PROMPTS]


def killed_at_the_fourth(provider, store, monkeypatch):
    "A call that dies when it stores its fourth reply."
    put, left = ReplyStore.put, [3]
    def die(self, *row):
        if not left[0]: raise MemoryError
        left[0] -= 1
        put(self, *row)
    with monkeypatch.context() as patch:
        patch.setattr(ReplyStore, "put", die)
        with pytest.raises(MemoryError): engine(provider, store).generate(PROMPTS, Sampling())


def test_a_kill_while_replies_are_stored_pays_nothing_twice(provider, store, monkeypatch):
    killed_at_the_fourth(provider, store, monkeypatch)
    assert len(list(stored(store))) == 3
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling()))
    assert len(provider.batches) == 1 and len(list(stored(store))) == 8


def test_passing_failures_are_tried_again(provider, store):
    provider.dies, provider.deaths = "retrieve", 2
    assert all(c.text for c in engine(provider, store, retries=2).generate(PROMPTS, Sampling())) and len(provider.batches) == 1


@pytest.mark.parametrize("ends", ["expired", "cancelled", "COMPLETED"])
def test_what_was_not_reached_goes_in_the_next_batch(provider, store, ends):
    def outcome(body):
        return provider.well(body) if len(provider.answered) < 3 * len(provider.batches) else None
    provider.ends, provider.outcome = ends, outcome
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling()))
    assert len(provider.batches) == 3 and sorted(provider.answered) == [p.content for p in PROMPTS]


def test_a_busy_provider_s_refusals_are_tried_again(provider, store):
    provider.outcome = lambda body: provider.well(body) if "3" in body["messages"][0]["content"] or len(provider.batches) > 1 else (429, {"error": {"message": "busy"}})
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling())) and len(provider.batches) == 2


def test_a_request_that_always_fails_holds_nobody_up(provider, store):
    provider.outcome = lambda body: (500, {"error": {"message": "out of order"}}) if "question 2" in body["messages"][0]["content"] else provider.well(body)
    completions = engine(provider, store).generate(PROMPTS, Sampling())
    assert [i for i, c in enumerate(completions) if c.finish_reason == "error"] == [2] and "status 500: out of order" in completions[2].error and len(provider.batches) == 2


@pytest.mark.parametrize("ends", ["expired", "failed"])
def test_a_round_that_brings_nothing_is_one_sentence_and_no_loss(provider, store, ends):
    provider.ends, provider.outcome = ends, lambda body: None
    said = "answered none of 8 requests to m: batch batch-0 ended as " + ("failed: Enqueued token limit reached" if ends == "failed" else "expired")
    with pytest.raises(UserError, match=said): engine(provider, store).generate(PROMPTS, Sampling())
    provider.ends, provider.outcome = "completed", provider.well
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling())) and sorted(provider.answered) == [p.content for p in PROMPTS]


def test_a_provider_that_queues_one_batch_gets_one_after_the_other(provider, store, monkeypatch):
    monkeypatch.setattr(batches, "MOST", 2)
    provider.room = 1
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling())) and sorted(provider.answered) == [p.content for p in PROMPTS]


@pytest.mark.parametrize("state", ["in_queue", "IN_PROGRESS", "something new"])
def test_a_state_of_another_name_is_no_end(provider, store, state):
    provider.state, provider.looks = state, 3
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling())) and len(provider.batches) == 1


def test_a_file_that_never_became_a_batch_is_decided_upon_afresh(provider, store, tmp_path):
    provider.dies = "create"
    provider.keeps = False
    with pytest.raises(UserError, match="the same command finds it"): engine(provider, store).generate(PROMPTS, Sampling())
    provider.dies, provider.keeps = "", True
    assert len(list(engine(provider, store).folder.glob("*"))) == 1
    APIEngine("m", provider.url, replies=store).generate(PROMPTS, Sampling())
    engine(provider, store).generate(PROMPTS, Sampling())
    assert not provider.batches and not list(engine(provider, store).folder.glob("*"))


def test_teachers_with_one_store_keep_their_files_apart(provider, store):
    provider.dies = "retrieve"
    with pytest.raises(UserError): engine(provider, store).generate(PROMPTS[:4], Sampling())
    provider.dies = ""
    other = BatchEngine("other", provider.url, replies=store, retries=0)
    other.generate(PROMPTS[4:], Sampling())
    assert len(provider.batches) == 2 and [json.loads(provider.files[b["input_file_id"]][0])["body"]["model"] for b in provider.batches.values()] == ["m", "other"]
    engine(provider, store).generate(PROMPTS[:4], Sampling())
    assert len(provider.batches) == 2 and len(provider.answered) == 8


def test_a_model_that_has_no_batches_leaves_no_file(provider, store):
    provider.RequestHandlerClass = type("Picky", (Handler,), {"refuses": b"m"})
    with pytest.raises(UserError, match="status 400"): engine(provider, store).generate(PROMPTS, Sampling())
    assert not list(engine(provider, store).folder.glob("*"))


def test_strange_lines_cost_one_request_each(provider, store):
    odd = {"1": [200, None], "2": [200, "\u2028 and \u0085"]}
    def outcome(body):
        for mark, (status, text) in odd.items():
            if f"question {mark}" in body["messages"][0]["content"]:
                if text is None: odd.pop("1")
                return (200, provider.well(body)[1] | {"choices": [{"message": {"content": text}}]}) if text else None
        return provider.well(body)
    provider.outcome, provider.raw = outcome, [b"{", b"[1]", b'"x"', b'{"custom_id": "unknown"}', b'{"response": "busy"}']
    completions = engine(provider, store).generate(PROMPTS, Sampling())
    assert completions[2].text == "\u2028 and \u0085" and all(c.text for c in completions) and len(provider.batches) == 2


def test_a_request_is_one_line_for_every_reader(provider, store):
    asked = [Prompt(f"a{mark}b") for mark in "\u2028\u2029\x85"]
    path, = batches.write_batches(store.parent, [(str(i), {"messages": [{"content": p.content}]}) for i, p in enumerate(asked)])
    assert [json.loads(line)["body"]["messages"][0]["content"] for line in path.read_text(encoding="utf-8").splitlines()] == [p.content for p in asked]
    assert [c.text for c in engine(provider, store).generate(asked, Sampling())] == [f"answer to {p.content}" for p in asked]


def test_a_download_that_breaks_half_way_is_begun_again(provider, store):
    provider.cuts = 2
    assert all(c.text for c in engine(provider, store, retries=3).generate(PROMPTS, Sampling())) and len(provider.batches) == 1


def test_a_refused_request_costs_one_record(provider, store):
    provider.outcome = lambda body: (400, {"error": {"message": f"too long\n for {KEY}"}}) if "question 2" in body["messages"][0]["content"] else provider.well(body)
    completions = engine(provider, store).generate(PROMPTS, Sampling())
    assert [i for i, c in enumerate(completions) if c.finish_reason == "error"] == [2] and "status 400: too long" in completions[2].error and "\n" not in completions[2].error
    assert KEY not in completions[2].error and len(provider.batches) == 1


def lines(content, reason="stop"): return 200, {"choices": [{"message": {"content": content}, "finish_reason": reason}], "usage": {"prompt_tokens": 100, "completion_tokens": 50}}


@pytest.mark.parametrize("bad", [(200, {"error": {"message": "Rate limit exceeded"}}), (200, {"choices": None}), (200, None), (200, "<html>"), lines("half", "insufficient_system_resource"), lines(None), lines("", None)])
def test_a_reply_that_answers_nothing_goes_in_the_next_batch(provider, store, bad):
    provider.outcome = lambda body: bad if "question 2" in body["messages"][0]["content"] and len(provider.batches) == 1 else provider.well(body)
    assert [c.text for c in engine(provider, store).generate(PROMPTS, Sampling())] == [f"answer to {p.content}" for p in PROMPTS]
    assert len(provider.batches) == 2 and len(provider.answered) == 9


def test_what_stays_so_is_told_and_the_next_call_asks_again(provider, store):
    bad, up = {"1": (200, {"error": "overloaded"}), "2": lines(""), "3": lines("half an ans", "content_filter")}, []
    provider.outcome = lambda body: provider.well(body) if up else bad.get(body["messages"][0]["content"].split()[1]) or provider.well(body)
    completions = engine(provider, store).generate(PROMPTS, Sampling())
    assert [c.error.partition(": ")[0] == "passing" for c in completions] == [False, True, True, *[False] * 5] and "overloaded" in completions[1].error
    assert completions[2].error.endswith("the reply is empty, also when it was asked for once more") and completions[2].usage.requests == 2
    assert completions[3].error.endswith("content_filter") and len(provider.answered) == 8 + 2 + 1, "a filter's end is final"
    up.append(True)
    again = engine(provider, store).generate(PROMPTS, Sampling())
    assert len(provider.answered) == 11 + 2 and again[1].text and again[2].text and again[3] == completions[3] and again[2].usage.requests == 3


def test_what_is_always_broken_off_or_empty_ends(provider, store):
    provider.outcome = lambda body: lines("half", "insufficient_system_resource") if int(body["messages"][0]["content"].split()[1]) % 2 else lines("")
    completions = engine(provider, store).generate(PROMPTS, Sampling())
    assert all(c.error.startswith("passing: ") for c in completions) and len(provider.batches) <= 3
    assert sum(c.usage.requests for c in completions) == len(list(stored(store))) == len(provider.answered)


def test_a_kill_after_an_empty_reply_counts_it_once(provider, store, monkeypatch):
    provider.outcome = lambda body: lines("") if "question 0" in body["messages"][0]["content"] and len(provider.batches) == 1 else provider.well(body)
    killed_at_the_fourth(provider, store, monkeypatch)
    first = engine(provider, store).generate(PROMPTS, Sampling())[0]
    assert first.text and first.usage.requests == 2 and len(list(stored(store))) == 9 and len(provider.batches) == 2


def test_what_came_instead_of_a_reply_is_kept_raw(provider, store):
    provider.outcome = lambda body: (200, {"odd": KEY}) if "question 2" in body["messages"][0]["content"] else provider.well(body)
    completion = engine(provider, store).generate(PROMPTS, Sampling())[2]
    assert json.loads(completion.text)["body"] == {"odd": "***"} and "not a chat completion" in completion.error


def test_a_model_that_refuses_everything_is_one_sentence(provider, store, monkeypatch):
    monkeypatch.setattr(batches, "IN_A_ROW", 8)
    provider.outcome = lambda body: (400, {"error": {"message": "max_tokens is not supported"}})
    with pytest.raises(UserError, match="None of 8 requests was answered, the first so: .*status 400: max_tokens is not supported. Correct that, or repeat the command without --batch"): engine(provider, store).generate(PROMPTS, Sampling())
    assert [c.finish_reason for c in engine(provider, store).generate(PROMPTS[:7], Sampling())] == ["error"] * 7


def test_a_server_that_refuses_a_schema_is_asked_plainly(provider, store):
    provider.outcome = lambda body: (400, {"error": {"message": "response_format is not supported"}}) if "response_format" in body else provider.well(body)
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling(), keys=KEYS)) and len(provider.batches) == 2
    assert all(c.text for c in engine(provider, store).generate(PROMPTS, Sampling(), keys=KEYS)) and len(provider.batches) == 2


def test_equal_prompts_are_different_requests(provider, store):
    assert len(engine(provider, store).generate([PROMPTS[0]] * 3, Sampling())) == 3 and len(provider.answered) == 3


def test_many_requests_go_in_several_files(provider, store, monkeypatch):
    monkeypatch.setattr(batches, "MOST", 3)
    engine(provider, store).generate(PROMPTS, Sampling())
    assert len(provider.batches) == 3
    monkeypatch.setattr(batches, "BYTES", 1)
    engine(provider, store).generate([Prompt("other"), Prompt("more")], Sampling())
    assert len(provider.batches) == 5


# ---- a whole distillation by a provider of which three in ten answers are at fault

PASS = ((429, {"error": {"message": "busy"}}), (500, {"error": {"message": "out of order"}}), (503, "<html>overloaded</html>"), (200, {"error": {"message": "Rate limit exceeded", "code": 429}}),
        (200, {"choices": None}), (200, "<html>Bad gateway</html>"), (200, None), None, lines("half an ans", "insufficient_system_resource"), lines(None), lines(""), lines("  "))  # None: it was not reached
STAY = ((400, {"error": {"message": "this text is not allowed"}}), lines("I will", "content_filter"))


def teaching(provider, faults):
    "The miniature's teacher behind a provider; each try of a request is at fault on its own, and a few requests stay so."
    tries = Counter()
    def outcome(body):
        key = text_hash(body["messages"], body.get("seed"))
        tries[key] += 1
        rng, lasting = random.Random(f"{key}/{tries[key]}"), random.Random(key)
        if faults and lasting.random() < 0.06: return lasting.choice(STAY)
        if rng.random() < faults: return rng.choice(PASS)
        return lines(taught(body["messages"], 0.1, body.get("seed") or 0, body.get("temperature") or 0.0))
    provider.outcome = outcome
    return tries


def distilled(provider, folder):
    "The stage in a run of its own: its records and its ledger."
    run = Run(replace(SMOKE, teacher="m", teacher_url=provider.url, passages_per_source=2, pairs_per_task=3, labeled_pairs=3), folder)
    for stage in (corpus, labeled, distillation): do(run, stage(run))
    made = run.folder("distillation")
    return [r.model_dump_json() for r in read_records(made / "records.jsonl")], read_drops(made / "dropped.jsonl")


def test_a_distillation_in_batches_with_faults_ends_as_an_undisturbed_one(provider, tmp_path, monkeypatch):
    monkeypatch.setenv("AQUILT_BATCH", "1")
    monkeypatch.setattr(batches, "MOST", 20)
    monkeypatch.setattr(batches, "PATIENCE", 1)
    teaching(provider, 0)
    expected, lost = distilled(provider, tmp_path / "undisturbed")
    tries = teaching(provider, 0.3)
    provider.cuts, provider.dies, provider.deaths, provider.raw = 3, "retrieve", 5, [b"{", b"", b'{"custom_id": "unknown"}']
    found, drops = distilled(provider, tmp_path / "disturbed")
    for _ in range(4):  # what may pass is asked again by the same command
        assert len(found) + len(drops) == len(expected) + len(lost) and set(found) <= set(expected)
        if not passing(Counter(d.reason for d in drops)): break
        found, drops = distilled(provider, tmp_path / "disturbed")
    why = Counter(d.reason for d in drops) - Counter(d.reason for d in lost)
    assert sum(why.values()) == len(expected) - len(found) and 0 < sum(why.values()) < 12, "nothing is missing but what the provider refuses"
    assert all(re.search("status 400|content_filter", reason) for reason in why) and not passing(why)
    assert max(tries.values()) > 2 and sum(tries.values()) > 1.3 * len(tries)


# ---- money

SHEET = (Price(model="m", since="2020-01-01T00:00:00Z", input=1000, cached=100, output=2000, batch="0.5", source="a test"),)


def test_a_reply_in_a_batch_has_the_price_of_a_batch(provider, store):
    completions = engine(provider, store, prices=SHEET).generate(PROMPTS, Sampling())
    assert [c.usage.cost for c in completions] == [0.1] * 8 and stored_cost(store, SHEET) == Decimal("0.8") and list_replies(store, SHEET)["cost"].sum() == Decimal("0.8")
    reply = next(stored(store))["reply"]
    assert reply_cost("m", {k: v for k, v in reply.items() if k != "batch"}, SHEET) == Decimal("0.2")


def test_a_budget_is_kept_by_sending_fewer(provider, store):
    APIEngine("m", provider.url, replies=store, prices=SHEET).generate([Prompt("a sample")], Sampling())  # costs 0.2
    with pytest.raises(UserError, match=r"The budget of 0.62 is spent, or not enough for one more request \(0.6000 is spent\): 4 of 8 requests are answered"): engine(provider, store, prices=SHEET, budget=Decimal("0.62")).generate(PROMPTS, Sampling())
    assert [len(provider.files[b["input_file_id"]]) for b in provider.batches.values()] == [4], "of 0.42, four at 0.1; 0.02 is not enough for another"
    assert all(c.text for c in engine(provider, store, prices=SHEET, budget=Decimal(2)).generate(PROMPTS, Sampling())) and len(provider.answered) == 8


def test_another_model_s_replies_are_no_sample(provider, store):
    sheet = (*SHEET, SHEET[0].model_copy(update={"model": "cheap", "input": Decimal(1), "output": Decimal(1)}))
    APIEngine("cheap", provider.url, replies=store, prices=sheet).generate(PROMPTS, Sampling())
    with pytest.raises(UserError, match="The budget of 0.5"): engine(provider, store, prices=sheet, budget=Decimal("0.5")).generate(PROMPTS, Sampling())
    assert stored_cost(store, sheet) <= Decimal("0.5")


def test_without_a_sample_the_dearest_request_counts(provider, store):
    with pytest.raises(UserError, match="The budget of 0.01 is spent, or not enough"): engine(provider, store, prices=SHEET, budget=Decimal("0.01")).generate(PROMPTS, Sampling())
    assert not provider.answered


# ---- bad input

@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_batches_is_one_sentence(provider, store, status):
    def refuse(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(status)
    provider.RequestHandlerClass = type("Other", (Handler,), {"do_GET": lambda self: self.send_error(status), "do_POST": refuse})
    with pytest.raises(UserError, match="has no batch API"): engine(provider, store).generate(PROMPTS, Sampling())
    with pytest.raises(UserError, match="has no batch API"): engine(provider, store).generate(PROMPTS, Sampling())


@pytest.mark.parametrize("page", [b"<html>hello</html>", b'"no"', b'{"data": ["x"]}'])
def test_a_server_that_answers_everything_is_no_batch_api(provider, store, page):
    batches.write_batches(engine(provider, store).folder, [("a", {})])
    provider.RequestHandlerClass = type("Other", (Handler,), {"do_GET": lambda self: self.say("list", page)})
    with pytest.raises(UserError, match="does not answer like a batch API"): engine(provider, store).generate(PROMPTS, Sampling())


def test_replies_need_a_file(provider):
    with pytest.raises(UserError, match="Batches need a file"): BatchEngine("m", provider.url).generate(PROMPTS, Sampling())


@pytest.mark.parametrize("row, said", [({"response": {"status_code": 200, "body": {"choices": []}}}, "not a chat completion"), ({"response": {"status_code": 200}}, "not a chat completion"),
                                       ({"error": {"code": "batch_expired", "message": "too\nlate"}}, "too late"), ({"response": None}, "status none"),
                                       ({"response": {"status_code": 500, "body": {"error": "sorry"}}}, "status 500: sorry")])
def test_what_a_line_complains_of(row, said): assert said in complaint(row) and "\n" not in complaint(row)
