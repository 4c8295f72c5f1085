"The API engine against a server on loopback that answers well, badly or not at all."
import asyncio
import json
import math
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.models import api
from aquilt.models.api import APIEngine, Pace, retry_after
from aquilt.foundations.core import UserError, text_hash
from aquilt.models.engines import Completion, Prompt, Sampling, Usage
from aquilt.models.prices import Price
from aquilt.models.replies import ReplyStore, reply_cost

KEY = "sk-planted-0123456789"
PROMPTS = [Prompt(f"question {i} 河") for i in range(8)]


def good(body, text=None):
    content = text or f"{body['model']}: {body['messages'][-1]['content']} / {body['seed']}"
    return 200, {"id": "x", "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


class Server(ThreadingHTTPServer):
    "`behave(body, n)` gives status and reply (JSON, or bytes as they are) for the n-th time that this body is asked; None hangs up."
    daemon_threads, request_queue_size = True, 64

    def __init__(self, behave=lambda body, n: good(body)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave, self.asked, self.keys, self.lock = behave, [], set(), threading.Lock()
        self.now = self.most = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self): return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *args): pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server, body = self.server, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append(body)
            server.keys.add(self.headers["Authorization"])
            n = server.asked.count(body)
            server.now += 1
            server.most = max(server.most, server.now)
        outcome = (404, {"error": {"message": "not found"}}) if self.path != "/v1/chat/completions" else server.behave(body, n)
        with server.lock: server.now -= 1
        if outcome is None:
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        status, reply = outcome
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args): pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(api, "backoff_seconds", lambda attempt: 0.001)
    servers = []

    def start(behave=lambda body, n: good(body)):
        servers.append(Server(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# --- requests and replies

def test_what_is_sent(serve):
    server = serve()
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    completions = APIEngine("m", server.url).generate([Prompt("plain"), Prompt(chat, prefix='{"a": ')], Sampling(0.5, 0.9, 77, 4))
    plain, forced = sorted(server.asked, key=lambda body: len(body["messages"]))
    assert plain == {"model": "m", "messages": [{"role": "user", "content": "plain"}], "temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "seed": 4}
    assert forced["messages"] == [*chat, {"role": "assistant", "content": '{"a": '}]
    assert forced["add_generation_prompt"] is False and forced["continue_final_message"] is True
    assert completions == [Completion("m: plain / 4", "stop", Usage(3, 2, 1)), Completion('{"a": m: {"a":  / 4', "stop", Usage(3, 2, 1))]
    assert server.keys == {f"Bearer {KEY}"} and len(chat) == 2


def test_an_adapter_is_asked_for_by_its_name(serve):
    server = serve()
    assert APIEngine("base", server.url).generate(PROMPTS[:1], Sampling(), adapter="inspector")[0].text.startswith("inspector: ")


def test_equal_prompts_get_seeds_that_do_not_depend_on_their_place():
    seeds = lambda prompts: [body["seed"] for body in api.request_bodies("m", prompts, Sampling(seed=5))]
    a, b = Prompt("a"), Prompt("b")
    assert len(set(seeds([a, a, a]))) == 3 and seeds([a, b]) == [5, 5]
    assert seeds([b, a, b, a]) == [5, 5, *seeds([b, b])[1:], *seeds([a, a])[1:]]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 1}])
def test_usage_may_be_missing(serve, usage):
    server = serve(lambda body, n: (200, good(body)[1] | {"usage": usage}))
    assert APIEngine("m", server.url).generate(PROMPTS[:1], Sampling())[0].usage == Usage(len(usage or {}), 0, 1)


@pytest.mark.parametrize("usage, read", [("none", (0, 0, 0)), ([], (0, 0, 0)), ({"prompt_tokens": "many"}, (0, 0, 0)), ({"prompt_tokens": -5, "completion_tokens": 2}, (0, 2, 0)), ({"prompt_tokens": "7"}, (7, 0, 0)),
                                         ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": -9}}, (5, 0, 0)), ({"prompt_tokens": 5, "completion_tokens": 9, "prompt_cache_hit_tokens": None}, (5, 9, 0)),
                                         ({"prompt_tokens": 5, "prompt_tokens_details": [1], "prompt_cache_hit_tokens": 8}, (5, 0, 5)), ({"prompt_tokens": float("inf"), "completion_tokens": 3}, (0, 3, 0))])
def test_a_reply_is_not_lost_because_its_usage_is_wrong(serve, tmp_path, usage, read):
    server = serve(lambda body, n: (200, good(body)[1] | {"usage": usage}))
    completion = APIEngine("m", server.url, replies=tmp_path / "r.jsonl").generate(PROMPTS[:1], Sampling())[0]
    assert completion.finish_reason == "stop" and completion.text and completion.usage == Usage(read[0], read[1], 1, read[2])


def test_a_budget_needs_a_server_that_reports_its_usage(serve, tmp_path):
    server = serve(lambda body, n: (200, good(body)[1] | {"usage": None}))
    engine = APIEngine("m", server.url, concurrency=1, replies=tmp_path / "r.jsonl", prices=priced(), budget=Decimal(5))
    with pytest.raises(UserError, match="does not report what its replies used"): engine.generate(PROMPTS, Sampling())
    assert len(server.asked) == 1


def chat(content, reason="stop", **more):
    return 200, {"choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": reason}], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}


def test_a_limit_spent_on_thinking_is_kept_and_paid_once(serve, tmp_path):
    server = serve(lambda body, n: chat(None, "length", reasoning_content="Well"))
    engine = APIEngine("m", server.url, replies=tmp_path / "r.jsonl")
    assert engine.generate(PROMPTS[:1], Sampling()) == engine.generate(PROMPTS[:1], Sampling()) == [Completion("", "length", Usage(3, 9, 1))]
    assert len(server.asked) == 1


