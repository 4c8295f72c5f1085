"""The invented world: names in two spellings, splits that never meet, sentences that can be read back, and rules."""
import random
import re
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.miniature.scene import CEVAL, ESSAYQA, PUBMEDQA, SQUADQA, TRANSLATION, domain_facts, draw_source
from aquilt.foundations.profiles import MINI, SMOKE
from aquilt.reading.sources import list_sources
from aquilt.miniature.world import (LANG, SPLITS, Fact, compile_template, derive, draw_entity, draw_name, draw_passage, draw_value, english, fill, grammar, lookup, read_facts, show, slots,
                          split_of, state, to_chinese, to_english, write_passage)

IMAGES = {d.name: d for d in (SQUADQA, PUBMEDQA, CEVAL, TRANSLATION, ESSAYQA)}

WORLD = grammar()
KINDS, DOMAINS = list(WORLD["kinds"]), list(WORLD["domains"])
SPECS = [spec for kind in WORLD["kinds"].values() for spec in kind.values()]
STATED = [spec for spec in SPECS if not spec.rule]
DERIVED = [spec for spec in SPECS if spec.rule]
SYLLABLES = st.sampled_from(list(WORLD["syllables"]))
NAMES = st.lists(SYLLABLES, min_size=2, max_size=3).map("".join)
SEEDS = st.integers(0, 10**9)
some = settings(max_examples=150, deadline=None)
each_lang = pytest.mark.parametrize("lang", list(LANG))
each_split = pytest.mark.parametrize("split", list(SPLITS))


def named(specs):
    return pytest.mark.parametrize("spec", specs, ids=[f"{s.kind}.{s.name}" for s in specs])


def a_fact(spec, rng, split="distillation"):
    "A fact of the attribute with random names and value."
    return Fact(spec.kind, draw_name(rng, split, rng.choice([2, 3])), spec.name, draw_value(rng, spec.type, split), draw_name(rng, split, 2) if spec.via else "")


# ---- names in two spellings

@given(NAMES)
@some
def test_a_name_has_two_spellings_that_give_each_other_back(name):
    assert to_english(to_chinese(name)) == name and len(to_chinese(name)) * 2 == len(name)


@given(NAMES, NAMES)
@some
def test_two_names_have_two_spellings(a, b):
    assert (to_chinese(a) == to_chinese(b)) == (a == b)


def test_syllables_and_characters_are_one_to_one():
    assert WORLD["characters"] == {zh: en for en, zh in WORLD["syllables"].items()} and len(WORLD["characters"]) == len(WORLD["syllables"])
    assert all(re.fullmatch("[A-Z][a-z]", s) for s in WORLD["syllables"]) and all(re.fullmatch("[\u4e00-\u9fff]", c) for c in WORLD["characters"])


def test_lists_are_one_to_one_in_both_languages():
    for name, pairs in WORLD["lists"].items():
        for side in zip(*pairs): assert len(set(side)) == len(pairs), name


@given(SEEDS, st.sampled_from(STATED))
@some
def test_a_value_shown_in_either_language_is_read_back(seed, spec):
    v = draw_value(random.Random(seed), spec.type, "pretraining")
    for lang in LANG: assert english(show(v, spec.type, lang), spec.type, lang) == v


# ---- splits

def test_splits_divide_all_residues():
    assert sorted(r for residues in SPLITS.values() for r in residues) == list(range(24))
    assert set(IMAGES) <= set(SPLITS)


@given(NAMES)
@some
def test_a_name_is_of_exactly_one_split(name):
    order = list(WORLD["syllables"])
    residue = sum(place * order.index(s) for place, s in enumerate(re.findall("..", name), 1)) % 24
    assert [split for split, residues in SPLITS.items() if residue in residues] == [split_of(name)]


@given(SEEDS, st.sampled_from(list(SPLITS)), st.sampled_from([2, 3]))
@some
def test_a_drawn_name_is_of_its_split(seed, split, syllables):
    name = draw_name(random.Random(seed), split, syllables)
    assert split_of(name) == split and len(name) == 2 * syllables


def names_in(facts):
    "Every name that facts speak: entities, values and middles."
    values = [n for f in facts for n in (f.value if f.spec.type == "name" else "", f.via) if n]
    return {f.entity for f in facts} | set(values)


def test_names_of_two_splits_never_meet():
    rng = random.Random(0)
    drawn = {split: names_in([f for kind in KINDS for _ in range(30) for f in draw_entity(rng, kind, split)]) | {draw_name(rng, split, n) for n in (2, 3) for _ in range(200)} for split in SPLITS}
    assert all(len(names) > 100 for names in drawn.values())
    for a, b in combinations(SPLITS, 2): assert not drawn[a] & drawn[b], (a, b)


@pytest.mark.parametrize("name", list(IMAGES))
def test_a_benchmarks_names_are_its_own(name):
    facts = [f for part in ("domain", "test") for entity, _ in domain_facts(IMAGES[name], 120, part) for f in entity]
    assert {split_of(n) for n in names_in(facts)} == {name}


