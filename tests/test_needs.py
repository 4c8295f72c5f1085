"""Memory and time, told before a training."""
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aquilt.foundations.profiles import MINI, PAPER, SINGLE_GPU
from aquilt.models.engines import model_path
from aquilt.runner.needs import engine_memory, needs, shape_of, too_large, training_hours, training_memory
from aquilt.runner.doctor import doctor, obstacles

H100, CARD = ("NVIDIA H100 80GB HBM3", 79.6), ("NVIDIA GeForce RTX 3050", 4.0)
HAS = {"memory": 64, "gpus": [], "vllm": True, "keys": [], "offline": False, "notebooks": True, "models": ["llama-instruct", "qwen2", "qwen2-instruct"]}


def test_a_shape_counts_the_weights_of_a_real_model():
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(model_path("llama-instruct"))
    assert shape_of(model_path("llama-instruct")).parameters == pytest.approx(model.num_parameters(), rel=0.01)
    assert shape_of("meta-llama/Meta-Llama-3-8B-Instruct").parameters == pytest.approx(8.03e9, rel=0.01) and shape_of("nobody/knows") is None


def test_a_lora_has_as_many_weights_as_peft_makes():
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(model_path("qwen2"))
    trainable, _ = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")).get_nb_trainable_parameters()
    assert shape_of(model_path("qwen2")).adapter(16) == trainable


def test_memory_grows_with_rows_and_a_gpu_checkpoints():
    small, large = (training_memory("Qwen/Qwen2.5-7B", rows, 2048, 64, "bfloat16", True) for rows in (1, 8))
    assert 15 < small < large < 80 and training_memory("Qwen/Qwen2.5-7B", 8, 2048, 64, "bfloat16", False) > large
    assert training_memory("nobody/knows", 1, 1, 1, "float32", True) is None and engine_memory("nobody/knows", 1, "float32") is None


def test_a_small_card_is_told_of_before_and_a_large_one_is_enough():
    assert any("device_tokens" in why for why in obstacles(SINGLE_GPU, HAS | {"gpus": [CARD]}))
    assert any("device_tokens" in why for why in too_large(needs(PAPER, [CARD], 64)))
    assert not any("GiB" in why for why in obstacles(PAPER, HAS | {"gpus": [H100] * 8}))
    assert not any("GiB" in why for why in obstacles(MINI, HAS)) and any("no CUDA GPU" in why for why in obstacles(PAPER, HAS))


def test_rows_at_once_follow_from_the_tokens_that_fit():
    table = needs(replace(PAPER, device_tokens=4096), [H100] * 8, 512)
    assert set(table["rows at once"]) == {2} and (table["hours, at most"] > 0).all()
    assert training_hours("Qwen/Qwen2.5-7B", 1e9, True, 8 * 989e12) == pytest.approx(6 * 7.6e9 * 1e9 / (0.4 * 8 * 989e12) / 3600, rel=0.02)


def test_doctor_says_what_a_profile_needs():
    told = doctor("mini")
    assert "profile mini" in told and "synthesiser" in told and "hours, at most" in told and "profile paper" not in told
    done = subprocess.run([sys.executable, "-m", "aquilt", "doctor", "--profile", "nothing"], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 2 and "Unknown profile" in done.stderr and "Traceback" not in done.stderr
