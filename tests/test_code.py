"""The code that a stage can reach: what counts as another code, and what does not."""
import functools
import re
import sys
import types

import pytest

from aquilt.foundations.code import code_of, decides_nothing, plain, source_hash
from aquilt.foundations.core import Record
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.prompt import parse_json_object


@pytest.fixture
def module(monkeypatch, tmp_path):
    "A module of the package whose source a test writes: `module(source)` gives its namespace."
    def made(source):
        path = tmp_path / f"version{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source)
        found = types.ModuleType("aquilt.invented")
        found.__file__ = str(path)
        monkeypatch.setitem(sys.modules, "aquilt.invented", found)
        exec(compile(source, str(path), "exec"), vars(found))
        return found
    return made


SOURCE = '''
import re
LIMIT, WORDS, FORM = 3, {"a", "b"}, re.compile("a+")
class Box:
    size = 1
    def open(self): return helper(self.size)
def helper(x): return x + LIMIT
def other(x): return x
def table(): return {"help": [helper]}
KINDS = {"first": helper}
def work(folder): return helper(1) + len(WORDS) + bool(FORM) + Box().open() + KINDS["first"](2)
'''


def differing(module, changed):
    before = code_of(module(SOURCE).work)
    after = code_of(module(changed).work)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_what_a_stage_reaches(module):
    assert set(code_of(module(SOURCE).work)) == {f"aquilt.invented.{name}" for name in ("work", "helper", "LIMIT", "WORDS", "FORM", "Box", "Box.open")}


def test_a_modules_own_names_are_no_code(module):
    "A class inside a function looks up `__name__`, which is another in a notebook."
    inner = "def work(folder):\n    class Local: pass\n    return Local, __file__\n"
    assert set(code_of(module(inner).work)) == {"aquilt.invented.work"}


@pytest.mark.parametrize("old, new", [("return x + LIMIT", "return x + LIMIT  # why"), ("def helper(x): return x + LIMIT", 'def helper(x):\n    "What."\n    return x + LIMIT'),
                                      ("def other(x): return x", "def other(x): return 2"), ('{"a", "b"}', '{"b", "a"}'), ("size = 1", "size   =  1")])
def test_what_does_not_matter(module, old, new):
    assert differing(module, SOURCE.replace(old, new)) == set()


@pytest.mark.parametrize("old, new, names", [("return x + LIMIT", "return LIMIT + x", {"helper"}), ("FORM = 3", "FORM = 4", {"LIMIT"}), ('"b"}', '"c"}', {"WORDS"}), ('"a+"', '"a*"', {"FORM"}),
                                             ("size = 1", "size = 2", {"Box"}), ('KINDS["first"](2)', "other(2)", {"work", "other"})])
def test_what_matters_and_is_named(module, old, new, names):
    assert differing(module, SOURCE.replace(old, new)) == {f"aquilt.invented.{name}" for name in names}


def test_wrapped_partial_and_bound_functions_are_followed(module):
    source = SOURCE + '''
import functools
@functools.cache
def cached(x): return other(x)
half = functools.partial(helper, 1)
def work(folder): return cached(1) + half() + KINDS["first"](1)
'''
    found = set(code_of(module(source).work))
    assert {"aquilt.invented.cached", "aquilt.invented.other", "aquilt.invented.helper"} <= found


def test_variables_of_the_function_around_it_are_followed():
    record = Record(text="u")
    def work(folder): return parse_json_object(record.text, ("a",))
    assert {"aquilt.foundations.core.Record", "aquilt.foundations.prompt.parse_json_object", "aquilt.foundations.prompt.parse_json_objects"} <= code_of(work).keys()


def test_code_without_a_source_has_a_hash_all_the_same():
    made = {}
    exec("def work(folder): return 1\ndef other(folder): return 2", made)
    assert source_hash(made["work"]) != source_hash(made["other"]) and len(source_hash(made["work"])) == 16


@pytest.mark.parametrize("value", [1, "a", (1, [2.5, None]), {"a": {1, 2}}, re.compile("x"), frozenset("ab"), b"x"])
def test_plain_values(value):
    assert plain(value) == plain(value) is not None


@pytest.mark.parametrize("value", [print, [print], {"a": (1, print)}, Record(), functools.partial(print), {print}])
def test_other_values(value):
    assert plain(value) is None


def test_a_profile_is_plumbing():
    "What a stage takes from a profile is among its settings; a new setting makes no result stale."
    p = SMOKE
    def work(folder): return p.samples
    assert not any("Profile" in name for name in code_of(work)) and decides_nothing("aquilt.foundations.profiles.Profile.__eq__") and not decides_nothing("aquilt.foundations.core.Record")


def test_a_place_on_this_machine_is_no_code(tmp_path):
    "A checkout or a run directory that is moved makes nothing stale."
    def stage(base):
        def work(folder): return base
        return work
    assert code_of(stage(str(tmp_path / "a"))) == code_of(stage(str(tmp_path / "b"))) != code_of(stage("qwen2"))