BAD = [b"", b"\n\n \n", b"<html>busy</html>", b"\xff\xfe\xfa", b"[" * 100_000, b'{"choices": ' + b"9" * 5000 + b"}", b'{"choices": [', b": keep-alive\n\n", [], {}, {"choices": []}, {"choices": None}, {"choices": [{}]},
       {"choices": [{"message": None}]}, {"choices": "x"}, {"error": "overloaded"}, {"error": {"message": "Rate limit exceeded", "code": 429}}, {"detail": "busy"}, chat("half of", "insufficient_system_resource")[1], chat("", "error")[1]]


@pytest.mark.parametrize("bad", BAD)
def test_a_body_without_a_completion_is_tried_again_like_a_5xx(serve, tmp_path, bad):
    server = serve(lambda body, n: (200, bad) if "question 2" in body["messages"][0]["content"] and n <= 3 else good(body))
    engine = lambda: APIEngine("m", server.url, retries=2, replies=tmp_path / "r.jsonl")
    completions = engine().generate(PROMPTS, Sampling())
    assert [c.finish_reason for c in completions].count("error") == 1 and len(server.asked) == 7 + 3, "as often as other failures"
    assert completions[2].text == (bad.decode("utf-8", "replace") if isinstance(bad, bytes) else json.dumps(bad)), "what came is kept, raw"
    assert completions[2].error.startswith("passing: The reply of http") and "\n" not in completions[2].error and len(completions[2].error) < 600
    again = engine().generate(PROMPTS, Sampling())
    assert len(server.asked) == 11 and again[2].text and again[3:] == completions[3:], "the next call asks for it alone"


@pytest.mark.parametrize("bad, said", [({"error": {"message": "Rate\nlimit exceeded", "code": 429}}, "is not a chat completion: Rate limit exceeded."), ({"error": "overloaded"}, "is not a chat completion: overloaded."),
                                       (b"<html>Bad\n gateway</html>", "is not a chat completion: <html>Bad gateway</html>."), (b"\n \n", "is not a chat completion: it is blank."), ({"choices": None, "base_resp": {"status_msg": "rate limit"}}, "rate limit"),
                                       (chat("x", "insufficient_system_resource")[1], "was broken off by the server (insufficient_system_resource)."), ({"error": {"message": f"no {KEY}"}}, "no ***."),
                                       ({"choices": [{"error": {"message": "Provider died", "code": 502}, "message": {"content": "x"}, "finish_reason": "error"}]}, "was broken off by the server (error): Provider died.")])
def test_what_the_server_said_is_quoted(serve, bad, said):
    [completion] = APIEngine("m", serve(lambda body, n: (200, bad)).url, retries=1).generate(PROMPTS[:1], Sampling())
    assert completion.error.endswith(said) or said == "rate limit" and said in completion.error
    assert KEY not in completion.error + completion.text


@pytest.mark.parametrize("error, words", [({"code": 402, "message": "Insufficient credits"}, "no balance left"), ({"code": "insufficient_quota"}, "no balance left"), ({"code": "401"}, "refuses the key")])
def test_a_body_that_says_what_is_wrong_for_all_ends_the_call(serve, error, words):
    server = serve(lambda body, n: (200, {"error": error}))
    with pytest.raises(UserError, match=words): APIEngine("m", server.url, concurrency=1).generate(PROMPTS, Sampling())
    assert len(server.asked) == 1


def test_a_body_that_says_busy_slows_the_pace(serve, monkeypatch):
    paces = []
    monkeypatch.setattr(api, "Pace", lambda *limits: paces.append(Pace(*limits)) or paces[-1])
    server = serve(lambda body, n: (200, {"error": {"code": 429}}) if n == 1 else good(body))
    assert all(c.finish_reason == "stop" for c in APIEngine("m", server.url, concurrency=8).generate(PROMPTS, Sampling())) and paces[0].limit < 8


@pytest.mark.parametrize("content", [None, "", " \n", [], [{"type": "thinking", "thinking": "hm"}]])
@pytest.mark.parametrize("kept", [True, False])
def test_an_empty_reply_is_asked_for_once_more_and_both_are_paid(serve, tmp_path, content, kept):
    server = serve(lambda body, n: chat(content, reasoning_content="Well") if n == 1 else chat("the answer"))
    engine = lambda: APIEngine("m", server.url, replies=tmp_path / "r.jsonl" if kept else None, prices=priced())
    [completion] = engine().generate(PROMPTS[:1], Sampling())
    assert (completion.text, completion.usage.requests, completion.usage.completion_tokens, len(server.asked)) == ("the answer", 2, 18, 2)
    assert completion.usage.cost == pytest.approx(2 * (3 * 27 + 9 * 100) / 1e6)
    if kept: assert engine().generate(PROMPTS[:1], Sampling()) == [completion] and len(server.asked) == 2


def test_what_stays_empty_is_told_and_asked_for_by_the_next_call(serve, tmp_path):
    server = serve(lambda body, n: chat("") if "question 2" in body["messages"][0]["content"] and n <= 3 else good(body))
    engine = lambda: APIEngine("m", server.url, replies=tmp_path / "r.jsonl")
    lost = engine().generate(PROMPTS, Sampling())[2]
    assert lost.error.startswith("passing: ") and lost.error.endswith("is empty, also when it was asked for once more.") and lost.usage == Usage(6, 18, 2) and len(server.asked) == 9
    again = engine().generate(PROMPTS, Sampling())[2]
    assert again.text and again.usage.requests == 4 and len(server.asked) == 11, "the empty ones are counted, and nothing else is asked"
    assert engine().generate(PROMPTS, Sampling())[2] == again and len(server.asked) == 11


