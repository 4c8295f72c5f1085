"""Modules that moved into a wing answer under their old address for one more version, with a warning that names the new one."""
import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec

WINGS = {
    "foundations": ("core", "profiles", "runs", "prompt"),
    "models": ("engines", "replies", "api", "batches", "prices"),
    "miniature": ("world", "questions", "teacher", "curriculum", "pretraining"),
    "reading": ("readers", "sources", "documents", "passages", "cleaning", "testsets"),
    "evaluation": ("paper", "metrics", "audit"),
    "runner": ("report", "reproduce"),
}
MOVED = {f"aquilt.{module}": f"aquilt.{wing}.{module}" for wing, modules in WINGS.items() for module in modules}


class OldAddresses:
    "Finds a moved module under its old name and hands out the one module that there is."

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec):
        warnings.warn(f"{spec.name} is now {MOVED[spec.name]}", DeprecationWarning, stacklevel=2)
        module = import_module(MOVED[spec.name])
        self.own = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.own  # the import system has put the old name's there


def keep_old_addresses():
    "From now on the old names can be imported."
    sys.meta_path.append(OldAddresses())
