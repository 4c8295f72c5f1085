"vLLM's own OpenAI-compatible server as a second peer of the API engine: started, waited for, asked, stopped."
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from aquilt.models.api import APIEngine
from aquilt.models.engines import Prompt, Sampling, TransformersEngine, model_path

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (make install-vllm)")
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=12)
PROMPTS = [Prompt([{"role": "user", "content": text}]) for text in ("In which town was BoLoNo born?", "城市芬哈娜以什么闻名？", "Summarize the text: The city KaVeLo stands on the river MiTo.")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    "The base address of a server with the miniature's chat model, or a failure that shows the end of its log."
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    # the module and not `vllm serve`, which looks for a distribution called vllm: the CPU build has another name
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model_path("qwen2-instruct"), "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
               "--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    env = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as out: process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.time() + 500
        while True:
            if process.poll() is not None or time.time() > deadline: pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200: break
            except (urllib.error.URLError, OSError): time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGTERM)
        try: process.wait(60)
        except subprocess.TimeoutExpired: os.killpg(process.pid, signal.SIGKILL)


def test_it_answers_as_the_model_itself_does_and_is_asked_once(server, tmp_path):
    engine = APIEngine("tiny", server, replies=tmp_path / "replies.jsonl")
    completions = engine.generate(PROMPTS, GREEDY)
    own = TransformersEngine(model_path("qwen2-instruct")).generate(PROMPTS, GREEDY)
    assert [c.text.strip() for c in completions] == [c.text.strip() for c in own]
    assert [c.usage.prompt_tokens for c in completions] == [c.usage.prompt_tokens for c in own] and all(c.usage.requests == 1 for c in completions)
    assert engine.generate(PROMPTS, GREEDY) == completions and len((tmp_path / "replies.jsonl").read_text().splitlines()) == 3


def test_it_goes_on_from_a_forced_prefix(server):
    [completion] = APIEngine("tiny", server).generate([Prompt(PROMPTS[0].content, prefix="The town")], GREEDY)
    assert completion.text.startswith("The town") and len(completion.text) > len("The town")


def test_a_model_that_it_does_not_have_is_one_sentence(server):
    from aquilt.foundations.core import UserError
    with pytest.raises(UserError, match="knows no such model"): APIEngine("other", server).generate(PROMPTS[:1], GREEDY)
