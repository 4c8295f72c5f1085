"""A server that fails three requests in ten in every way that may pass, and a client that is killed again and again: nothing is lost and nothing is paid twice.

The size is that of a test; `AQUILT_FAULTS=5000,20` runs 5,000 requests with 20 kills."""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aquilt.models.api import APIEngine
from aquilt.models.engines import Prompt, Sampling

REQUESTS, KILLS = map(int, os.environ.get("AQUILT_FAULTS", "300,4").split(","))


BODIES = {"gateway": b'{"error": {"message": "Rate limit exceeded", "code": 429}}', "page": b"<html>Bad gateway</html>", "blank": b"\n\n", "no choices": b'{"choices": null}',
          "broken off": b'{"choices": [{"message": {"content": "half"}, "finish_reason": "insufficient_system_resource"}]}'}  # these come with status 200


class Faulty(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)["messages"][-1]["content"]
        with self.server.lock:
            self.server.tries[asked] += 1
            rng = random.Random(f"{asked}/{self.server.tries[asked]}")
        fault = rng.choice(("busy", "busy, wait", "broken", "overloaded", "reset", "cut", "slow", *BODIES)) if rng.random() < 0.3 else ""
        if fault == "slow": time.sleep(0.3)
        if fault == "reset": return self.hang_up()
        status = {"busy": 429, "busy, wait": 429, "broken": 500, "overloaded": 503}.get(fault, 200)
        content = f"{asked} = {sum(map(ord, asked))}"
        reply = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}} if status == 200 else {"error": {"message": fault}}
        data = BODIES.get(fault) or json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if fault == "busy, wait": self.send_header("Retry-After", "0.02")
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[:20])
            return self.hang_up()
        if status == 200 and fault not in BODIES:
            with self.server.lock: self.server.answered[asked] += 1
        try: self.wfile.write(data)
        except OSError: pass  # the client was killed

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args): pass


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, *args): pass


CLIENT = """
import sys
from aquilt.models import api
from aquilt.models.engines import Prompt, Sampling
api.backoff_seconds = lambda attempt: 0.01
api.APIEngine("m", sys.argv[1], concurrency=16, retries=20, timeout=0.2, replies=sys.argv[2]).generate([Prompt(f"question {i}") for i in range(int(sys.argv[3]))], Sampling())
"""


def test_kills_at_random_moments_lose_nothing_and_pay_nothing_twice(tmp_path, monkeypatch):
    server = Server(("127.0.0.1", 0), Faulty)
    server.lock, server.tries, server.answered = threading.Lock(), Counter(), Counter()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url, path, rng = f"http://127.0.0.1:{server.server_port}/v1", tmp_path / "replies.jsonl", random.Random(0)
    known = set()
    for kill in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", CLIENT, url, str(path), str(REQUESTS)], stderr=subprocess.DEVNULL)
        goal = sum(server.answered.values()) + rng.randrange(1, max(2, REQUESTS // (KILLS + 1)))
        while process.poll() is None and sum(server.answered.values()) < goal: time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.4)  # what was under way ends at the server
        rows = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        lines = [row["request"]["messages"][0]["content"] for row in rows if row["reply"]["choices"][0]["finish_reason"] == "stop"]  # what was broken off is kept as paid
        now = set(lines)
        assert known <= now and len(lines) == len(now), "what was stored stays, once"
        assert not known & set(server.answered), "what was answered and stored is not asked again"
        known, server.answered = now, Counter()
    monkeypatch.setattr("aquilt.models.api.backoff_seconds", lambda attempt: 0.01)
    completions = APIEngine("m", url, concurrency=16, retries=20, timeout=0.2, replies=path).generate([Prompt(f"question {i}") for i in range(REQUESTS)], Sampling())
    assert [c.text for c in completions] == [f"question {i} = {sum(map(ord, f'question {i}'))}" for i in range(REQUESTS)], "as an undisturbed run's"
    assert not known & set(server.answered), "what was answered and stored is not asked again"
    assert 0 < len(known) < REQUESTS
    server.shutdown()
    server.server_close()
