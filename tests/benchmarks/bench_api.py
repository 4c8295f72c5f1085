"""The API engine against a server on loopback: `bench_api.py [REQUESTS] [LATENCY_MS]` (4,000 and 200 if not given).

The server is a process of its own that answers after the latency. Throughput is compared with the ideal, concurrency / latency; CPU is that of the client alone. With latency 0 and many requests it shows
whether time per request and memory stay what they were, tenth by tenth."""
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPLY = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"question": "q", "thought process": "l", "answer": "a"}'}}],
                    "usage": {"prompt_tokens": 200, "completion_tokens": 60, "total_tokens": 260}}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(REPLY), REPLY)


async def serve(latency: float) -> None:
    "Answer every request after `latency` seconds; the port is printed."
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                await reader.readexactly(length)
                if latency: await asyncio.sleep(latency)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError): writer.close()
    server = await asyncio.start_server(client, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure(url: str, requests: int, concurrency: int, latency: float) -> None:
    "Send requests at a concurrency and print what came of it."
    from aquilt.models.api import APIEngine
    from aquilt.models.engines import Prompt, Sampling
    with tempfile.TemporaryDirectory() as folder:
        engine = APIEngine("m", url, concurrency=concurrency, replies=Path(folder) / "replies.jsonl")
        engine.generate([Prompt("warm up")], Sampling())
        parts, cpu, times, memory = 1 if latency else 10, time.process_time(), [], []
        for part in range(parts):
            prompts = [Prompt(f"passage {j} " + "word " * 150) for j in range(part * requests // parts, (part + 1) * requests // parts)]
            start = time.perf_counter()
            engine.generate(prompts, Sampling())
            times.append(time.perf_counter() - start)
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        seconds, cpu = sum(times), time.process_time() - cpu
        ideal = f"{100 * requests / seconds / (concurrency / latency):5.1f} % of the ideal" if latency else f"tenths {' '.join(f'{t:.1f}' for t in times)} s, {' '.join(f'{m:.0f}' for m in memory)} MB"
        print(f"concurrency {concurrency:4}: {requests / seconds:7.0f} requests/s, {ideal}, {1e3 * cpu / requests:.2f} ms CPU a request, resident {memory[-1]:.0f} MB", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]: asyncio.run(serve(float(sys.argv[2])))
    else:
        requests, latency = int(sys.argv[1]) if len(sys.argv) > 1 else 4000, float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.2
        server = subprocess.Popen([sys.executable, __file__, "serve", str(latency)], stdout=subprocess.PIPE, text=True)
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            print(f"{requests} requests, latency {1000 * latency:.0f} ms, {os.cpu_count()} cores, server and client on the same machine")
            for concurrency in (64, 256) if latency else (64,): measure(url, requests, concurrency, latency)
        finally: server.kill()
