"vLLM beside transformers: the arguments that reach it, its faults in one sentence, and its tokens on a tiny and on a real model."
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import PAPER, SMOKE
from aquilt.models import engines, vllm_engine
from aquilt.models.engines import Prompt, Sampling, TransformersEngine, model_path, prepared
from aquilt.models.weights import lora_room
from aquilt.models.vllm_engine import VLLMEngine, engine_arguments, engine_for, json_grammar, open_engine
from test_engines import FAULTS, GREEDY, PROMPTS, spoiled
from tiny_model import make_adapter, make_model

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (make install-vllm)")
KEYS = ("question", "answer")
CHATS = [Prompt([{"role": "user", "content": text}]) for text in (
    "What is the capital of France?", "Name three rivers of Europe.", "Write one sentence about the sea.", "How many days has a week?",
    "Summarize in one sentence: The town stands on a river. It has a bridge, a market and two schools.", "Give me a word that means happy.")]
CHATS += [Prompt(CHATS[0].content, prefix="The capital"), Prompt("The river flows through")]
ASKED = [Prompt([{"role": "user", "content": f"Write a question about the {thing} and its answer, as a JSON object with the keys question and answer."}], prefix)
         for thing in ("sea", "moon") for prefix in ("", '```json\n{"question": "Translate \\"it\\": ')]
NO_FORM = Prompt(ASKED[0].content, prefix="Sure")  # begins no object: nothing holds it


@pytest.fixture(scope="session")
def model(tmp_path_factory): return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def adapter(model, tmp_path_factory): return make_adapter(model, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def small():
    "A real language model, where the machine has it."
    try: return model_path("smollm2-135m-instruct")
    except UserError as e: pytest.skip(str(e))


def in_own_process(script, *arguments, **environment):
    "Run a script in a process of its own, because vLLM binds the threads of the one it runs in; returns what it wrote."
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(engines.__file__).parents[2])])
    out = Path(arguments[-1])
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": here} | environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


# --- arguments

def test_arguments_are_json_or_text_and_the_last_counts():
    assert engine_arguments(["a=1", "b=true", "c=bfloat16", 'd={"x": [1]}', "e=", "f=a=b", "a=2"]) == dict(a=2, b=True, c="bfloat16", d={"x": [1]}, e="", f="a=b")
    assert engine_arguments(PAPER.engine_args) == {"gpu_memory_utilization": 0.9, "enable_prefix_caching": True}


@pytest.mark.parametrize("wrong", ["batch_size", "=3", "batch-size=3", ""])
def test_an_argument_without_name_or_value_is_one_sentence(wrong):
    with pytest.raises(UserError, match="is not NAME=VALUE"): engine_arguments([wrong])


def test_unknown_engine():
    with pytest.raises(UserError, match="transformers, vllm"): open_engine("magic", "x")


@pytest.mark.parametrize("settings_", [dict(gpu_memory_utilization=0.9), dict(context=5), dict(guided="json")])
def test_transformers_refuses_what_it_does_not_know(settings_):
    with pytest.raises(UserError, match=f"no argument {next(iter(settings_))}: it takes batch_size, device, dtype"): open_engine("transformers", "x", **settings_)


def test_the_command_line_comes_after_the_profile(model, monkeypatch):
    profile = replace(SMOKE, engine_args=("batch_size=5", "dtype=float64"))
    assert engine_for(profile, model).batch_size == 5 and str(engine_for(profile, model).net.dtype) == "torch.float64"
    monkeypatch.setenv("AQUILT_ENGINE_ARGS", '["batch_size=7"]')
    assert engine_for(profile, model).batch_size == 7 and engine_for(SMOKE, model).batch_size == 7


def test_on_a_cpu_scores_do_not_depend_on_the_processor():
    profile = replace(SMOKE, dtype="auto", engine_args=("device=cpu",))
    assert str(engine_for(profile, model_path("qwen2")).net.dtype) == "torch.float32", "bfloat16 where the processor has it would give other scores"


