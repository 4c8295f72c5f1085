"Engines on a tiny random model: what must hold whatever the weights."
import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.models import engines
from aquilt.foundations.core import UserError
from aquilt.models.engines import Completion, Prompt, Sampling, TransformersEngine, Usage, generate_resumable
from tiny_model import make_adapter, make_model

GREEDY = Sampling(temperature=0, max_tokens=12)
PROMPTS = [Prompt("The river"), Prompt("维斯河流经卢马拉。问题：", prefix='{"question": "'), Prompt([{"role": "user", "content": "Which river?"}], prefix="The "),
           Prompt("The river of Lumara is the Veth. " * 3), Prompt([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "河"}])]


@pytest.fixture(scope="session")
def model(tmp_path_factory): return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def adapter(model, tmp_path_factory): return make_adapter(model, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def engine(model): return TransformersEngine(model, batch_size=3, device="cpu")


@pytest.fixture(scope="session")
def even(tmp_path_factory):
    "All tokens about equally likely, the end of text among them."
    return TransformersEngine(make_model(tmp_path_factory.mktemp("even"), spread=0.001), device="cpu")


# --- values

def test_usage_adds(): assert sum([Usage(1, 2, 1), Usage(3, 4, 1)], Usage()) == Usage(4, 6, 2)


@pytest.mark.parametrize("wrong", [dict(temperature=-1), dict(temperature=2.1), dict(top_p=0), dict(top_p=1.1), dict(max_tokens=0)])
def test_sampling_out_of_range(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))): Sampling(**wrong)


@given(st.lists(st.integers(1, 50)), st.integers(1, 7))
def test_batches_are_a_partition_sorted_by_length(lengths, size):
    batches = engines.length_batches(dict(enumerate(lengths)), size)
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == list(range(len(lengths))) and all(len(b) == size for b in batches[:-1])
    assert [lengths[i] for i in flat] == sorted(lengths, reverse=True)


def test_seeds_are_31_bits_and_differ():
    seeds = {engines.derive_seed(seed, i) for seed in range(20) for i in range(50)}
    assert len(seeds) == 1000 and max(seeds) < 2**31


# --- the transformers engine

def test_a_batch_gives_what_single_calls_give(engine):
    assert engine.generate(PROMPTS, GREEDY) == [engine.generate([p], GREEDY)[0] for p in PROMPTS]


@pytest.mark.parametrize("step", [1, 5, 128])
def test_the_roomy_cache_changes_no_token(engine, monkeypatch, step):
    roomy = engines.roomy_cache
    for sampling in (GREEDY, Sampling(max_tokens=30)):
        monkeypatch.setattr(engines, "roomy_cache", lambda net: None)
        expected = engine.generate(PROMPTS, sampling)
        monkeypatch.setattr(engines, "roomy_cache", lambda net: roomy(net, step))
        assert engine.generate(PROMPTS, sampling) == expected


def test_a_sliding_window_keeps_its_own_cache(engine, monkeypatch):
    monkeypatch.setattr(engine.net.config, "layer_types", ["full_attention", "sliding_attention"])
    assert engines.roomy_cache(engine.net) is None


def test_order_and_usage(engine):
    reversed_ = engine.generate(PROMPTS[::-1], GREEDY)
    assert reversed_[::-1] == engine.generate(PROMPTS, GREEDY)
    text = engines.render(engine.tokenizer, PROMPTS[2])
    assert text == "<|im_start|>user\nWhich river?<|im_end|>\n<|im_start|>assistant\nThe "
    assert reversed_[2].usage == Usage(len(engine.tokenizer.encode(text)), 12, 1)


def test_equal_seeds_repeat_and_others_do_not(engine):
    sampling = Sampling(max_tokens=8, seed=3)
    first = engine.generate(PROMPTS, sampling)
    assert first == engine.generate(PROMPTS, sampling)
    assert [c.text for c in first] != [c.text for c in engine.generate(PROMPTS, replace(sampling, seed=4))]


