"""Records per second and per minute of one engine and model: in one call, one prompt per call, and by the library alone on the same tokens; and the memory.

usage: python tests/benchmarks/bench_engines.py [--engine transformers] [--model smollm2-135m-instruct] [--records 64] [--tokens 64] [--rounds 3]

A record is a greedy completion of up to TOKENS tokens. The engine and the bare library take turns; the median round counts, in wall time and in CPU time, which a busy machine disturbs less. One prompt per call is
measured on one record in eight. vLLM forgets its prefixes before each measurement. Bounds: batched at least 7 times one by one with transformers on two cores, and at least 0.95 of the bare library; 6 GB for
SmolLM2.
"""
import argparse
import os
import resource
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from dataclasses import replace
from statistics import median

from aquilt.benchmarks import suite
from aquilt.foundations.profiles import MINI, SMOKE
from aquilt.models.engines import Prompt, Sampling, length_batches, left_pad, model_path, prepared
from aquilt.models.vllm_engine import engine_for


def prompts_of(n):
    "Plain text, so that a base model can be asked as well: the beginning of a passage, and a question to write."
    texts = [r.text for r in suite(MINI)["squadqa"].passages(MINI, "benchmark")[0]]
    return [Prompt(f"{i}. {texts[i % len(texts)][:120]}\nA question about this text, and its answer:\n") for i in range(n)]


def bare_transformers(engine, rows, sampling):
    "`generate` of transformers on the engine's own batches."
    import torch
    from transformers import GenerationConfig
    how = GenerationConfig(max_new_tokens=sampling.max_tokens, do_sample=False, eos_token_id=engine.stops, pad_token_id=engine.stops[0])
    for batch in length_batches(dict(enumerate(map(len, rows))), engine.batch_size):
        ids, mask = left_pad([rows[i] for i in batch], engine.stops[0])
        with torch.no_grad(): engine.net.generate(input_ids=ids.to(engine.net.device), attention_mask=mask.to(engine.net.device), generation_config=how)


def bare_vllm(engine, rows, sampling):
    "`generate` of vLLM on the same tokens."
    from vllm import SamplingParams
    how = SamplingParams(temperature=0.0, max_tokens=sampling.max_tokens, stop_token_ids=engine.stops)
    engine.llm.generate([{"prompt_token_ids": row} for row in rows], how, use_tqdm=False)


def clocked(engine, work):
    "Wall and CPU seconds of a call."
    if hasattr(engine, "llm"): engine.llm.reset_prefix_cache()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="transformers")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    for name, default in ("records", 64), ("tokens", 64), ("rounds", 3): parser.add_argument(f"--{name}", type=int, default=default)
    told = parser.parse_args()
    engine = engine_for(replace(SMOKE, engine=told.engine, context=1024), model_path(told.model))
    prompts, sampling = prompts_of(told.records), Sampling(0.0, 1.0, told.tokens)
    rows = prepared(engine.tokenizer, prompts, engine.stops, engine.context)[0]
    bare = bare_vllm if told.engine == "vllm" else bare_transformers
    engine.generate(prompts, replace(sampling, max_tokens=4))  # warm up
    few = prompts[::8]
    rates = {"one prompt per call": [[len(few) / t for t in clocked(engine, lambda: [engine.generate([p], sampling) for p in few])]], "all in one call": [], "the library alone": []}
    for _ in range(told.rounds):
        rates["all in one call"].append([len(prompts) / t for t in clocked(engine, lambda: engine.generate(prompts, sampling))])
        rates["the library alone"].append([len(prompts) / t for t in clocked(engine, lambda: bare(engine, rows, sampling))])
    load = os.getloadavg()[0]
    print(f"{told.engine}, {told.model}: {told.records} records of {median(map(len, rows)):.0f} tokens, up to {told.tokens} new ones; {os.cpu_count()} cores, load {load:.1f}\n")
    print(f"{'':22}{'records/s':>12}{'a CPU second':>15}")
    middle = {name: [median(column) for column in zip(*found)] for name, found in rates.items()}
    for name, (wall, cpu) in middle.items(): print(f"{name:22}{wall:12.2f}{cpu:15.2f}")
    single, batched, alone = middle.values()
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\n{60 * batched[0]:.0f} records a minute in one call; the process held at most {held:.1f} GB")
    print(f"all in one call / one prompt per call: {batched[0] / single[0]:.1f} (CPU {batched[1] / single[1]:.1f})")
    print(f"all in one call / the library alone:   {batched[0] / alone[0]:.3f} (CPU {batched[1] / alone[1]:.3f}); by round "
          + ", ".join(f"{a[0] / b[0]:.3f} ({a[1] / b[1]:.3f})" for a, b in zip(rates["all in one call"], rates["the library alone"])))


if __name__ == "__main__": main()