CASES = [(b, p) for b in IMAGES for p in (SMOKE, MINI)]


@pytest.mark.parametrize("name, profile", CASES, ids=lambda v: getattr(v, "name", v))
def test_test_entities_are_not_in_the_domains_text(name, profile):
    entities = [{e[0].entity for e, _ in domain_facts(IMAGES[name], n, part)} for part, n in (("domain", profile.domain_passages), ("test", profile.test_items))]
    assert all(entities) and not entities[0] & entities[1]


@pytest.mark.parametrize("name, profile", CASES, ids=lambda v: getattr(v, "name", v))
def test_no_two_entities_of_a_domain_share_a_name(name, profile):
    entities = Counter(e[0].entity for e, _ in domain_facts(IMAGES[name], profile.domain_passages))
    assert entities.most_common(1)[0][1] == 1


def test_the_corpus_speaks_of_its_own_split_only():
    facts = [f for s in list_sources("unlabeled") for r in draw_source(s, 4, seed=3) for f in read_facts(r.text, r.lang)]
    assert len(facts) > 300 and {split_of(n) for n in names_in(facts) if n} == {"distillation"}


# ---- sentences

@named(STATED)
@each_lang
def test_what_is_stated_is_read_back_and_nothing_else(spec, lang):
    rng = random.Random(f"{spec.kind}.{spec.name}")
    for form in (0, 1) * 6:
        fact = a_fact(spec, rng)
        found = read_facts(state(fact, lang, form), lang)
        entity = fact.entity if not spec.via else ""  # the sentence of a second hop does not name it
        assert found == [Fact(spec.kind, entity, spec.name, fact.value, fact.via)]


@named(STATED)
@each_lang
def test_a_sentence_of_one_attribute_matches_no_template_of_another(spec, lang):
    rng, patterns = random.Random(spec.name), [(s, compile_template(t, s.type, lang)) for s in STATED for t in s.say[LANG[lang]]]
    for form in (0, 1) * 3:
        sentence = state(a_fact(spec, rng), lang, form)
        assert {(s.kind, s.name) for s, pattern in patterns if pattern.search(sentence)} == {(spec.kind, spec.name)}


@named(SPECS)
def test_every_attribute_has_its_sentences_in_both_languages(spec):
    assert all(spec.label) and len(spec.ask[0]) == len(spec.ask[1]) >= (0 if spec.rule == "threshold" else 1)
    assert all(len(said) == (0 if spec.rule else 2) for said in spec.say) and bool(spec.check[0]) == bool(spec.check[1]) == (spec.rule != "sum")
    assert all(len(because) == (1 if spec.rule else 0) for because in spec.because) and bool(spec.sources) == bool(spec.rule)


@each_lang
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_passage_is_read_back_into_its_facts(kind, domain, lang):
    for seed in range(6):
        rng = random.Random(f"{kind}/{domain}/{lang}/{seed}")
        facts = [f for _ in range(1 + seed % 2) for f in draw_entity(rng, kind, rng.choice(list(SPLITS)))]
        assert Counter(read_facts(write_passage(facts, domain, lang, rng), lang)) == Counter(facts)


@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(DOMAINS), st.sampled_from(list(LANG)))
@some
def test_a_part_of_the_facts_is_read_back_in_their_order(seed, kind, domain, lang):
    rng = random.Random(seed)
    facts = [f for f in draw_entity(rng, kind, "held_out") if not f.via]
    facts = rng.sample(facts, rng.randint(1, len(facts)))
    text = write_passage(facts, domain, lang, rng)
    found = read_facts(text, lang)
    places = [min(text.find(state(f, lang, form)) % (len(text) + 1) for form in (0, 1)) for f in found]
    assert set(found) == set(facts) and places == sorted(places)


def test_a_second_hop_without_its_first_has_no_entity():
    sea = next(f for f in draw_entity(random.Random(1), "city", "pretraining") if f.attribute == "sea")
    river = Fact("city", sea.entity, "river", sea.via)
    for lang in LANG:
        assert read_facts(state(sea, lang), lang)[0].entity == ""
        assert set(read_facts(state(sea, lang) + state(river, lang), lang)) == {sea, river}


@pytest.mark.parametrize("lang, text", [("en", ""), ("en", "Paris is a city."), ("en", "The city Paris was founded in 1200."), ("zh", "城市北京建于1200年。"), ("en", "城市巴贝建于1200年。"), ("zh", "The city BaBe was founded in 1200.")])
def test_other_text_states_nothing(lang, text):
    assert read_facts(text, lang) == []


def test_a_dialogue_has_two_speakers_in_turn():
    facts = draw_entity(random.Random(2), "product", "distillation")
    for lang, marks in (("en", "AB"), ("zh", "甲乙")):
        text = write_passage(facts, "dialogue", lang, random.Random(0))
        assert re.findall(f"([{marks}])[:：]", text) == list((marks * 3)[:len(facts)])