def test_equal_prompts_differ_within_and_between_batches(engine):
    texts = [c.text for c in engine.generate([PROMPTS[0]] * 6, Sampling(temperature=2, max_tokens=10))]
    assert len(set(texts)) == 6


def test_sampling_leaves_the_callers_random_state_alone(engine):
    import torch
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    engine.generate(PROMPTS[:1], Sampling(max_tokens=4))
    assert torch.equal(torch.rand(3), expected)


def test_only_temperature_and_top_p_cut_the_choice(engine, even):
    "A top-k of 50, which transformers adds where nothing is said, would show as at most 50 different first tokens."
    texts = [c.text for c in even.generate([PROMPTS[0]] * 300, Sampling(temperature=1, top_p=1, max_tokens=1))]
    assert len(set(texts)) > 100
    nearly_greedy = engine.generate(PROMPTS[:2], Sampling(temperature=1, top_p=1e-9, max_tokens=12))
    assert nearly_greedy == engine.generate(PROMPTS[:2], GREEDY)


def test_the_models_own_generation_settings_are_put_aside(model, engine, tmp_path):
    copy = shutil.copytree(model, tmp_path / "model")
    settings_ = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(settings_ | {"repetition_penalty": 5.0, "do_sample": True, "top_k": 1, "temperature": 0.1}))
    other = TransformersEngine(copy, batch_size=3, device="cpu")
    assert other.generate(PROMPTS, GREEDY) == engine.generate(PROMPTS, GREEDY)
    sampling = Sampling(temperature=2, max_tokens=5)
    assert other.generate(PROMPTS, sampling) == engine.generate(PROMPTS, sampling)


def test_the_prefix_begins_the_text_and_is_continued(engine):
    prefix = '{"question": "河 '
    forced, plain = engine.generate([Prompt("The river", prefix), Prompt("The river" + prefix)], GREEDY)
    assert forced.text == prefix + plain.text and forced.usage == plain.usage


def test_stop_and_length(engine, monkeypatch):
    token = engine.tokenizer.encode(engine.generate([Prompt("The river")], replace(GREEDY, max_tokens=1))[0].text)[0]
    monkeypatch.setattr(engine, "stops", [*engine.stops, token])
    stopped = engine.generate([Prompt("The river"), *PROMPTS[1:3]], GREEDY)
    assert stopped[0].finish_reason == "stop" and stopped[0].usage.completion_tokens == 1
    assert all(c.finish_reason == ("length" if c.usage.completion_tokens == 12 else "stop") for c in stopped)


def test_end_token_is_counted_but_not_shown(even):
    ended = [c for c in even.generate([PROMPTS[0]] * 100, Sampling(temperature=1, top_p=1, max_tokens=40)) if c.finish_reason == "stop"]
    assert ended and all("<|im_end|>" not in c.text and c.usage.completion_tokens <= 40 for c in ended)
    assert min(c.usage.completion_tokens for c in ended) < 30


def test_a_prompt_too_long_is_an_error_of_its_own(engine):
    prompts = [PROMPTS[0], Prompt("river " * 200), PROMPTS[1]]
    first, long, last = engine.generate(prompts, GREEDY)
    assert long.text == "" and long.finish_reason == "error" and "128" in long.error and long.usage == Usage()
    assert [first, last] == engine.generate([PROMPTS[0], PROMPTS[1]], GREEDY)
    assert engine.generate([prompts[1]], GREEDY) == [long]


def test_a_long_neighbour_shortens_nobody_and_the_context_ends_a_completion(engine):
    room = 128 - 120
    long = Prompt(engine.tokenizer.decode(engine.tokenizer.encode("a" * 200)[:120]))
    together = engine.generate([long, PROMPTS[0]], replace(GREEDY, max_tokens=40))
    assert [c.usage.completion_tokens for c in together] == [room, 40] and together[0].finish_reason == "length"
    assert together[1] == engine.generate([PROMPTS[0]], replace(GREEDY, max_tokens=40))[0]


