"""How fast TRL's trainer is beside a bare PyTorch loop on the same batches, and what a whole training costs besides its steps.

usage: python tests/benchmarks/bench_training.py [RECORDS] [EPOCHS] [ROUNDS] [MODEL]

With the model smollm2-135m-instruct the records are the almanac's, and a loop whose rows are padded to the cutoff, as simple scripts do, runs as well.

One thread. The bare loop takes the trainer's own batches, in its order, with the same loss, optimizer and schedule; the two alternate.
"""
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import random
import tempfile
from pathlib import Path

import torch
from transformers import get_scheduler

from aquilt.benchmarks import specialist_examples, suite
from aquilt.foundations.core import Record
from aquilt.foundations.profiles import MINI, SMALL
from aquilt.miniature.teacher import write_pair
from aquilt.models.engines import model_path
from aquilt.reading.almanac import almanac_rows, texts
from aquilt.training import Recipe, make_trainer, synthesis_example, train_lora


def records(n):
    "Pairs of the miniature's teacher on SquadQA's domain."
    rng, passages = random.Random(0), suite(MINI)["squadqa"].passages(MINI, "benchmark")[0]
    pairs = [(r, write_pair("extractive_qa", r.text, "en", rng)) for r in (passages[i % len(passages)] for i in range(n))]
    return [Record(text=r.text, task="extractive_qa", question=q, logic=l, answer=a) for r, (q, l, a) in pairs]


def clocked(work):
    "Wall and CPU seconds of a call, and what it returned."
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def batches_of(trainer, epochs):
    "The batches that a training sees, epoch by epoch."
    loader = trainer.get_train_dataloader()
    for epoch in range(epochs):
        if hasattr(loader, "set_epoch"): loader.set_epoch(epoch)
        yield from loader


def bare(model, batches, how):
    "The same training as a plain loop; returns the loss of each step."
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(weights, lr=how.learning_rate, weight_decay=0.0, fused=True), []
    schedule = get_scheduler("cosine", optimizer, len(batches) // 10, len(batches))
    model.train()
    for batch in batches:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return losses


def almanac_examples(n):
    "Examples of Eq. 3 of the almanac's replies."
    known, rows = texts("general"), random.Random(0).sample(almanac_rows("replies"), n)
    return [synthesis_example(Record(text=known[r["passage"]], **{k: r[k] for k in ("task", "question", "logic", "answer")})) for r in rows]


def padded(batches, length):
    "The batches with every row padded to the cutoff."
    def pad(tensor, value): return torch.nn.functional.pad(tensor, (0, length - tensor.shape[1]), value=value)
    return [{"input_ids": pad(b["input_ids"], 0), "attention_mask": pad(b["attention_mask"], 0), "labels": pad(b["labels"], -100)} for b in batches]


def main(n=100, epochs=16, rounds=3, model="llama-instruct"):
    torch.set_num_threads(1)
    base, small = model_path(model), model == SMALL.student
    p = SMALL if small else MINI
    how = Recipe(p.specialist_learning_rate, p.specialist_batch_size, epochs, p.lora_rank, p.max_length, p.dtype)
    examples = almanac_examples(n) if small else specialist_examples(suite(MINI)["squadqa"], records(n))
    ratios = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            built, _, trainer = clocked(lambda: make_trainer(base, examples, Path(folder), how))
            batches = list(batches_of(trainer, epochs))
            tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
            plain = make_trainer(base, examples, Path(folder), how).model
            steps, cpu, _ = clocked(trainer.train)
            alone, alone_cpu, losses = clocked(lambda: bare(plain, batches, how))
        ratios.append(alone_cpu / cpu)
        print(f"round {number}: trainer {tokens / steps:,.0f} tokens/s ({tokens / cpu:,.0f} a CPU second), bare loop {tokens / alone:,.0f} ({tokens / alone_cpu:,.0f}), "
              f"ratio {alone / steps:.3f} wall, {ratios[-1]:.3f} CPU; building the trainer {built:.1f} s; {len(batches)} updates, {tokens / len(examples) / epochs:.0f} tokens a record, "
              f"loss of the last updates {trainer.state.log_history[-2]['loss']:.3f} and {sum(losses[-trainer.args.logging_steps:]) / trainer.args.logging_steps:.3f}")
        if small:
            simple, simple_cpu, _ = clocked(lambda: bare(plain, padded(batches, how.max_length), how))
            print(f"rows padded to {how.max_length} tokens: {tokens / simple:,.0f} tokens/s, the trainer is {simple / steps:.2f} times as fast ({simple_cpu / cpu:.2f} CPU)", flush=True)
    if small: return
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu, _ = clocked(lambda: train_lora(base, examples, Path(folder), how))
    print(f"train_lora, a whole training: {wall:.1f} s, {cpu:.1f} s CPU; median ratio {sorted(ratios)[len(ratios) // 2]:.3f} (CPU)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *sys.argv[4:])