def test_what_the_server_broke_off_is_paid_and_counted_and_no_answer(serve, tmp_path):
    server = serve(lambda body, n: chat("half of", "insufficient_system_resource") if n <= 5 else chat("whole"))
    engine = lambda: APIEngine("m", server.url, retries=2, replies=tmp_path / "r.jsonl", prices=priced(), budget=Decimal(1))
    first, second = engine().generate(PROMPTS[:1], Sampling())[0], engine().generate(PROMPTS[:1], Sampling())[0]
    assert first.finish_reason == "error" and first.usage.requests == 3 and (second.text, second.usage.requests) == ("whole", 6)
    assert second.usage.cost == pytest.approx(6 * (3 * 27 + 9 * 100) / 1e6)
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == len(server.asked) == 6 and engine().generate(PROMPTS[:1], Sampling()) == [second]


def test_a_server_that_is_always_empty_ends_the_call(serve, monkeypatch):
    monkeypatch.setattr(api, "IN_A_ROW", 5)
    server = serve(lambda body, n: chat(""))
    with pytest.raises(UserError, match="5 requests in a row failed, the last so: The reply of .* is empty"): APIEngine("m", server.url, concurrency=1).generate(PROMPTS, Sampling())
    assert len(server.asked) == 10


@pytest.mark.parametrize("content, reason, text, end", [
    ([{"type": "thinking", "thinking": [{"type": "text", "text": "{draft}"}]}, {"type": "text", "text": "A"}, {"type": "text", "text": "B"}], "stop", "AB", "stop"),
    ([{"type": "output_text", "text": "A"}, {"type": "image_url", "image_url": "x"}, None, {"type": "text", "text": None}], "stop", "A", "stop"),
    ([{"text": "hm", "thought": True}, {"text": "A"}], "stop", "A", "stop"), ({"type": "text", "text": "A"}, "stop", "A", "stop"), (["A", "B"], None, "AB", "stop"),
    ("A", "STOP", "A", "stop"), ("A", "eos_token", "A", "stop"), ("A", "tool_calls", "A", "stop"), ("A", "MAX_TOKENS", "A", "length"), ("A", "content_filter", "A", "error"), ("A", "sensitive", "A", "error")])
def test_forms_of_a_completion(serve, tmp_path, content, reason, text, end):
    server = serve(lambda body, n: chat(content, reason, reasoning_content="{draft}"))
    engine = APIEngine("m", server.url, replies=tmp_path / "r.jsonl")
    [completion] = engine.generate(PROMPTS[:1], Sampling())
    assert (completion.text, completion.finish_reason) == (text, end) and engine.generate(PROMPTS[:1], Sampling()) == [completion] and len(server.asked) == 1
    assert end != "error" or completion.error.endswith(f"ended its reply for a reason of its own: {reason}") and completion.usage == Usage(3, 9, 1)


def test_a_refusal_beside_the_content_is_named(serve):
    [completion] = APIEngine("m", serve(lambda body, n: chat(None, refusal="I cannot.")).url).generate(PROMPTS[:1], Sampling())
    assert (completion.text, completion.finish_reason) == ("I cannot.", "error") and completion.error.endswith("refusal")


@pytest.mark.parametrize("before", [b"\n\n\n", b"\r\n \r\n", b": keep-alive\n\n: keep-alive\n\n", b"\xef\xbb\xbf"])
def test_lines_that_keep_a_connection_open(serve, before):
    server = serve(lambda body, n: (200, before + json.dumps(good(body)[1]).encode()))
    assert APIEngine("m", server.url).generate(PROMPTS[:1], Sampling())[0].text and len(server.asked) == 1


# --- retries

def test_busy_then_well(serve):
    server = serve(lambda body, n: (429, {"error": {"message": "slow down"}}) if n == 1 else (503, b"") if n == 2 else None if n == 3 else good(body))
    completions = APIEngine("m", server.url, retries=3).generate(PROMPTS, Sampling())
    assert all(c.finish_reason == "stop" for c in completions) and len(server.asked) == 4 * len(PROMPTS)


def test_broken_for_good_is_an_error_of_each_record(serve, tmp_path):
    server = serve(lambda body, n: (500, {"error": {"message": f"out of order {KEY}"}}))
    engine = APIEngine("m", server.url, retries=2, replies=tmp_path / "r.jsonl")
    completions = engine.generate(PROMPTS[:3], Sampling())
    assert len(server.asked) == 9 and not (tmp_path / "r.jsonl").read_bytes()
    assert all(c.finish_reason == "error" and "500: out of order ***" in c.error and c.usage == Usage() for c in completions)


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_refused_request_is_not_repeated(serve, status):
    server = serve(lambda body, n: (status, {"error": {"message": "context too long"}}) if "question 1" in body["messages"][0]["content"] else good(body))
    completions = APIEngine("m", server.url).generate(PROMPTS, Sampling())
    assert len(server.asked) == len(PROMPTS) and f"{status}: context too long" in completions[1].error
    assert [c.finish_reason for c in completions].count("stop") == 7


def test_a_stalled_request_is_an_error_of_its_own(serve):
    def behave(body, n):
        if "question 3" in body["messages"][0]["content"]: time.sleep(3)
        return good(body)
    server = serve(behave)
    completions = APIEngine("m", server.url, timeout=1, retries=1).generate(PROMPTS, Sampling())
    assert "did not answer in time" in completions[3].error and [c.finish_reason for c in completions].count("stop") == 7


def test_a_reply_that_drips_for_ever_is_given_up():
    listener = socket.create_server(("127.0.0.1", 0))
    def drip():
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                connection.sendall(b" ")
                time.sleep(0.1)
        except OSError: connection.close()
    threading.Thread(target=drip, daemon=True).start()
    begin = time.monotonic()
    completion, = APIEngine("m", f"http://127.0.0.1:{listener.getsockname()[1]}/v1", timeout=1, retries=0).generate(PROMPTS[:1], Sampling())
    listener.close()
    assert "did not answer in time" in completion.error and time.monotonic() - begin < 20