def test_what_a_profile_hands_to_vllm(monkeypatch):
    seen = []
    monkeypatch.setattr(vllm_engine, "VLLMEngine", lambda model, **settings: seen.append(settings))
    engine_for(PAPER, "x")
    engine_for(replace(PAPER, lora_rank=8, specialist_rank=200, context=512, guided="json", engine_args=("max_lora_rank=320",)), "x")
    assert seen[0] == {"context": 8192, "guided": "", "max_lora_rank": 64, "gpu_memory_utilization": 0.9, "enable_prefix_caching": True}
    assert seen[1] == {"context": 512, "guided": "json", "max_lora_rank": 320} and lora_room(200) == 256


def test_vllm_missing_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="make install-vllm"): VLLMEngine("x")


def test_guided_is_json_or_nothing():
    with pytest.raises(UserError, match="guided='xml'"): VLLMEngine("x", guided="xml")


def test_a_cache_has_room_for_eight_texts_and_a_gibibyte_at_least(model):
    config = vllm_engine.read_config(model)
    assert vllm_engine.cache_bytes(config, 128) == 2**30
    assert vllm_engine.cache_bytes(config, 2**22) == 8 * 2**22 * 2 * 2 * 2 * 32 * 4  # texts, tokens, keys and values, layers, heads, head size, bytes


# --- the grammar

@pytest.mark.parametrize("keys, prefix, good, bad", [
    (KEYS, "", ['{"question": "x", "answer": "y"}', '```json\n{"question": "x \\" \\u00e9 河", "answer": ""}\n```', '{"question":"","answer":""}', '{\n  "question": "a",\n  "answer": "b"\n}'],
     ['{"question": "x"}', '{"answer": "x", "question": "y"}', '{"question": "x", "answer": "y"} and', '{"question": "x\n", "answer": "y"}', '{"question": "\\x", "answer": "y"}',
      '```json\n{"question": "x", "answer": "y"}', '{"question": 1, "answer": "y"}', '{"question": "x", "answer": "y", "more": "z"}']),
    (KEYS, '```json\n{"question": "Translate \\"it\\": ', ['the river", "answer": "b"}\n```'], ['the river", "answer": "b"}', 'the river"}\n```', '"question": "x", "answer": "y"}']),
    (("answer",), '{ "answer": "T', ['x"}', '"}'], ['x"', '"}\n```'])])
def test_the_grammar_is_a_json_object_with_its_keys_or_the_rest_of_it(keys, prefix, good, bad):
    testing = pytest.importorskip("xgrammar.testing", reason="xgrammar comes with vLLM")
    grammar = json_grammar(keys, prefix)
    assert [text for text in good if not testing._is_grammar_accept_string(grammar, text)] == []
    assert [text for text in bad if testing._is_grammar_accept_string(grammar, text)] == []


@pytest.mark.parametrize("prefix", ["Sure", '{"other": "', '{"question": "closed"', '{"question": ', "```\n{"])
def test_a_prefix_that_begins_no_such_object_is_not_held(prefix): assert json_grammar(KEYS, prefix) == ""


# --- the real one

