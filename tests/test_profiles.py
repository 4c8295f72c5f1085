"""One dial: the paper's numbers, where they come from, and that the other profiles are nothing but departures from them."""
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import MINI, PAPER, PROFILES, SINGLE_GPU, SMALL, SMOKE, Profile, departures, fault_of, get_profile, with_settings
from aquilt.foundations.runs import open_run

OTHERS = (SINGLE_GPU, SMALL, MINI, SMOKE)


@pytest.mark.parametrize("section, name, number", [
    ("4.1", "learning_rate", 1e-4), ("4.1", "batch_size", 32), ("4.1", "lora_rank", 64), ("4.1", "epochs", 2), ("4.1", "cap", 50_000), ("4.1", "inspection_cap", 2_000),
    ("4.1", "student", "Qwen/Qwen2.5-7B"), ("4.1", "inspection_learning_rate", 1e-4), ("4.1", "inspection_epochs", 2),
    ("4.2", "temperature", 0.7), ("4.2", "top_p", 0.95), ("4.2", "max_tokens", 1024), ("4.2", "samples", 20_000), ("4.2", "engine", "vllm"), ("4.2", "specialist_epochs", 3),
    ("4.2", "specialist_learning_rate", 1e-4), ("4.2", "specialist_batch_size", 32),
    ("3.4", "low_score", 2), ("3.4", "simple_share", 0.20), ("3.2", "frequent_word", 0.10), ("4.3", "seeds", (0,)), ("5", "ablation_benchmarks", ("squadqa", "ceval", "translation"))])
def test_the_paper_profile_holds_the_papers_numbers(section, name, number):
    field = next(f for f in fields(Profile) if f.name == name)
    assert getattr(PAPER, name) == number and field.metadata["source"].split(":")[0].split(" ")[0] == section


def test_every_setting_says_where_it_comes_from():
    assert [f.name for f in fields(Profile) if f.name not in ("name", "purpose") and not f.metadata.get("source", "").strip()] == []


def test_the_paper_profile_is_the_defaults():
    assert PAPER == Profile() and asdict(PAPER)["name"] == "paper"


def test_the_paper_profile_knows_no_miniature():
    assert PAPER.scene == "real" and PAPER.teacher_faults == 0 and PAPER.teacher_url.startswith("https://") and "/" in PAPER.student and all("/" in b for b in PAPER.specialist_bases)


@pytest.mark.parametrize("profile", (PAPER, *OTHERS), ids=lambda p: p.name)
def test_values_have_the_types_and_the_sense_of_their_fields(profile):
    for f in fields(Profile): assert isinstance(getattr(profile, f.name), {"tuple[str, ...]": tuple, "tuple[int, ...]": tuple}.get(str(f.type), type(f.default))), f.name
    assert 0 <= profile.ablation_base < len(profile.specialist_bases) and profile.seeds and len(set(profile.seeds)) == len(profile.seeds)
    assert 0 < profile.top_p <= 1 and 0 < profile.simple_share < 1 and 0 < profile.frequent_word < 1 and 0 <= profile.teacher_faults < 1
    assert profile.purpose and hash(profile)


def test_a_profile_cannot_be_changed():
    with pytest.raises(FrozenInstanceError): PAPER.cap = 1


@pytest.mark.parametrize("name", list(PROFILES))
def test_a_profile_is_found_by_its_name(name):
    assert get_profile(name).name == name and get_profile(name) is PROFILES[name]


@pytest.mark.parametrize("name", ["", "Mini", "full", "paper "])
def test_an_unknown_name_lists_the_names(monkeypatch, tmp_path, name):
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path / "run"))
    for opened in (get_profile, open_run):
        with pytest.raises(UserError) as caught: opened(name)
        assert repr(name) in str(caught.value) and "paper, single_gpu, small, mini, smoke" in str(caught.value) and "\n" not in str(caught.value)


# ---- departures

def test_departures_list_departures_and_nothing_else():
    rows = {row["setting"]: row for row in departures()}
    for f in fields(Profile):
        own = getattr(PAPER, f.name)
        different = {p.name: getattr(p, f.name) for p in OTHERS if getattr(p, f.name) != own}
        assert (f.name in rows) == bool(different and f.name not in ("name", "purpose")), f.name
        if f.name in rows: assert rows[f.name] == {"setting": f.name, "paper": own, "source": f.metadata["source"], **{p.name: different.get(p.name, "") for p in OTHERS}}


def test_a_profile_that_is_the_paper_departs_in_nothing():
    assert departures(PAPER, (replace(PAPER, name="twin", purpose="the same"),)) == [] and departures(PAPER, ()) == []