def test_failures_in_a_row_end_the_call(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "IN_A_ROW", 10)
    prompts, broken = [Prompt(f"question {i}") for i in range(100)], True
    server = serve(lambda body, n: (500, {"error": {"message": f"out of order {KEY}"}}) if broken and len(server.asked) > 20 else good(body))
    engine = APIEngine("m", server.url, concurrency=4, retries=0, replies=tmp_path / "r.jsonl")
    with pytest.raises(UserError, match=r"10 requests in a row failed, the last so: .*status 500: out of order \*\*\*. Correct that, or wait"): engine.generate(prompts, Sampling())
    assert 30 <= len(server.asked) < 40 and len((tmp_path / "r.jsonl").read_text().splitlines()) == 20
    broken = False
    assert all(c.finish_reason == "stop" for c in engine.generate(prompts, Sampling())), "the same call goes on"
    again = serve(lambda body, n: (500, {}) if int(body["messages"][0]["content"].split()[1]) % 10 else good(body))
    completions = APIEngine("m", again.url, concurrency=1, retries=0).generate(prompts, Sampling())
    assert [c.finish_reason for c in completions].count("error") == 90, "nine in a row are not ten"


@pytest.mark.parametrize("status, ends", [(400, True), (500, True)])
def test_a_server_that_never_answered_ends_the_call(serve, monkeypatch, status, ends):
    monkeypatch.setattr(api, "IN_A_ROW", 10)
    server = serve(lambda body, n: (status, {"error": {"message": "no"}}))
    with pytest.raises(UserError, match="10 requests in a row failed"): APIEngine("m", server.url, concurrency=1, retries=0).generate([Prompt(str(i)) for i in range(50)], Sampling())
    assert len(server.asked) == 10


def test_what_is_refused_for_good_does_not_end_a_call_that_is_repeated(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "IN_A_ROW", 10)
    prompts = [Prompt(str(i)) for i in range(200)]
    server = serve(lambda body, n: (400, {"error": {"message": "against the rules"}}) if int(body["messages"][0]["content"]) % 10 == 0 else good(body))
    engine = APIEngine("m", server.url, replies=tmp_path / "r.jsonl")
    for _ in range(3): assert [c.finish_reason for c in engine.generate(prompts, Sampling())].count("error") == 20
    refused = engine.generate(prompts[::10], Sampling())
    assert all(c.error.endswith("against the rules") and json.loads(c.text)["error"]["message"] == "against the rules" for c in refused), "nor when nothing else is asked"


def test_what_is_under_way_when_a_call_ends_is_kept(serve, tmp_path):
    def behave(body, n):
        if body["messages"][0]["content"].startswith("question 7"):
            time.sleep(0.2)
            return 402, {"error": {"message": "no balance"}}
        time.sleep(0.6)
        return good(body)
    server, path = serve(behave), tmp_path / "r.jsonl"
    with pytest.raises(UserError, match="no balance left"): APIEngine("m", server.url, concurrency=8, replies=path).generate([*PROMPTS, *(Prompt(f"later {i}") for i in range(20))], Sampling())
    assert len(server.asked) == 8 and len(path.read_text().splitlines()) == 7


def test_who_waits_when_a_call_ends_does_not_wait_on():
    async def run():
        pace = Pace(2, requests_per_minute=1)
        await pace.start()
        waiting = [asyncio.create_task(pace.start()) for _ in range(3)]
        await asyncio.sleep(0.05)
        await pace.stop()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert [type(e) for e in api.run_async(run())] == [api.Ended] * 3


def test_a_wrong_address_is_not_tried_for_minutes(monkeypatch):
    tries = []
    monkeypatch.setattr(api, "backoff_seconds", lambda attempt: tries.append(attempt) or 0.001)
    with pytest.raises(UserError, match="cannot be reached"): APIEngine("m", "http://127.0.0.1:9/v1", concurrency=1).generate(PROMPTS[:1], Sampling())
    assert len(tries) == 4


def unsupported(name, code="unsupported_parameter"):
    return 400, {"error": {"message": f"{name} is not supported with this model.", "type": "invalid_request_error", "param": name, "code": code}}


@pytest.mark.parametrize("names", [["max_tokens"], ["seed"], ["temperature", "max_tokens", "seed"], ["temperature", "response_format"]])
def test_a_parameter_that_a_server_refuses_is_left_out(serve, tmp_path, names):
    server = serve(lambda body, n: next((unsupported(name) for name in names if name in body), None) or good(body | {"seed": 0}))
    engine = APIEngine("m", server.url, concurrency=1, replies=tmp_path / "r.jsonl")
    with pytest.warns(UserWarning) as told: completions = engine.generate(PROMPTS, Sampling(max_tokens=77), keys=("a",))
    assert {str(w.message).partition("does not take ")[2].partition(":")[0] for w in told} == set(names), "and each is told once"
    assert all(c.finish_reason == "stop" for c in completions) and len(server.asked) == len(PROMPTS) + len(names), "each refusal is met once"
    last = server.asked[-1]
    assert not set(names) & set(last) and last.get("max_completion_tokens") == (77 if "max_tokens" in names else None) and last["top_p"] == 0.95


def test_the_same_for_two_requests_that_a_seed_alone_told_apart(serve, tmp_path):
    server = serve(lambda body, n: unsupported("seed") if "seed" in body else good(body | {"seed": 0}))
    completions = APIEngine("m", server.url, concurrency=1, replies=tmp_path / "r.jsonl").generate([Prompt("a"), Prompt("a")], Sampling())
    assert len(completions) == 2 and len(server.asked) == 3 and len((tmp_path / "r.jsonl").read_text().splitlines()) == 2, "asked for twice, and kept twice"