TINY = """
import json, sys, torch
from dataclasses import asdict, replace
from pathlib import Path
from test_engines import GREEDY, PROMPTS
from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import SMOKE
from aquilt.models.engines import Prompt, Sampling
from aquilt.models.vllm_engine import VLLMEngine, engine_for
model, adapter, second, high, wider, *faulty, out = sys.argv[1:]
def told(work, *arguments, **settings):
    try: work(*arguments, **settings)
    except UserError as e: return str(e)
profile = replace(SMOKE, engine="vllm", guided="json", engine_args=("max_num_seqs=4", "max_num_batched_tokens=512", "enable_prefix_caching=true"))
said = {"unknown": told(VLLMEngine, model, gpu_memory_utilisation=0.5), "own": told(VLLMEngine, model, trust_remote_code=True)}
engine = engine_for(profile, model)
config = engine.llm.llm_engine.vllm_config
said["reached"] = [config.model_config.max_model_len, config.scheduler_config.max_num_seqs, config.scheduler_config.max_num_batched_tokens, config.lora_config.max_lora_rank,
                   config.cache_config.block_size, str(config.model_config.dtype), config.model_config.enforce_eager, config.cache_config.kv_cache_memory_bytes, config.cache_config.enable_prefix_caching]
asked = PROMPTS + [Prompt("river " * 200)]
said["runs"] = [[asdict(c) for c in engine.generate(asked, GREEDY, a)] for a in (None, adapter, None, second, adapter, None)]
said["seeds"] = [[asdict(c) for c in engine.generate(PROMPTS, Sampling(max_tokens=8, seed=seed))] for seed in (3, 3, 4)]
said["hot"] = [asdict(c) for c in engine.generate(PROMPTS[:1] * 100, Sampling(temperature=2, top_p=1, max_tokens=40))]
said["probabilities"] = engine.probabilities(PROMPTS, ["A", "B"], adapter)
said["cached"] = [engine.llm.generate([{"prompt_token_ids": list(range(3, 83))}], use_tqdm=False)[0].num_cached_tokens for _ in range(2)]
said["adapters"] = [told(engine.generate, PROMPTS, GREEDY, name) for name in ("nowhere", high, wider, *faulty)]
said["after"] = [asdict(c) for c in engine.generate(asked, GREEDY, adapter)]
engine.stops = engine.tokenizer.encode("<|endoftext|>")
said["template"] = told(engine.generate, PROMPTS, GREEDY)
said["loading"] = [told(VLLMEngine, model, **wrong) for wrong in (dict(context=128, kv_cache_memory_bytes=100_000), dict(kv_cache_memory_bytes=2**50), dict(kv_cache_memory_bytes=None, gpu_memory_utilization=1.0),
                                                                    dict(gpu_memory_utilization="much"), dict(max_lora_rank=48), dict(data_parallel_size=2))]
json.dump(said, open(out, "w"))
"""


@pytest.fixture(scope="module")
def tiny(model, adapter, tmp_path_factory):
    "What one vLLM engine said, bare and with adapters in turn, and how it refused."
    folder = tmp_path_factory.mktemp("vllm")
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    torch.manual_seed(5)
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=96, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")).save_pretrained(folder / "high")
    wider = make_adapter(make_model(folder / "wide", hidden=128), folder / "wider")
    second = make_adapter(model, folder / "second", seed=2)
    faulty = [spoiled(adapter, folder / f"spoiled {damage}", damage) for damage in FAULTS]
    return second, in_own_process(TINY, model, adapter, second, folder / "high", wider, *faulty, folder / "out.json", AQUILT_ENGINE_ARGS='["max_num_seqs=8"]')


@needs_vllm
def test_arguments_reach_vllm(tiny):
    assert tiny[1]["reached"] == [128, 8, 512, 64, 32, "torch.float32", True, 2**30, True]
    assert "The engine vllm has no argument gpu_memory_utilisation" in tiny[1]["unknown"] and "no argument trust_remote_code" in tiny[1]["own"]


@needs_vllm
def test_one_engine_serves_bare_and_adapted_requests_in_turn(tiny, model, adapter):
    second, said = tiny
    engine = TransformersEngine(model, batch_size=3, device="cpu")
    bare, one, two = [[asdict(c) for c in engine.generate(PROMPTS + [Prompt("river " * 200)], GREEDY, a)] for a in (None, adapter, second)]
    assert said["runs"] == [bare, one, bare, two, one, bare] and said["after"] == one
    first, same, other = said["seeds"]
    assert first == same != other
    for row, ours in zip(said["probabilities"], engine.probabilities(PROMPTS, ["A", "B"], adapter)):  # vLLM tells the twenty likeliest
        assert all(p in (0.0, pytest.approx(q, abs=1e-4)) for p, q in zip(row, ours))
    ended = [c for c in said["hot"] if c["finish_reason"] == "stop"]
    assert 0 < len(ended) < 100 and all("<|im_end|>" not in c["text"] and c["usage"]["completion_tokens"] <= 40 for c in ended)


@needs_vllm
def test_a_common_prefix_is_computed_once(tiny): assert tiny[1]["cached"] == [0, 64]