def test_one_change_is_one_row():
    assert departures(PAPER, (replace(PAPER, name="short", epochs=1),)) == [{"setting": "epochs", "paper": 2, "source": "4.1", "short": 1}]


def test_departures_may_start_from_another_profile():
    rows = departures(MINI, (SMOKE,))
    assert {row["setting"] for row in rows} == {f.name for f in fields(Profile) if getattr(MINI, f.name) != getattr(SMOKE, f.name)} - {"name", "purpose"}
    assert all(row["mini"] != row["smoke"] for row in rows)


def test_offline_profiles_name_no_server():
    for profile in (MINI, SMOKE): assert profile.teacher_url == "" and profile.scene == "miniature" and "/" not in profile.student + profile.embedder and profile.engine == "transformers"


# ---- settings of one's own

@pytest.mark.parametrize("given, name, value", [("teacher=a=b", "teacher", "a=b"), ("teacher_url=", "teacher_url", ""), ("epochs=3", "epochs", 3), ("top_p=1", "top_p", 1.0), ("seeds=4,5", "seeds", (4, 5)),
                                                ("specialist_bases=org/a,org/b", "specialist_bases", ("org/a", "org/b")), ("specialist_bases=org/a", "specialist_bases", ("org/a",)), ("learning_rate=1e-5", "learning_rate", 1e-5)])
def test_a_setting_has_the_type_of_its_field(given, name, value):
    own = with_settings(SINGLE_GPU, [given])
    assert getattr(own, name) == value and type(getattr(own, name)) is type(getattr(SINGLE_GPU, name)) and own.name == "single_gpu-own"
    assert {f.name for f in fields(own) if getattr(own, f.name) != getattr(SINGLE_GPU, f.name)} <= {name, "name"}


@pytest.mark.parametrize("given, said", [("teachr=x", "Unknown setting 'teachr=x'.*teacher, "), ("teacher", "NAME=VALUE"), ("name=mini", "Unknown setting"), ("epochs=two", "epochs is int .like 2., and 'two' is not"), ("seeds=a", "seeds is tuple"), ("=", "Unknown setting")])
def test_a_setting_that_does_not_fit_is_one_sentence(given, said):
    with pytest.raises(UserError, match=said): with_settings(SINGLE_GPU, [given])


@pytest.mark.parametrize("given", ["cap=-1", "cap=0", "frequent_word=nan", "frequent_word=1.1", "top_p=0", "temperature=inf", "epochs=0", "learning_rate=-1e-4", "seeds=", "seeds=1,1", "seeds=-1", "low_score=6", "simple_scores=0", "dtype=int3", "unsure=maybe",
                                   "student=", "specialist_bases=", "ablation_base=2", "threads=-1", "samples=-5"])
def test_a_value_without_sense_is_refused(given):
    with pytest.raises(UserError, match=given.partition("=")[0]): with_settings(PAPER, [given])


@pytest.mark.parametrize("profile", (PAPER, *OTHERS), ids=lambda p: p.name)
def test_every_value_of_a_profile_has_sense(profile): assert {f.name: fault for f in fields(Profile) if (fault := fault_of(f.name, getattr(profile, f.name)))} == {}


@pytest.mark.parametrize("given", ["test_items=0", "temperature=0", "low_score=0", "device_tokens=0", "threads=0", "longest_pair=0", "labeled_pairs=0", "top_p=1", "seeds=0", "simple_scores=", "teacher_url=", "judge=", "larger=", "bonito=", "guided="])
def test_a_value_that_means_none_is_taken(given): assert with_settings(PAPER, [given]).name == "paper-own"


def test_several_teachers_may_be_set():
    given = "a@http://localhost:1/v1*2,b@http://localhost:2/v1|KEY"
    for profile in PROFILES.values(): assert with_settings(profile, [f"teachers={given}"]).teachers == tuple(given.split(","))


@pytest.mark.parametrize("given", ["{", "5", '"cap=1"', "[5]"])
def test_damaged_settings_in_the_environment_are_one_sentence(monkeypatch, given):
    monkeypatch.setenv("AQUILT_SET", given)
    with pytest.raises(UserError, match="AQUILT_SET"): get_profile("mini")


def test_no_settings_are_no_change(): assert with_settings(SINGLE_GPU, []) is SINGLE_GPU and with_settings(with_settings(SINGLE_GPU, ["epochs=1"]), ["epochs=2"]).name == "single_gpu-own"


def test_an_own_run_is_found_by_its_name(monkeypatch):
    monkeypatch.delenv("AQUILT_SET", raising=False)
    assert get_profile("mini-own").name == "mini-own" and get_profile("mini").name == "mini"