def test_a_reply_is_found_whatever_the_server_refused(serve, tmp_path):
    server = serve(lambda body, n: next((unsupported(name) for name in ("response_format", "max_tokens") if name in body), None) or good(body))
    ask = lambda url, **more: APIEngine("m", url, replies=tmp_path / "r.jsonl", prices=priced(), **more).generate(PROMPTS, Sampling(), keys=("a",))
    first = ask(server.url)
    assert ask("http://127.0.0.1:9/v1") == ask(server.url, budget=Decimal("0.0000001")) == first and len(server.asked) <= 8 + 2 * 8


def test_a_key_in_a_refusal_is_in_no_traceback(serve):
    server = serve(lambda body, n: (400, {"error": {"message": f"{KEY}: seed is not supported", "param": "seed", "code": "unsupported_parameter"}}) if "seed" in body else (401, {"error": {"message": KEY}}))
    with pytest.raises(UserError, match="refuses the key") as e: APIEngine("m", server.url).generate(PROMPTS, Sampling())
    assert KEY not in "".join(traceback.format_exception(e.value))


@pytest.mark.parametrize("name, code", [("messages", "unsupported_parameter"), (["seed"], "unsupported_parameter"), ("max_tokens", "invalid_value"), ("elsewhere", "unsupported_parameter"), (None, None)])
def test_other_complaints_cost_one_request_each(serve, name, code):
    server = serve(lambda body, n: unsupported(name, code))
    assert [c.finish_reason for c in APIEngine("m", server.url).generate(PROMPTS, Sampling())] == ["error"] * 8 and len(server.asked) == 8


def test_waits_double_and_stay_below_a_minute():
    for attempt, longest in enumerate([1, 2, 4, 8, 16, 32, 60, 60]): assert longest / 2 <= api.backoff_seconds(attempt) <= longest


@pytest.mark.parametrize("status, words", [(401, "refuses the key"), (402, "balance"), (403, "does not allow"), (404, "no such model")])
def test_what_is_wrong_for_all_ends_the_call_with_one_sentence(serve, tmp_path, status, words):
    server = serve(lambda body, n: (status, {"error": {"message": f"wrong {KEY}"}}) if len(server.asked) > 3 else good(body))
    engine = APIEngine("m", server.url, concurrency=1, replies=tmp_path / "r.jsonl")
    with pytest.raises(UserError, match=words) as e: engine.generate(PROMPTS, Sampling())
    assert len(server.asked) == 4 and len((tmp_path / "r.jsonl").read_text().splitlines()) == 3
    assert KEY not in "".join(traceback.format_exception(e.value)) and e.value.__context__ is None and e.value.__cause__ is None


def test_a_used_up_balance_is_no_busy_server(serve, tmp_path):
    server = serve(lambda body, n: (429, {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}))
    with pytest.raises(UserError, match="no balance left"): APIEngine("m", server.url, concurrency=1, replies=tmp_path / "r.jsonl").generate(PROMPTS, Sampling())
    assert len(server.asked) == 1


def test_a_server_that_is_not_there(serve):
    server = serve()
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="cannot be reached"): APIEngine("m", url, retries=1).generate(PROMPTS, Sampling())
    with pytest.raises(UserError, match="no such path|no such model"): APIEngine("m", serve().url + "/wrong").generate(PROMPTS, Sampling())
    with pytest.raises(UserError, match="is no address"): APIEngine("m", "api.example.com/v1")
    with pytest.raises(UserError, match="concurrency is 0"): APIEngine("m", url, concurrency=0)


# --- the key

def test_keys(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"): APIEngine("m", "https://api.example.com/v1")
    assert APIEngine("m", server.url).generate(PROMPTS[:1], Sampling())[0].text
    monkeypatch.setenv("TEACHER_KEY", f" {KEY}\n")
    APIEngine("m", server.url, api_key_env="TEACHER_KEY").generate(PROMPTS[:1], Sampling())
    assert server.keys == {"Bearer no-key", f"Bearer {KEY}"}
    monkeypatch.setenv("TEACHER_KEY", "sk-\nünlikely")
    with pytest.raises(UserError, match="cannot be a key") as e: APIEngine("m", server.url, api_key_env="TEACHER_KEY")
    assert "nlikely" not in str(e.value)


def test_the_key_is_in_no_file_and_no_repr(serve, tmp_path, capfd):
    engine = APIEngine("m", serve().url, replies=tmp_path / "r.jsonl")
    engine.generate(PROMPTS, Sampling(), desc="asking")
    assert "asking" in (printed := "".join(capfd.readouterr()))
    assert KEY not in printed + repr(engine) + repr(vars(engine)) + repr(vars(engine.store)) + (tmp_path / "r.jsonl").read_text()


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert APIEngine("m", serve().url, retries=0).generate(PROMPTS[:1], Sampling())[0].text


# --- the store

def test_answered_requests_are_not_sent_again(serve, tmp_path):
    server, path = serve(), tmp_path / "deep" / "r.jsonl"
    first = APIEngine("m", server.url, replies=path).generate(PROMPTS, Sampling())
    assert APIEngine("m", server.url, concurrency=2, timeout=5, retries=0, replies=path).generate(PROMPTS, Sampling()) == first
    assert len(server.asked) == 8
    for change in (dict(sampling=Sampling(seed=1)), dict(sampling=Sampling(temperature=0)), dict(sampling=Sampling(), adapter="other")):
        before = len(server.asked)
        APIEngine("m", server.url, replies=path).generate(PROMPTS[:2], **change)
        assert len(server.asked) == before + 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 14 and all(row["key"] == text_hash(row["request"]) and row["reply"]["id"] == "x" for row in rows)


def test_half_a_surrogate_pair_is_stored(serve, tmp_path):
    server = serve(lambda body, n: (200, b'{"choices": [{"message": {"content": "a \\ud800 b"}, "finish_reason": "stop"}]}'))
    engine = APIEngine("m", server.url, replies=tmp_path / "r.jsonl")
    assert engine.generate(PROMPTS[:1], Sampling())[0].text == engine.generate(PROMPTS[:1], Sampling())[0].text == "a \ud800 b" and len(server.asked) == 1


def test_a_store_that_somebody_changed_is_not_read_on(serve, tmp_path):
    path = tmp_path / "r.jsonl"
    completions = APIEngine("m", serve().url, replies=path).generate(PROMPTS, Sampling())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match="changed by another process|not a stored reply"): list(completions)


