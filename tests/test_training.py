"""The one module that touches TRL and PEFT: what moves, what carries loss, what is left out."""
import pytest
import torch
from safetensors.torch import load_file
from tiny_model import make_model

from aquilt.foundations.core import Record, UserError
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from aquilt.training import Recipe, example_length, fitting, make_trainer, merge_adapter, model_path, train_lora, training

RECIPE = Recipe(learning_rate=1e-2, batch_size=2, epochs=2, rank=4, max_length=64, dtype="float32")
EXAMPLES = [("Which river?\n", "Veth"), ("Which city?\n", "Lumara"), ("哪条河？\n", "维斯河")]
CHAT = [([{"role": "user", "content": "Which river?"}], [{"role": "assistant", "content": "Veth"}])]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("base"))


def labelled(base, examples, folder):
    from transformers import AutoTokenizer
    batch = next(iter(make_trainer(str(base), examples, folder, RECIPE).get_train_dataloader()))
    tokenizer = AutoTokenizer.from_pretrained(base)
    return sorted(tokenizer.decode(ids[labels != -100], skip_special_tokens=False) for ids, labels in zip(batch["input_ids"], batch["labels"]))


def test_loss_falls_on_the_completion_and_its_end_only(base, tmp_path):
    texts = labelled(base, EXAMPLES[:2], tmp_path)
    assert [t.replace("<|im_end|>", "") for t in texts] == ["Lumara", "Veth"] and all(t.endswith("<|im_end|>") for t in texts)


def test_loss_falls_on_the_assistants_words_only(base, tmp_path):
    (text,) = labelled(base, CHAT, tmp_path)
    assert text.startswith("Veth") and "Which" not in text and "<|im_end|>" in text


def test_the_adapter_moves_and_the_base_does_not(base, tmp_path):
    before = (base / "model.safetensors").read_bytes()
    metrics = train_lora(str(base), EXAMPLES, tmp_path, RECIPE)
    assert (base / "model.safetensors").read_bytes() == before
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(w.abs().sum() > 0 for n, w in adapter.items() if "lora_B" in n)
    assert metrics["updates"] == 4 and metrics["examples"] == 3 and not (tmp_path / "checkpoints").exists()


def test_the_same_seed_trains_the_same_adapter(base, tmp_path):
    for name in ("a", "b"): train_lora(str(base), EXAMPLES, tmp_path / name, RECIPE)
    a, b = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(a[n], b[n]) for n in a)


def test_a_short_training_writes_no_checkpoint(base, tmp_path, monkeypatch):
    from transformers import Trainer
    saved = []
    monkeypatch.setattr(Trainer, "_save_checkpoint", lambda *args, **kwargs: saved.append(1))
    train_lora(str(base), EXAMPLES, tmp_path, RECIPE)
    assert not saved


def test_the_plain_loss_is_trls_own(base, tmp_path, monkeypatch):
    "The same training with either loss: the curves agree."
    curves = []
    for name, size in (("plain", 10**6), ("pieces", 0)):
        monkeypatch.setattr("aquilt.training.SMALL_VOCABULARY", size)
        curves.append([row["loss"] for row in train_lora(str(base), EXAMPLES, tmp_path / name, RECIPE)["loss"]])
    assert len(curves[0]) > 1 and curves[0] == pytest.approx(curves[1], abs=2e-3)


def test_a_training_goes_on_from_its_last_checkpoint(base, tmp_path, monkeypatch):
    class Killed(Exception): pass

    monkeypatch.setattr("aquilt.training.CHECKPOINT_SECONDS", 0.0)

    from transformers import TrainerCallback

    class KillAtTheSecond(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if state.global_step == 2: raise Killed

    def killed(*args):
        trainer = make_trainer(*args)
        trainer.add_callback(KillAtTheSecond())
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr("aquilt.training.make_trainer", killed)
        with pytest.raises(Killed): train_lora(str(base), EXAMPLES, tmp_path / "killed", RECIPE)
    assert len(list((tmp_path / "killed").rglob("checkpoint-2"))) == 1
    assert train_lora(str(base), EXAMPLES, tmp_path / "killed", RECIPE)["updates"] == 4
    train_lora(str(base), EXAMPLES, tmp_path / "whole", RECIPE)
    a, b = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("killed", "whole"))
    assert all(torch.allclose(a[n], b[n], atol=1e-6) for n in a)


def test_merged_weights_answer_as_the_adapter_does(base, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    train_lora(str(base), EXAMPLES, tmp_path, RECIPE)
    merged = AutoModelForCausalLM.from_pretrained(merge_adapter(str(base), tmp_path / "adapter", tmp_path / "merged"))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(tmp_path / "adapter"))
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(merged(input_ids=ids).logits, adapted(input_ids=ids).logits, atol=1e-4)


def test_too_long_examples_go_to_the_ledger(base, tmp_path):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(base)
    long = ("word " * 80, "Veth")
    assert fitting(tokenizer, [EXAMPLES[0], long], RECIPE.max_length) == [True, False]
    assert example_length(tokenizer, CHAT[0]) > example_length(tokenizer, EXAMPLES[0])
    run = Run(SMOKE, tmp_path)
    examples = {"a": EXAMPLES[0], "b": long}
    result = run.do(training("demo", str(base), lambda: [Record(text="a"), Record(text="b")], lambda r: examples[r.text], RECIPE, (), merge=False))
    assert result["counts"] == {"entered": 2, "kept": 1, "dropped": 1, "reasons": {"longer than 64 tokens": 1}}
    assert run.drops("demo")[0].record.text == "b"


def test_nothing_to_train_on_is_said_in_a_sentence(base, tmp_path):
    with pytest.raises(UserError, match="nothing to train on"):
        Run(SMOKE, tmp_path).do(training("demo", str(base), list, lambda r: EXAMPLES[0], RECIPE, (), merge=False))


def test_a_missing_base_model_is_named():
    with pytest.raises(UserError, match="base model no-such-model is missing"): model_path("no-such-model")
    assert model_path("Qwen/Qwen2.5-7B") == "Qwen/Qwen2.5-7B"
