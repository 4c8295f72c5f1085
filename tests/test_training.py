"""The one module that touches TRL and PEFT: what moves, what carries loss, what is left out."""
import pytest
import torch
from safetensors.torch import load_file
from tiny_model import make_model

from aquilt.foundations.core import Record, UserError
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from aquilt.training import EpochOrder, Recipe, example_length, fitting, make_trainer, merge_adapter, micro_batch, model_path, row_order, train_lora, training

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


class Killed(Exception): "What a kill is here."


def killed_at(step):
    "`make_trainer`, whose training ends when the checkpoint of an update is written."
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if state.global_step == step: raise Killed

    def make(*args):
        trainer = make_trainer(*args)
        trainer.add_callback(Kill())
        return trainer

    return make


def test_a_training_goes_on_from_its_last_checkpoint(base, tmp_path, monkeypatch):
    monkeypatch.setattr("aquilt.training.CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr("aquilt.training.make_trainer", killed_at(2))
        with pytest.raises(Killed): train_lora(str(base), EXAMPLES, tmp_path / "killed", RECIPE)
    assert len(list((tmp_path / "killed").rglob("checkpoint-2"))) == 1
    assert train_lora(str(base), EXAMPLES, tmp_path / "killed", RECIPE)["updates"] == 4
    train_lora(str(base), EXAMPLES, tmp_path / "whole", RECIPE)
    a, b = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("killed", "whole"))
    assert all(torch.allclose(a[n], b[n], atol=1e-6) for n in a)


MANY = [(f"Which river {'flows ' * (i % 7)}{i}?\n", f"Veth {i}") for i in range(24)]
LONG = Recipe(learning_rate=1e-2, batch_size=4, epochs=3, rank=4, max_length=128, dtype="float32")


def adapter_of(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_a_training_killed_within_an_epoch_ends_with_the_same_adapter(base, tmp_path, monkeypatch):
    "Update 8 of 18 is the second of the second epoch; the rows that are left come in their order."
    monkeypatch.setattr("aquilt.training.CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr("aquilt.training.make_trainer", killed_at(8))
        with pytest.raises(Killed): train_lora(str(base), MANY, tmp_path / "killed", LONG)
    gone_on, whole = (train_lora(str(base), MANY, tmp_path / name, LONG) for name in ("killed", "whole"))
    assert gone_on["updates"] == 18 and gone_on["loss"] == whole["loss"]
    a, b = adapter_of(tmp_path / "killed"), adapter_of(tmp_path / "whole")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_micro_batches_add_up_to_the_batch(base, tmp_path):
    "With room for one row, for two, or for all four: the same adapter but for rounding."
    longest = max(example_length(make_trainer(str(base), MANY[:1], tmp_path, LONG).processing_class, e) for e in MANY)
    for name, tokens in (("one", 1), ("two", 2 * longest), ("all", 0)): train_lora(str(base), MANY, tmp_path / name, LONG, device_tokens=tokens)
    a, b, c = (adapter_of(tmp_path / name) for name in ("one", "two", "all"))
    assert all(torch.allclose(a[n], c[n], atol=1e-4) and torch.allclose(b[n], c[n], atol=1e-4) for n in c)


def test_two_processes_train_what_one_does(base, tmp_path):
    "By accelerate with gloo, as several GPUs by NCCL: same batches, same adapter but for rounding; and the stage's own file says that there were two."
    one, two = train_lora(str(base), MANY, tmp_path / "one", LONG), train_lora(str(base), MANY, tmp_path / "two", LONG, "gloo")
    assert (one["processes"], two["processes"]) == (1, 2) and one["updates"] == two["updates"] == 18 and one["tokens"] == two["tokens"]
    a, b = adapter_of(tmp_path / "one"), adapter_of(tmp_path / "two")
    assert a.keys() == b.keys() and all(torch.allclose(a[n], b[n], atol=1e-4) for n in a)
    assert [row["loss"] for row in one["loss"]] == pytest.approx([row["loss"] for row in two["loss"]], abs=2e-3)


def test_a_launched_training_that_fails_is_its_own_sentence(base, tmp_path):
    odd = Recipe(learning_rate=1e-2, batch_size=3, epochs=1, rank=4, max_length=128, dtype="float32")
    with pytest.raises(UserError, match="A batch of 3 cannot be shared by 2 processes"): train_lora(str(base), MANY, tmp_path, odd, "gloo")
    with pytest.raises(UserError, match="'cluster' is no configuration for a launch: choose one of ddp"): train_lora(str(base), MANY, tmp_path, LONG, "cluster")


def test_an_adapter_that_is_there_is_not_trained_again(base, tmp_path, monkeypatch):
    "What comes after a training may fail; other data or another recipe are trained on."
    first = train_lora(str(base), EXAMPLES, tmp_path, RECIPE)
    with monkeypatch.context() as patch:
        patch.setattr("aquilt.training.fit", lambda *args: pytest.fail("trained again"))
        assert train_lora(str(base), EXAMPLES, tmp_path, RECIPE) == first
    assert train_lora(str(base), EXAMPLES[:2], tmp_path, RECIPE)["examples"] == 2


def test_a_loss_that_is_no_number_stops_the_training(base, tmp_path, monkeypatch):
    monkeypatch.setattr("aquilt.training.CHECKPOINT_SECONDS", 0.0)
    plain = __import__("aquilt.training", fromlist=["x"]).plain_loss
    def spoiled(trainer, *args, **kwargs): return plain(trainer, *args, **kwargs) * (float("nan") if trainer.state.global_step == 5 else 1)
    monkeypatch.setattr("aquilt.training.plain_loss", spoiled)
    with pytest.raises(UserError, match="The loss is nan after 5 updates: lower the learning rate"): train_lora(str(base), MANY, tmp_path, LONG)
    assert [path.name for path in tmp_path.glob("checkpoints/*/checkpoint-*")] == ["checkpoint-5"]


def test_rows_of_like_length_stand_together_in_an_order_that_the_seed_decides():
    lengths = [i % 50 + 1 for i in range(400)]
    order = row_order(lengths, 8, 3, 1)
    assert sorted(order) == list(range(400)) and order == list(EpochOrder(lengths, 8, 3, 1)) and order != row_order(lengths, 8, 4, 1)
    padded = sum(8 * max(lengths[i] for i in order[k:k + 8]) for k in range(0, 400, 8))
    assert padded < 1.1 * sum(lengths)
    assert micro_batch(32, 100, 250) == 2 and micro_batch(6, 100, 450) == 3


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
    result = run.do(training(SMOKE, "demo", str(base), lambda: [Record(text="a"), Record(text="b")], lambda r: examples[r.text], RECIPE, (), merge=False))
    assert result["counts"] == {"entered": 2, "kept": 1, "dropped": 1, "reasons": {"longer than 64 tokens": 1}}
    assert run.drops("demo")[0].record.text == "b"


def test_nothing_to_train_on_is_said_in_a_sentence(base, tmp_path):
    with pytest.raises(UserError, match="nothing to train on"):
        Run(SMOKE, tmp_path).do(training(SMOKE, "demo", str(base), list, lambda r: EXAMPLES[0], RECIPE, (), merge=False))


def test_a_missing_base_model_is_named():
    with pytest.raises(UserError, match="no-such-model is neither in .* nor in .*aquilt model no-such-model"): model_path("no-such-model")
    assert model_path("Qwen/Qwen2.5-7B") == "Qwen/Qwen2.5-7B"