def test_nothing_to_do_and_an_empty_prompt(engine):
    assert engine.generate([], GREEDY) == []
    assert engine.generate([Prompt("")], GREEDY)[0].error == "The prompt is empty."


def test_a_bar_only_where_it_has_a_name(engine, capfd):
    engine.generate(PROMPTS, GREEDY)
    assert "it/s" not in capfd.readouterr().err
    engine.generate(PROMPTS, GREEDY, desc="writing")
    assert "writing" in capfd.readouterr().err


def test_chat_needs_a_template(engine, monkeypatch):
    monkeypatch.setattr(engine.tokenizer, "chat_template", None)
    assert engine.generate(PROMPTS[:1], GREEDY)
    with pytest.raises(UserError, match="no chat template"): engine.generate(PROMPTS, GREEDY)


def test_a_chat_that_could_not_end_is_refused_before_anything_is_generated(engine, monkeypatch):
    "The model's own end token is the end of a text, as a base model's is; its template ends a turn with another mark."
    end = engine.tokenizer.encode("<|endoftext|>")
    monkeypatch.setattr(engine, "stops", end)
    monkeypatch.setattr(engines, "generate_batch", None)
    with pytest.raises(UserError, match=r"'<\|im_end\|>\\n', which holds none of the model's end tokens \(<\|endoftext\|>\).*set eos_token"): engine.generate(PROMPTS, GREEDY)
    monkeypatch.undo()
    monkeypatch.setattr(engine, "stops", end)
    assert len(engine.generate(PROMPTS[:2], GREEDY)) == 2  # plain text needs no template


def test_keys_are_left_aside(engine):
    assert engine.generate(PROMPTS, GREEDY, keys=("question", "answer")) == engine.generate(PROMPTS, GREEDY)


# --- adapters

def base_weights(engine):
    return {name.replace("base_model.model.", "").replace(".base_layer", ""): p.detach().clone() for name, p in engine.net.named_parameters() if "lora_" not in name}


def test_an_adapter_changes_its_own_call_and_never_the_base(model, adapter, tmp_path):
    import torch
    engine = TransformersEngine(model, device="cpu")
    before, bare = base_weights(engine), engine.generate(PROMPTS, GREEDY)
    second = make_adapter(model, tmp_path / "second", seed=2)
    one, two = engine.generate(PROMPTS, GREEDY, adapter), engine.generate(PROMPTS, GREEDY, second)
    assert len({c[0].text for c in (bare, one, two)}) == 3
    assert engine.generate(PROMPTS, GREEDY) == bare
    assert engine.generate(PROMPTS, GREEDY, str(adapter)) == one and engine.generate(PROMPTS, GREEDY, second) == two
    after = base_weights(engine)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_trained_again_into_its_folder_is_read_again(model, tmp_path):
    engine, folder = TransformersEngine(model, device="cpu"), tmp_path / "adapter"
    make_adapter(model, folder, seed=3)
    old = engine.generate(PROMPTS, GREEDY, folder)
    shutil.rmtree(folder)
    make_adapter(model, folder, seed=4)
    assert engine.generate(PROMPTS, GREEDY, folder) != old


def test_adapters_that_cannot_be_used(model, engine, tmp_path):
    with pytest.raises(UserError, match="adapter_model.safetensors"): engine.generate(PROMPTS, GREEDY, tmp_path / "none")
    wider = make_model(tmp_path / "wider", hidden=128)
    with pytest.raises(UserError, match="does not fit.*128 x 64, the model's is 64 x 64.*wider"): TransformersEngine(model, device="cpu").generate(PROMPTS, GREEDY, make_adapter(wider, tmp_path / "other"))


