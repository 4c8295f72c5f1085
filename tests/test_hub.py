"Whether a profile's models can be read, asked before anything is paid; the hub's functions are replaced, and no test needs a network."
import re
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import PAPER, PROFILES, SINGLE_GPU, SMOKE, with_settings
from aquilt.models.hub import ADVICE, MODELS, OF_LANGUAGE, check_models, hub_models, hub_refusal, in_cache, unreadable

LLAMA, SECRET = "meta-llama/Meta-Llama-3-8B-Instruct", "hf_abcdefghijklmnop"


def refused(kind, status):
    "An error of the hub as its library raises it, with a token in all its words."
    headers = {"authorization": f"Bearer {SECRET}", "x-request-id": SECRET}
    return kind(f"{status} for {SECRET}", response=SimpleNamespace(status_code=status, headers=headers, request=SimpleNamespace(headers=headers)))


class ConnectError(Exception): "As an HTTP library has it: none of Python's own connection errors."


@pytest.fixture
def hub(monkeypatch, tmp_path):
    "The hub: what it answers to each model, what it was asked, and an empty cache."
    answers, asked = {}, []
    def head(url, token=None, **more):
        model = re.search(r"//[^/]+/(.+)/resolve/main/config.json$", url)[1]
        asked.append((model, token))
        if isinstance(answer := answers.get(model), Exception): raise answer
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", head)
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda model, name: None)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    answers["asked"] = asked
    return answers


def test_a_profile_whose_models_can_be_read(hub, monkeypatch):
    check_models(PAPER)
    assert [model for model, _ in hub["asked"]] == list(hub_models(PAPER)) and {token for _, token in hub["asked"]} == {False}, "no token that is not in the environment"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub["asked"].clear()
    check_models(SINGLE_GPU)
    assert {token for _, token in hub["asked"]} == {SECRET}


def test_offline_profiles_ask_nothing(hub):
    check_models(SMOKE)
    assert hub["asked"] == [] and hub_models(SMOKE) == {}


def test_a_gated_model_is_told_with_its_page(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub[LLAMA] = refused(GatedRepoError, 403)
    with pytest.raises(UserError) as caught: check_models(PAPER)
    said = str(caught.value)
    assert said.startswith("1 of the 7 models") and f"gated: {LLAMA} (specialist_bases): ask for access at huggingface.co/{LLAMA} and set HF_TOKEN" in said and "\n" not in said
    assert SECRET not in said and SECRET not in repr(caught.value)


def test_all_that_cannot_be_read_are_in_one_sentence(hub):
    hub[LLAMA], hub["Qwen/Qwen2.5-7B"] = refused(GatedRepoError, 401), refused(RepositoryNotFoundError, 404)
    hub["BAAI/bge-m3"], hub["roberta-large"] = ConnectError("no route to host"), refused(HfHubHTTPError, 401)
    hub["BatsResearch/bonito-v1"], hub["bert-base-chinese"] = refused(HfHubHTTPError, 503), TimeoutError()
    with pytest.raises(UserError) as caught: check_models(PAPER)
    said = str(caught.value)
    assert said.startswith("6 of the 7 models") and "missing: Qwen/Qwen2.5-7B (student, embedder): " in said and "refused: roberta-large (bertscore): " in said
    assert "unreachable: BAAI/bge-m3 (sentence_embedder), BatsResearch/bonito-v1 (bonito), bert-base-chinese (bertscore): " in said and SECRET not in said and "Qwen2.5-7B-Instruct" not in said


@pytest.mark.parametrize("error, why", [
    (lambda: refused(GatedRepoError, 403), "gated"), (lambda: refused(RepositoryNotFoundError, 401), "missing"), (lambda: EntryNotFoundError("no config.json"), "missing"),
    (lambda: refused(HfHubHTTPError, 403), "refused"), (lambda: refused(HfHubHTTPError, 500), "unreachable"), (lambda: ConnectionError("offline"), "unreachable")])
def test_what_the_hub_says_has_a_name(hub, error, why):
    hub["org/model"] = error()
    assert hub_refusal("org/model") == why and why in ADVICE


def test_a_folder_that_is_not_there_is_no_model_of_the_hub(hub, tmp_path):
    p = with_settings(SMOKE, [f"student={tmp_path}/none/at/all"])
    with pytest.raises(UserError, match="missing: .*none/at/all .student."): check_models(p)
    (tmp_path / "model").mkdir()
    check_models(with_settings(SMOKE, [f"student={tmp_path}/model"]))


def cached(monkeypatch, folder, *names):
    folder.mkdir(exist_ok=True)
    for name in ("config.json", *names): (folder / name).write_text("{}")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda model, name: str(folder / name))


def test_without_the_hub_the_cache_is_looked_into(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    with pytest.raises(UserError, match=r"cannot be read. unreachable: Qwen.*HF_HUB_OFFLINE"): check_models(SINGLE_GPU)
    cached(monkeypatch, tmp_path / "half")
    assert hub_refusal("org/model") == "unreachable", "a config alone is no model"
    cached(monkeypatch, tmp_path / "whole", "model-00001-of-00002.safetensors")
    check_models(SINGLE_GPU)
    assert hub["asked"] == []


def test_a_hub_out_of_reach_does_not_hide_the_cache(hub, monkeypatch, tmp_path):
    for model in hub_models(PAPER): hub[model] = ConnectionError("no route")
    cached(monkeypatch, tmp_path / "whole", "model.safetensors")
    check_models(PAPER)
    hub[LLAMA] = refused(GatedRepoError, 403)
    assert hub_refusal(LLAMA) == "gated"


def test_the_real_cache_is_asked_by_the_real_function(monkeypatch, tmp_path):
    assert in_cache("no-such-organisation-aq/no-such-model") is False and in_cache("not/a/name/of/the/hub") is False


@pytest.mark.parametrize("p", PROFILES.values(), ids=lambda p: p.name)
def test_no_setting_that_names_a_model_of_the_hub_is_forgotten(p):
    name = re.compile(r"[\w.-]+/[\w.-]+")
    found = {setting for setting, value in vars(p).items() for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, str) and name.fullmatch(one)}
    assert found <= set(MODELS)


def test_the_models_of_bert_score_are_its_own():
    from bert_score.utils import lang2model
    assert OF_LANGUAGE == {lang: lang2model[lang] for lang in OF_LANGUAGE}


def test_nothing_to_say_is_nothing():
    assert unreadable({"a/b": "", "c/d": ""}, {}) == "" and unreadable({}, {}) == ""