def test_the_same_store_without_a_server(serve, tmp_path):
    server, path = serve(), tmp_path / "r.jsonl"
    first = APIEngine("m", server.url, replies=path).generate(PROMPTS, Sampling())
    assert APIEngine("m", "http://127.0.0.1:9/v1", replies=path).generate(PROMPTS, Sampling()) == first


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1))
def test_a_store_torn_at_any_byte_keeps_its_whole_lines(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("torn") / "r.jsonl"
    with ReplyStore(path).writing() as store:
        for i in range(5): store.put(str(i), {"n": i}, {"text": "河" * i})
    data = path.read_bytes()
    path.write_bytes(data[:int(cut * len(data))])
    whole = data[:int(cut * len(data))].count(b"\n")
    with ReplyStore(path).writing() as store:
        assert [store.get(str(i)) is not None for i in range(5)] == [i < whole for i in range(5)]
        for i in range(whole, 5): store.put(str(i), {"n": i}, {"text": "河" * i})
        assert store.get("4") == {"text": "河" * 4}
    assert path.read_bytes() == data


def test_one_writer_and_what_others_wrote_is_seen(tmp_path):
    path = tmp_path / "r.jsonl"
    mine, other = ReplyStore(path), ReplyStore(path)
    with mine.writing() as store:
        store.put("a", {}, 1)
        with pytest.raises(UserError, match="another process"): other.writing().__enter__()
    with other.writing() as store:
        assert store.get("a") == 1
        store.put("b", {}, 2)
    with mine.writing() as store: assert (store.get("b"), store.get("c")) == (2, None)


def test_damage_names_file_and_line_and_loses_nothing(serve, tmp_path):
    path = tmp_path / "r.jsonl"
    with ReplyStore(path).writing() as store:
        for key in "abc": store.put(key, {}, key)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + lines[2])
    with pytest.raises(UserError, match="r.jsonl, line 2"): APIEngine("m", serve().url, replies=path).generate(PROMPTS, Sampling())
    assert path.read_bytes() == lines[0] + b"{}\n" + lines[2]


def test_a_place_that_cannot_be_written(serve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"): APIEngine("m", serve().url, replies=tmp_path / "file" / "r.jsonl").generate(PROMPTS, Sampling())


KILLED = """
import sys
from aquilt.models.api import APIEngine
from aquilt.models.engines import Prompt, Sampling
APIEngine("m", sys.argv[1], concurrency=4, replies=sys.argv[2]).generate([Prompt(f"question {i}") for i in range(200)], Sampling())
"""


def test_killed_in_the_middle_and_started_again(serve, tmp_path):
    def behave(body, n):
        time.sleep(0.01)
        return good(body)
    server, path = serve(behave), tmp_path / "r.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(path)])
    while len(server.asked) < 60: time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.1)
    stored, asked = path.read_bytes().count(b"\n"), len(server.asked)
    assert 0 < stored < 200 and asked - stored <= 4
    completions = APIEngine("m", server.url, replies=path).generate([Prompt(f"question {i}") for i in range(200)], Sampling())
    assert [c.text for c in completions] == [f"m: question {i} / 0" for i in range(200)]
    assert len(server.asked) - asked == 200 - stored


# --- where and how many at once

def test_inside_a_running_loop(serve):
    server = serve()

    async def notebook(): return APIEngine("m", server.url).generate(PROMPTS, Sampling())

    assert asyncio.run(notebook()) == APIEngine("m", server.url).generate(PROMPTS, Sampling())


def test_nothing_to_do(serve, tmp_path): assert APIEngine("m", serve().url, replies=tmp_path / "r.jsonl").generate([], Sampling()) == []


def test_so_many_at_once_and_no_more(serve):
    def behave(body, n):
        until = time.time() + 0.3
        while server.now < 7 and time.time() < until: time.sleep(0.01)
        return good(body)
    server = serve(behave)
    completions = APIEngine("m", server.url, concurrency=6).generate([Prompt(str(i)) for i in range(30)], Sampling())
    assert server.most == 6 and [c.text for c in completions] == [f"m: {i} / 0" for i in range(30)]