def spoiled(adapter, folder, damage):
    "A copy of an adapter with one fault."
    from safetensors.torch import load_file, save_file
    shutil.copytree(adapter, folder)
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if damage == "cut": weights.write_bytes(weights.read_bytes()[:2000])
    if damage == "empty": weights.write_bytes(b"")
    if damage == "no config": config.unlink()
    if damage == "bad config": config.write_text("{")
    if damage in ("nan", "inf", "layer"):
        tensors = load_file(weights)
        name = sorted(tensors)[3]
        if damage == "layer": tensors = {n.replace("layers.1.", "layers.7."): t for n, t in tensors.items()}
        else: tensors[name][0, 0] = float(damage)
        save_file(tensors, weights)
    return folder


FAULTS = {"cut": "is damaged", "empty": "is damaged", "no config": "is damaged.*adapter_config.json", "bad config": "is damaged",
          "nan": "infinite or not a number .*lora_.*lower learning rate", "inf": "infinite or not a number", "layer": "does not fit.*layers.7.*none of this name"}


@pytest.mark.parametrize("damage", FAULTS)
def test_a_spoiled_adapter_is_one_sentence_before_anything_is_generated(model, adapter, tmp_path, monkeypatch, damage):
    folder, engine = spoiled(adapter, tmp_path / "spoiled", damage), TransformersEngine(model, device="cpu")
    for before in (None, adapter):  # the first adapter of an engine, and a later one
        bare = engine.generate(PROMPTS[:1], GREEDY, before)
        with monkeypatch.context() as m:
            m.setattr(engines, "generate_batch", None)
            with pytest.raises(UserError, match=FAULTS[damage]) as e: engine.generate(PROMPTS, GREEDY, folder)
        assert "\n" not in str(e.value) and "spoiled" in str(e.value)
        assert engine.generate(PROMPTS[:1], GREEDY, before) == bare


@pytest.mark.parametrize("settings_, why", [(dict(batch_size=0), "batch_size=0"), (dict(batch_size="many"), "batch_size=many"), (dict(device="cuba"), "on the device 'cuba'"), (dict(dtype="float99"), "float99")])
def test_a_setting_out_of_range_is_one_sentence(model, settings_, why):
    with pytest.raises(UserError, match=why) as e: TransformersEngine(model, **settings_)
    assert "\n" not in str(e.value)


# --- opening

@pytest.mark.parametrize("damage", ["missing", "no_weights", "pickle", "cut", "no_config", "bad_config"])
def test_a_model_that_cannot_be_read_is_one_sentence(model, tmp_path, damage):
    folder = tmp_path / "model"
    if damage != "missing": shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    if damage == "no_weights": weights.unlink()
    if damage == "pickle": weights.rename(folder / "pytorch_model.bin")
    if damage == "cut": weights.write_bytes(weights.read_bytes()[:1000])
    if damage == "no_config": (folder / "config.json").unlink()
    if damage == "bad_config": (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="Cannot load the model") as e: TransformersEngine(folder)
    assert "\n" not in str(e.value) and str(folder) in str(e.value)


# --- probabilities of the next token

def test_probabilities_are_those_of_the_next_token(engine):
    "Greedy decoding takes the likeliest choice; each row stands alone, whatever batch it is in."
    letters = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]
    told = engine.probabilities(PROMPTS, letters)
    assert [len(row) for row in told] == [len(letters)] * len(PROMPTS) and all(0 <= p <= 1 and sum(row) <= 1.0001 for row in told for p in row)
    alone = [engine.probabilities([p], letters)[0] for p in PROMPTS]
    assert all(a == pytest.approx(b, abs=1e-5) for a, b in zip(told, alone)) and engine.probabilities([], letters) == []


def test_an_adapter_changes_probabilities_of_its_own_call_alone(engine, adapter):
    before = engine.probabilities(PROMPTS, ["A", "B"])
    after = [engine.probabilities(PROMPTS, ["A", "B"], name) for name in (adapter, None)]
    assert after[0] != after[1] and all(a == pytest.approx(b, abs=1e-6) for a, b in zip(before, after[1]))