@needs_vllm
def test_vllm_refuses_in_one_sentence(tiny):
    nowhere, high, wider, *faulty = tiny[1]["adapters"]
    assert "adapter_model.safetensors" in nowhere
    assert "has rank 96, and vLLM keeps room for rank 64 alone: open the engine with max_lora_rank=128" in high
    assert "does not fit this model" in wider and all(any(part in text for part in ("is damaged", "infinite", "does not fit")) for text in faulty)
    assert "set eos_token in tokenizer_config.json" in tiny[1]["template"]
    assert all("\n" not in text for text in (nowhere, high, wider, *faulty, tiny[1]["template"]))


@needs_vllm
def test_what_cannot_be_loaded_names_the_setting(tiny):
    texts, much, taken, word, rank, copies = tiny[1]["loading"]
    assert "Lower `context`" in texts and "kv_cache_memory_bytes" in much and "Lower gpu_memory_utilization" in taken
    assert "gpu_memory_utilization" in word and "max_lora_rank" in rank and "data_parallel_size" in copies
    assert all("\n" not in text for text in tiny[1]["loading"])


REAL = """
import json, sys
from dataclasses import asdict, replace
from aquilt.foundations.profiles import SMOKE
from aquilt.models import vllm_engine
from aquilt.models.engines import Sampling
from aquilt.models.vllm_engine import engine_for
from test_vllm import ASKED, CHATS, KEYS, NO_FORM
engine = engine_for(replace(SMOKE, engine="vllm", context=512, guided="json"), sys.argv[1])
decode, new = vllm_engine.decode, []
vllm_engine.decode = lambda *parts: new.append(parts[3]) or decode(*parts)
greedy = [asdict(c) for c in engine.generate(CHATS, Sampling(0.0, 1.0, 32))]
tokens = list(new)
held = [asdict(c) for c in engine.generate(ASKED * 2 + [NO_FORM], Sampling(0.7, 0.95, 200, seed=2), keys=KEYS)]
free = [asdict(c) for c in engine.generate(ASKED, Sampling(0.7, 0.95, 16, seed=2))]
json.dump([engine.context, greedy, tokens, held, free], open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def real(small, tmp_path_factory): return in_own_process(REAL, small, tmp_path_factory.mktemp("real") / "out.json")


@needs_vllm
def test_greedy_tokens_of_a_real_model_are_those_of_transformers(real, small, monkeypatch):
    "Where a token differs, its logit and the other's differ by no more than rounding; behind it the texts part ways."
    import torch
    context, said, tokens = real[:3]
    assert context == 512
    engine, ours = TransformersEngine(small, device="cpu"), {}
    decode = engines.decode
    monkeypatch.setattr(engines, "decode", lambda *parts: ours.update({tuple(parts[2]): parts[3]}) or decode(*parts))
    completions = engine.generate(CHATS, Sampling(0.0, 1.0, 32))
    rows = prepared(engine.tokenizer, CHATS, engine.stops, 512)[0]
    same = 0
    for row, theirs, completion, other in zip(rows, tokens, completions, said):
        mine = ours[tuple(row)]
        if mine == theirs:
            assert asdict(completion) == other
            same += 1
            continue
        place = next(i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b)
        with torch.no_grad(): logits = engine.net(torch.tensor([row + mine[:place]])).logits[0, -1]
        assert abs(float(logits[mine[place]] - logits[theirs[place]])) < 1e-3, (place, mine, theirs)
    assert same >= len(CHATS) - 1 and any(c.finish_reason == "stop" for c in completions)


@needs_vllm
def test_a_guided_completion_is_a_json_object_of_its_keys(real):
    *held, loose = real[3]
    ended = [c for c in held if c["finish_reason"] == "stop"]
    for c in ended:
        text = c["text"].removeprefix("```json\n").removesuffix("\n```")
        found = json.loads(text)
        assert list(found) == list(KEYS) and all(isinstance(value, str) for value in found.values())
    assert len(ended) >= len(held) // 2 and any(c["text"].startswith(ASKED[1].prefix) for c in ended)
    assert loose["text"].startswith("Sure") and "{" not in loose["text"][:5]
    assert not all(c["text"].lstrip("`json\n").startswith("{") for c in real[4])  # without keys the model writes what it likes