def test_fill_replaces_the_named_slots_only():
    assert fill("{e} and {v} and {x}", e="{v}", v="1") == "1 and 1 and {x}" and fill("{e}{e}", e="a") == "aa"


@given(SEEDS, st.sampled_from(STATED), st.sampled_from(list(LANG)))
@some
def test_slots_are_in_the_language_of_the_sentence(seed, spec, lang):
    fact = a_fact(spec, random.Random(seed))
    filled = slots(fact, lang)
    assert filled["k"] == spec.label[LANG[lang]] and english(filled["e"], "name", lang) == fact.entity and english(filled["v"], spec.type, lang) == fact.value
    assert english(filled["w"], "name", lang) == fact.via


# ---- rules

def facts_of(kind, **values):
    return [Fact(kind, "BaBe", name, value) for name, value in values.items()]


@pytest.mark.parametrize("p, effective", [("0.01", "yes"), ("0.04", "yes"), ("0.06", "no"), ("0.10", "no"), ("0.59", "no")])
def test_an_effect_is_significant_below_the_threshold(p, effective):
    spec = WORLD["kinds"]["trial"]["effective"]
    assert derive(spec, facts_of("trial", p=p), "BaBe") == Fact("trial", "BaBe", "effective", effective)


@pytest.mark.parametrize("spec, values, value", [(WORLD["kinds"]["product"]["total"], {"price": "17", "delivery": "9"}, "26"), (WORLD["kinds"]["event"]["end"], {"day": "1", "lasts": "2"}, "3")])
def test_a_sum_is_the_sum_of_its_sources(spec, values, value):
    facts = facts_of(spec.kind, **values)
    assert derive(spec, facts, "BaBe").value == value == lookup(iter(facts), spec, "BaBe").value


@named(DERIVED)
def test_a_rule_needs_every_source_of_this_entity(spec):
    facts = draw_entity(random.Random(3), spec.kind, "held_out")
    entity = facts[0].entity
    assert derive(spec, facts, entity).entity == entity and derive(spec, facts, "BaBeBi") is None and derive(spec, [], entity) is None
    for source in spec.sources:
        others = [f for f in facts if f.attribute != source]
        moved = [Fact(f.kind, "BaBeBi", f.attribute, f.value) for f in facts if f.attribute == source]
        assert derive(spec, others, entity) is None and derive(spec, others + moved, entity) is None


@named(STATED)
def test_what_is_stated_is_looked_up_by_kind_attribute_and_entity(spec):
    rng = random.Random(4)
    facts = [f for kind in KINDS for f in draw_entity(rng, kind, "held_out")]
    fact = next(f for f in facts if (f.kind, f.attribute) == (spec.kind, spec.name))
    assert lookup(iter(facts), spec, fact.entity) == fact and lookup((f for f in facts if f != fact), spec, fact.entity) is None


def test_p_values_stay_off_the_threshold():
    rng = random.Random(5)
    drawn = {draw_value(rng, "p", "pretraining") for _ in range(2000)}
    assert "0.05" not in drawn and all(re.fullmatch(r"0\.\d\d", p) for p in drawn) and {float(p) < 0.05 for p in drawn} == {True, False}


# ---- drawing

@pytest.mark.parametrize("kind", KINDS)
def test_an_entity_has_one_fact_for_each_stated_attribute(kind):
    facts = draw_entity(random.Random(6), kind, "ceval")
    assert [f.attribute for f in facts] == [s.name for s in WORLD["kinds"][kind].values() if not s.rule] and len({f.entity for f in facts}) == 1
    by_name = {f.attribute: f for f in facts}
    assert all(f.via == (by_name[f.spec.via].value if f.spec.via else "") for f in facts)


@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(DOMAINS), st.sampled_from(list(LANG)), st.sampled_from(list(SPLITS)))
@some
def test_a_seed_decides_the_passage(seed, kind, domain, lang, split):
    draw = lambda: draw_passage(random.Random(seed), kind, domain, lang, split)
    text = draw()
    facts = read_facts(text, lang)
    assert text == draw() and 3 <= len(facts) <= 6 and {f.kind for f in facts} == {kind} and {split_of(n) for n in names_in(facts) if n} == {split}


def test_other_seeds_give_other_passages():
    assert len({draw_passage(random.Random(s), "city", "news", "en", "distillation") for s in range(50)}) == 50


@each_split
def test_a_benchmarks_entities_do_not_depend_on_their_number(split):
    if split in IMAGES: assert domain_facts(IMAGES[split], 20)[:5] == domain_facts(IMAGES[split], 5) and domain_facts(IMAGES[split], 5) != domain_facts(IMAGES[split], 5, "test")
    else: assert draw_entity(random.Random(7), "city", split) == draw_entity(random.Random(7), "city", split) != draw_entity(random.Random(8), "city", split)