@pytest.mark.parametrize("prompts, choices, why", [([Prompt("The river")], ["河"], "not one token"), ([Prompt("far too long " * 200)], ["A"], "no room"), ([Prompt("")], ["A"], "empty")])
def test_what_has_no_probability_is_one_sentence(engine, prompts, choices, why):
    with pytest.raises(UserError, match=why): engine.probabilities(prompts, choices)


# --- resuming

class Counting:
    "An engine that answers at once and remembers what it was asked."
    model = "counting"

    def __init__(self): self.asked = []

    def generate(self, prompts, sampling, adapter=None, desc="", keys=()):
        self.asked.append(len(prompts))
        return [Completion(f"{p.content} 河 {sampling.seed} {adapter}", "stop", Usage(1, 2, 1)) for p in prompts]


TEN = [Prompt(str(i)) for i in range(10)]


@settings(max_examples=60)
@given(cut=st.floats(0, 1))
def test_a_kill_at_any_byte_gives_the_same_list_and_file(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("resume") / "deep" / "completions.jsonl"
    whole = generate_resumable(Counting(), TEN, Sampling(), path, chunk=4)
    data = path.read_bytes()
    kept = data[:int(cut * len(data))]
    path.write_bytes(kept)
    again = Counting()
    assert generate_resumable(again, TEN, Sampling(), path, chunk=4) == whole
    assert path.read_bytes() == data and again.asked == [4, 4, 2][kept.count(b"\n"):]


def test_what_changed_is_generated_again(tmp_path):
    path, engine = tmp_path / "c.jsonl", Counting()
    generate_resumable(engine, TEN, Sampling(), path, chunk=4)
    generate_resumable(engine, TEN + [Prompt("more")], Sampling(), path, chunk=4)
    assert engine.asked == [4, 4, 2, 3]
    for change in (dict(sampling=Sampling(seed=1)), dict(sampling=Sampling(), adapter="other")):
        engine.asked.clear()
        generate_resumable(engine, TEN, path=path, chunk=4, **change)
        assert engine.asked == [4, 4, 2]


def test_keys_decide_a_chunk_where_the_engine_is_guided_by_them(tmp_path):
    path, engine = tmp_path / "c.jsonl", Counting()
    generate_resumable(engine, TEN, Sampling(), path, chunk=10)
    generate_resumable(engine, TEN, Sampling(), path, chunk=10, keys=("answer",))
    assert engine.asked == [10]
    engine.guided = "json"
    for keys, asked in (((), 1), (("answer",), 2), (("answer",), 2), (("question",), 3)):
        generate_resumable(engine, TEN, Sampling(), path, chunk=10, keys=keys)
        assert len(engine.asked) == asked


@pytest.mark.parametrize("damage", ['"ha', '"hsah"'])
def test_damage_in_the_middle_is_not_passed_over(tmp_path, damage):
    path = tmp_path / "c.jsonl"
    generate_resumable(Counting(), TEN, Sampling(), path, chunk=4)
    path.write_text(path.read_text().replace('"hash"', damage, 1))
    with pytest.raises(UserError, match="c.jsonl is damaged"): generate_resumable(Counting(), TEN, Sampling(), path, chunk=4)


def test_resuming_with_a_real_engine_and_adapter(engine, adapter, tmp_path):
    path, sampling = tmp_path / "c.jsonl", Sampling(max_tokens=6)
    whole = generate_resumable(engine, PROMPTS, sampling, path, adapter, chunk=2)
    path.write_bytes(path.read_bytes()[:-40])
    assert generate_resumable(engine, PROMPTS, sampling, path, adapter, chunk=2) == whole
    assert whole == generate_resumable(engine, PROMPTS, sampling, tmp_path / "undisturbed.jsonl", adapter, chunk=2)
