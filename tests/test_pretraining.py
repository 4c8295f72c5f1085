"""The shipped base models, their tokenizer, and the documents they were made from."""
import json
import random
from importlib.resources import files
from itertools import islice
from pathlib import Path

import pytest
from safetensors.torch import load_file

from aquilt.foundations.core import TASKS, UserError
from aquilt.miniature import pretraining
from aquilt.miniature.curriculum import DECISIVE, MIXTURE, VERDICT, chats, checking, documents, draw_facts, exercising, mistaken, passage
from aquilt.miniature.pretraining import ROW, exact_match, new_model, pretrain, rows, train_tokenizer
from aquilt.foundations.prompt import synthesis_prompt
from aquilt.training import model_path
from aquilt.miniature.world import split_of

MODELS = Path(str(files("aquilt"))) / "data" / "models"
NAMES = ("qwen2", "qwen2-instruct", "llama", "llama-instruct")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer("".join(t for t, _ in d) for d in islice(documents("tokenizer"), 20_000))


@pytest.mark.parametrize("name", NAMES)
def test_each_model_is_shipped_with_its_log(name):
    from safetensors import safe_open
    folder = Path(model_path(name))
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(k).get_dtype() for k in weights.keys()} == {"F16"}
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["tokens"] == max(row["tokens"] for row in log) and 0 <= log[-1]["exact_match"] <= 1


def test_the_models_fit_into_ten_megabytes():
    assert sum(p.stat().st_size for p in MODELS.rglob("*") if p.is_file()) <= 10_000_000


@pytest.mark.parametrize("name", NAMES)
def test_auto_tokenizer_cuts_as_the_training_did(name):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer  # it gives a Qwen2 folder Qwen2's own way of cutting text into pieces
    loaded, trained = AutoTokenizer.from_pretrained(model_path(name)), Tokenizer.from_file(str(Path(model_path(name)) / "tokenizer.json"))
    texts = ["".join(t for t, _ in d) for d in islice(documents("test"), 300)] + [synthesis_prompt("A (B) \n\n\"x\" 3.5%", "single_choice", lang) for lang in ("en", "zh")]
    assert [loaded(t).input_ids for t in texts] == [trained.encode(t).ids for t in texts]
    assert [loaded.decode(loaded(t).input_ids) for t in texts] == texts


def test_the_architectures_differ():
    qwen2, llama = new_model("qwen2"), new_model("llama")
    assert any("bias" in n for n, _ in qwen2.named_parameters()) and not any("bias" in n for n, _ in llama.named_parameters())
    with pytest.raises(UserError, match="qwen2, llama"): new_model("gpt2")


def test_documents_repeat_with_their_seed_and_stay_in_their_split():
    import re
    first, again = (list(islice(documents(1), 50)) for _ in range(2))
    assert first == again and first != list(islice(documents(2), 50))
    text = " ".join(t for d in first for t, _ in d)
    names = re.findall(r"(?:\b(?:city|drug|theory|product|contract) )((?:[A-Z][a-z]){3})\b", text)
    assert names and {split_of(n) for n in names} == {"pretraining"}


def test_every_kind_of_document_can_be_written():
    for kind in MIXTURE:
        for lang in ("en", "zh"):
            for seed in range(30): assert all(t and w >= 0 for t, w in kind(random.Random(seed), "pretraining", lang))
    assert all("<|im_start|>" in d[0][0] or d for d in islice(chats(0), 20))


def test_rows_are_full_and_weighted(tokenizer):
    for ids, weights in islice(rows(documents(3), tokenizer), 5):
        assert len(ids) == len(weights) == 256 and set(weights) <= {0.3, 0.5, 1.0, 3.0, 9.0}


def test_exact_match_of_an_untrained_model_is_nought(tokenizer):
    assert exact_match(new_model("qwen2").eval(), tokenizer, n=2) == 0


def test_an_instruct_model_needs_a_base(tmp_path):
    from aquilt.miniature.pretraining import instruct
    with pytest.raises(UserError, match="holds no model"): instruct(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(UserError, match="holds no model"): pretrain("llama", tmp_path / "out", start=tmp_path / "nothing")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_verdict_of_a_yes_no_exercise_is_right(lang):
    from aquilt.miniature.curriculum import _proposing
    from aquilt.miniature.questions import answer_check, concluded, read_question, word
    from aquilt.miniature.world import Fact, read_facts
    verdicts = set()
    for seed in range(200):
        asked, conclusion = (t for t, _ in _proposing(random.Random(seed), "pretraining", lang))
        question = read_question(asked, lang)
        facts = [f if f.entity else Fact(f.kind, question.entity, f.attribute, f.value, f.via) for f in read_facts(asked, lang)]
        verdict = answer_check(question, facts)
        assert conclusion.strip() == concluded(word(verdict, lang), lang)
        verdicts.add(verdict)
    assert verdicts == {"yes", "no"}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_checked_answer_is_right_as_often_as_wrong(lang):
    from aquilt.miniature.questions import word
    text = "".join(t for seed in range(200) for t, _ in checking(random.Random(seed), "pretraining", lang))
    right, wrong = text.count(word("right", lang)), text.count(word("wrong", lang))
    assert right + wrong >= 380 and 0.4 < right / (right + wrong) < 0.6


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("task", TASKS)
def test_a_mistaken_pair_keeps_its_question_and_is_mostly_wrong(task, lang):
    from aquilt.miniature.scoring import right_answer
    from aquilt.miniature.teacher import write_pair
    wrong = 0
    for seed in range(50):
        rng = random.Random(seed)
        text = passage(draw_facts(rng, "pretraining"), lang, rng)
        pair = write_pair(task, text, lang, rng)
        question, logic, answer = mistaken(task, pair, text, lang, rng)
        assert question == pair[0] and answer
        wrong += not right_answer(task, text, question, answer, lang)
    assert wrong >= (25 if task in ("multi_choice", "natural_language_understanding") else 40)  # letters and names of another pair are now and then the right ones


def test_exercises_repeat_with_their_seed_and_fill_rows_of_any_length(tokenizer):
    assert list(islice(exercising(1), 50)) == list(islice(exercising(1), 50)) != list(islice(exercising(2), 50))
    assert all(any(w in (DECISIVE, VERDICT) for _, w in d) for d in islice(exercising(0), 50))
    assert [len(ids) for ids, _ in islice(rows(exercising(0), tokenizer, ROW // 4), 5)] == [ROW // 4] * 5


def test_a_base_may_begin_at_random_with_anothers_tokenizer(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "train_on", lambda *given: [{"tokens": 0}])
    base = model_path("qwen2")
    own, begun = (pretrain("llama", tmp_path / name, seed=1, **how) for name, how in (("own", {"tokenizer": base}), ("begun", {"start": base})))
    assert (own / "tokenizer.json").read_text() == (begun / "tokenizer.json").read_text()
    weights = [load_file(folder / "model.safetensors")["model.embed_tokens.weight"] for folder in (own, begun, Path(base))]
    assert weights[1].equal(weights[2]) and not weights[0].equal(weights[2])