def test_an_interrupt_ends_the_call_and_keeps_what_was_answered(serve, tmp_path):
    path, release = tmp_path / "r.jsonl", threading.Event()

    def behave(body, n):
        if "question 5" in body["messages"][0]["content"]: release.wait(30)
        return good(body)

    def interrupt():
        while not path.exists() or path.read_bytes().count(b"\n") < 7: time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    engine = APIEngine("m", serve(behave).url, replies=path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process that a shell started in the background ignores it
    threading.Thread(target=interrupt, daemon=True).start()
    started = time.time()
    try:
        with pytest.raises(KeyboardInterrupt): engine.generate(PROMPTS, Sampling())
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()
    assert time.time() - started < 20 and path.read_bytes().count(b"\n") == 7


# ---- money

def priced(cents=27, since="2020-01-01T00:00:00Z"):
    return (Price.model_validate({"model": "m", "since": since, "input": f"{cents}", "cached": "1", "output": "100", "source": "a test"}),)


ONE = Decimal(3 * 27 + 2 * 100) / 1_000_000  # what a reply of the server below costs


def test_what_replies_cost_is_added_up_and_survives(serve, tmp_path):
    engine = APIEngine("m", serve().url, replies=tmp_path / "r.jsonl", prices=priced())
    usage = sum((c.usage for c in engine.generate(PROMPTS, Sampling())), Usage())
    assert usage.requests == 8 and abs(usage.cost - float(8 * ONE)) < 1e-12 and engine.store.spent == 8 * ONE
    again = APIEngine("m", engine.base_url, replies=tmp_path / "r.jsonl", prices=priced())
    assert again.generate(PROMPTS, Sampling())[0].usage.cost == float(ONE) and again.store.spent == 8 * ONE


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("of", [0, 1, 3.5, 7])
def test_a_budget_stops_the_call_with_all_work_kept(serve, tmp_path, of, concurrency):
    server, many = serve(), [Prompt(f"question {i}") for i in range(16)]
    engine = lambda **more: APIEngine("m", server.url, replies=tmp_path / "r.jsonl", prices=priced(), concurrency=concurrency, **more)
    with pytest.raises(UserError, match=r"The budget of .* is spent, .*of 16 requests are answered and kept") as caught: engine(budget=Decimal(str(of)) * ONE).generate(many, Sampling())
    answered = len(server.asked)
    assert math.ceil(of) <= answered <= math.ceil(of) + concurrency - 1 and f"{answered} of 16" in str(caught.value), "over by no more than what was under way"
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == answered
    assert len(engine(budget=Decimal(1)).generate(many, Sampling())) == 16 == len(server.asked), "nothing was paid twice"
    assert len(engine(budget=Decimal(0)).generate(many, Sampling())) == 16, "what is answered costs nothing more"


def test_what_was_spent_elsewhere_counts(serve, tmp_path):
    with pytest.raises(UserError, match="0 of 8"): APIEngine("m", serve().url, replies=tmp_path / "r.jsonl", prices=priced(), budget=Decimal(5), spent=Decimal(5)).generate(PROMPTS, Sampling())


def test_a_budget_needs_a_price_and_a_file(serve, tmp_path):
    with pytest.raises(UserError, match="no price for m, so .*--prices"): APIEngine("m", serve().url, replies=tmp_path / "r.jsonl", budget=Decimal(1))
    with pytest.raises(UserError, match="needs a file of replies"): APIEngine("m", serve().url, prices=priced(), budget=Decimal(1))


@pytest.mark.parametrize("usage, cached", [({"prompt_cache_hit_tokens": 2}, 2), ({"prompt_tokens_details": {"cached_tokens": 1}}, 1), ({"prompt_tokens_details": None}, 0), ({"prompt_tokens_details": {}}, 0), ({"prompt_cache_hit_tokens": 99}, 3)])
def test_input_from_the_cache(serve, tmp_path, usage, cached):
    def behave(body, n):
        status, reply = good(body)
        return status, reply | {"usage": reply["usage"] | usage}
    [completion] = APIEngine("m", serve(behave).url, prices=priced()).generate(PROMPTS[:1], Sampling())
    assert completion.usage.cached_tokens == cached and abs(completion.usage.cost - ((3 - cached) * 27 + cached + 200) / 1e6) < 1e-15


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many"}, {"prompt_tokens": None}, []])
def test_a_server_that_reports_no_usage_costs_nothing(usage):
    reply = {"choices": [{"message": {"content": "x"}}], "usage": usage}
    assert reply_cost("m", reply, priced()) == 0


# ---- the pace

class Refused(Exception):
    def __init__(self, said): self.response = type("Response", (), {"headers": {"retry-after": said}})


@pytest.mark.parametrize("said, seconds", [("3", 3), ("0", 0), ("2.5", 2.5), ("86400", 600), ("-5", None), ("soon", None), ("", None), ("Sat, 01 Jan 2000 00:00:00 GMT", 0), ("Fri, 01 Jan 2100 00:00:00 GMT", 600)])
def test_what_a_refusal_asks_for(said, seconds): assert retry_after(Refused(said)) == seconds


def test_an_error_without_a_response_asks_for_nothing(): assert retry_after(ValueError("x")) is None


def paced(n, hold, **limits):
    "Run `n` requests of `hold` seconds at a pace; the times they began, and the most that were under way."
    async def main():
        pace, begun, most = Pace(**limits), [], 0
        async def one():
            nonlocal most
            await pace.start()
            begun.append(time.monotonic())
            most = max(most, pace.under_way)
            await asyncio.sleep(hold)
            await pace.end(tokens=10)
        await asyncio.wait_for(asyncio.gather(*(one() for _ in range(n))), 20)
        return [b - begun[0] for b in begun], most
    return asyncio.run(main())


def test_no_more_at_once_than_allowed():
    begun, most = paced(20, 0.01, most=3)
    assert most == 3 and len(begun) == 20


def test_requests_a_minute():
    begun, _ = paced(11, 0, most=50, requests_per_minute=1200)
    assert 0.45 <= begun[-1] < 2 and all(b >= 0.045 * i for i, b in enumerate(begun))


def test_requests_that_could_leave_together_are_kept_apart():
    begun, most = paced(20, 0.2, most=20)
    assert most == 20 and all(0.0009 * i <= b for i, b in enumerate(begun)), "they would come back together, too"


@pytest.mark.parametrize("limits", [{}, {"requests_per_minute": 6000}, {"tokens_per_minute": 60_000}])
def test_after_a_pause_requests_are_kept_apart_as_well(limits):
    async def main():
        pace, begun = Pace(30, **limits), []
        await pace.start()
        async def one():
            await pace.start()
            begun.append(time.monotonic())
        waiting = [asyncio.create_task(one()) for _ in range(10)]
        await asyncio.sleep(0)
        await pace.end(tokens=100, busy=0.3)
        now = time.monotonic()
        await asyncio.gather(*waiting)
        return [b - now for b in begun]
    begun = asyncio.run(main())
    late = sorted(b for b in begun if b > 0.05)
    assert len(late) >= 8 and all(b >= 0.295 + 0.0009 * (i - 1) for i, b in enumerate(late)), "a timer may be late, so that two begin at once, but not early"


def test_a_fast_server_is_not_kept_waiting():
    async def main():
        pace = Pace(4)
        for _ in range(200):
            await pace.start()
            await pace.end()
        return pace.between
    assert asyncio.run(main()) < api.APART / 2


def test_a_slow_server_does_not_keep_requests_further_apart():
    begun, _ = paced(8, 0.3, most=2)
    assert begun[1] < 0.1 and all(begun[i + 1] - begun[i] < 0.1 for i in (2, 4, 6)), "two at a time, milliseconds apart"


def test_tokens_a_minute():
    begun, _ = paced(21, 0, most=1, tokens_per_minute=6000)  # 100 a second, and as many to begin with
    assert len(begun) == 21 and 0.0 <= begun[9] < 0.5 and 0.9 <= begun[-1] < 4


def test_a_busy_server_is_asked_less_and_everything_is_answered(serve, monkeypatch):
    monkeypatch.setattr(api, "backoff_seconds", lambda attempt: 0.02)
    holder = {}
    def behave(body, n):
        if holder["server"].now > 4: return 429, {"error": {"message": "busy"}}
        time.sleep(0.01)
        return good(body)
    holder["server"] = server = serve(behave)
    many = [Prompt(f"question {i}") for i in range(120)]
    completions = APIEngine("m", server.url, concurrency=32, retries=50).generate(many, Sampling())
    assert all(c.finish_reason == "stop" for c in completions)
    refused = len(server.asked) - len(many)
    assert refused < 3 * len(many), "the pace fell: 32 at once against 4 places would be refused far more often"


def test_other_failures_do_not_slow_the_others(serve, monkeypatch):
    monkeypatch.setattr(api, "backoff_seconds", lambda attempt: 0.01)
    paces = []
    monkeypatch.setattr(api, "Pace", lambda *limits: paces.append(Pace(*limits)) or paces[-1])
    server = serve(lambda body, n: (500, {}) if n < 3 else good(body))
    APIEngine("m", server.url, concurrency=8).generate(PROMPTS, Sampling())
    assert paces[0].limit == 8 and paces[0].under_way == 0 and len(server.asked) == 24


# ---- more that can go wrong

def test_a_full_disk_is_one_sentence_and_the_replies_up_to_then_are_kept(serve, tmp_path, monkeypatch):
    engine = APIEngine("m", serve().url, replies=tmp_path / "r.jsonl", concurrency=1)
    real, written = ReplyStore.put, []
    def put(store, key, request, reply):
        if len(written) == 3:
            class Full:
                def write(self, line): raise OSError(28, "No space left on device")
            store.file, whole = Full(), store.file
            try: return real(store, key, request, reply)
            finally: store.file = whole
        written.append(key)
        return real(store, key, request, reply)
    monkeypatch.setattr(ReplyStore, "put", put)
    with pytest.raises(UserError, match="r.jsonl any further: No space left on device. Make room"): engine.generate(PROMPTS, Sampling())
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed, which makes the certificate")
def test_a_certificate_that_is_not_trusted_is_one_sentence(serve, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    server = serve()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(UserError, match="certificate that is not trusted: correct base_url"): APIEngine("m", server.url.replace("http:", "https:"), retries=0).generate(PROMPTS[:1], Sampling())


def test_a_context_that_is_too_long_costs_one_record_and_is_not_tried_again(serve):
    server = serve(lambda body, n: (400, {"error": {"message": "maximum context length is 8 tokens"}}) if "3" in body["messages"][0]["content"] else good(body))
    completions = APIEngine("m", server.url).generate(PROMPTS, Sampling())
    assert [c.finish_reason for c in completions].count("error") == 1 and "maximum context length" in completions[3].error and len(server.asked) == 8


# ---- structured output

def test_a_server_is_held_to_a_schema_where_it_can_be(serve, tmp_path):
    server = serve()
    engine = APIEngine("m", server.url, replies=tmp_path / "r.jsonl")
    engine.generate(PROMPTS[:2], Sampling(), keys=("question", "thought process"))
    assert all(b["response_format"]["json_schema"]["schema"]["required"] == ["question", "thought process"] for b in server.asked)
    engine.generate(PROMPTS[:2], Sampling())
    assert len(server.asked) == 4, "another demand is another request"


@pytest.mark.parametrize("message", ["This response_format type is unavailable now", "json_schema is not supported"])
def test_a_server_that_cannot_is_asked_plainly_and_its_replies_are_found_again(serve, tmp_path, message):
    behave = lambda body, n: (400, {"error": {"message": message}}) if "response_format" in body else good(body)
    server = serve(behave)
    engine = lambda: APIEngine("m", server.url, replies=tmp_path / "r.jsonl", concurrency=2)
    first = engine().generate(PROMPTS, Sampling(), keys=("a",))
    assert all(c.finish_reason == "stop" for c in first) and sum("response_format" in b for b in server.asked) <= 2
    asked = len(server.asked)
    assert engine().generate(PROMPTS, Sampling(), keys=("a",)) == first and all("response_format" in b for b in server.asked[asked:])


def test_another_refusal_is_no_matter_of_the_schema(serve):
    server = serve(lambda body, n: (400, {"error": {"message": "too long"}}))
    assert all(c.finish_reason == "error" for c in APIEngine("m", server.url).generate(PROMPTS, Sampling(), keys=("a",))) and len(server.asked) == 8


@pytest.mark.parametrize("created", [None, "yesterday", -1, 1.5, 10**20])
def test_a_strange_time_spoils_no_reply(serve, created):
    [completion] = APIEngine("m", serve(lambda body, n: (200, good(body)[1] | {"created": created})).url, prices=priced()).generate(PROMPTS[:1], Sampling())
    assert completion.finish_reason == "stop" and completion.usage.cost == float(ONE)
