"""What all commands share: the app, whose errors are sentences, options, and how these reach the package."""
import errno
import json
import os
from pathlib import Path
from typing import Annotated, Optional

import typer
from typer.core import TyperGroup

import aquilt
from aquilt.foundations.core import UserError, beside, commonest


GROUPS = {"Records of your own text": "init corpus distill fit synthesize filter inspect".split(),
          "Looking at records, and using them": "show export train evaluate chat push".split(),
          "The paper's experiments": "reproduce status report estimate replies lesson".split(),
          "Machine and models": "doctor model pretrain instruct".split()}


class Commands(TyperGroup):
    "Commands whose errors are sentences: exit code 2 for what the user can put right, 130 for Ctrl-C."

    def format_commands(self, ctx, formatter):
        known = {name for names in GROUPS.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in known and not self.commands[name].hidden]
        for title, names in (GROUPS | {"Others": others}).items():
            rows = [(name, self.commands[name].get_short_help_str(formatter.width - 16)) for name in names if name in self.commands]
            if rows:
                with formatter.section(title): formatter.write_dl(rows)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UserError as e:
            code, sentence = 2, " ".join(str(e).split())
        except OSError as e:
            if e.errno == errno.EPIPE:  # who reads the output, like `head`, has enough
                raise
            code, sentence = 2, f"{e.filename or 'The system'}: {e.strerror or e}. Correct the name, the permission or the disk, and repeat the command."
        except KeyboardInterrupt:
            code, sentence = 130, "stopped; the same command goes on from here."
        typer.echo(f"aquilt: {sentence}", err=True)
        raise typer.Exit(code)


app = typer.Typer(cls=Commands, name="aquilt", add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
ProfileName = Annotated[str, typer.Option("--profile", help="smoke, mini, small, single_gpu or paper.")]
Sources = Annotated[Optional[Path], typer.Option(help="Folder with a folder for each real dataset whose native files you have; the others come from the hub.")]
Prices = Annotated[Optional[Path], typer.Option(help="A price sheet of yours, in the form of aquilt/data/prices.toml; its rows come first.")]
Settings = Annotated[Optional[list[str]], typer.Option("--set", metavar="NAME=VALUE", help="A setting of your own in the profile, like teacher=my-model; may be repeated. The run is then PROFILE-own.")]
Concurrency = Annotated[Optional[int], typer.Option(min=1, help="The most requests to a teacher under way at once, 64 if not given; fewer while it is busy.")]
Requests = Annotated[Optional[float], typer.Option("--requests-per-minute", help="The requests a minute that a teacher allows, where you know it.")]
Tokens = Annotated[Optional[float], typer.Option("--tokens-per-minute", help="The tokens a minute that a teacher allows, where you know it.")]
Timeout = Annotated[Optional[float], typer.Option(help="Seconds after which a request is given up and sent again, 600 if not given.")]
EngineArgs = Annotated[Optional[list[str]], typer.Option("--engine-arg", metavar="NAME=VALUE", help="An argument of the engine's own, like tensor_parallel_size=2 or batch_size=16; may be repeated.")]
RECORDS = "Records in any known form: JSON Lines or a JSON list of records, Alpaca, ShareGPT, chat messages; CSV, TSV or Parquet"
Fields = Annotated[Optional[list[str]], typer.Option("--field", metavar="NAME=PATH", help="Where a field is, like question=messages[-2].content; may be repeated.")]
Passage = Annotated[Optional[bool], typer.Option("--passage/--no-passage", help="Put the passage before each question, or before none; if not given, where the task's questions do not stand alone.")]
Logic = Annotated[bool, typer.Option("--logic/--no-logic", help="Whether the thinking steps are learnt before the answer.")]
Engine = Annotated[str, typer.Option(help="transformers or vllm; vllm where there is a GPU and vLLM, if not given.")]
Adapter = Annotated[Optional[str], typer.Option(help="A LoRA of this model: its folder, or the one that `aquilt train` wrote.")]
Model = Annotated[str, typer.Argument(help="The folder of a model, a hub id, or a name that `aquilt model` knows.")]
RunDir = Annotated[Optional[Path], typer.Option("--run-dir", help="Where the run's files go; runs/PROFILE if not given.")]


def use(run_dir: Path | None) -> None:
    "Open the run in this directory from now on."
    if run_dir:
        os.environ["AQUILT_RUN_DIR"] = str(run_dir.absolute())


def read_from(sources: Path | None, partial: bool) -> None:
    "Where the real datasets' native files are from now on, and whether a run may go on without some; notebooks are told by the environment."
    if sources:
        if not sources.is_dir():
            raise UserError(f"--sources {sources} is no folder: name the one that holds a folder for each dataset.")
        os.environ["AQUILT_SOURCES"] = str(sources.absolute())
    if partial:
        os.environ["AQUILT_PARTIAL"] = "1"


def pay_by(prices: Path | None, budget: str | None = None, batch: bool = False) -> None:
    "Which price sheet counts from now on, what a run may spend, and whether it asks in batches; a wrong one is refused now."
    if prices:
        from aquilt.models.prices import load_prices
        load_prices(prices)
        os.environ["AQUILT_PRICES"] = str(prices.absolute())
    if budget is not None:
        from aquilt.distillation import read_budget
        if not budget.strip():  # as a script has it whose variable is not set
            raise UserError("The budget is empty: give a number like 12.50, or leave --budget out.")
        os.environ["AQUILT_BUDGET"] = budget
        read_budget()
    if batch:
        os.environ["AQUILT_BATCH"] = "1"


def ask_within(**limits: float | None) -> None:
    "How the teachers are asked from now on; what is not given stays as it is."
    from aquilt.distillation import read_limits
    os.environ.update({f"AQUILT_{name.upper()}": str(value) for name, value in limits.items() if value is not None})
    read_limits()  # a wrong one is refused now, and not when the corpus is made


def change(settings: list[str] | None) -> None:
    "Change the profile from now on."
    if settings:
        os.environ["AQUILT_SET"] = json.dumps(settings)


def argue(engine_args: list[str] | None) -> None:
    "Which arguments an engine is given besides the profile's, from now on."
    if engine_args:
        os.environ["AQUILT_ENGINE_ARGS"] = json.dumps(engine_args)


def something_left(counts: dict, out: Path) -> None:
    "Refuse a result with nothing in it, which would look like one that is well."
    if not counts["kept"]:
        why = commonest(counts["reasons"]) or "there was nothing in it"
        raise UserError(f"{out}: nothing is left of {counts['entered']} ({why}); each with its reason is in {beside(out)}. Give other text, or milder settings.")


def finite(value: float) -> float:
    if value != value or value == float("inf"):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(aquilt.__version__)
        raise typer.Exit()


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")] = False) -> None:
    "AQuilt: from unlabeled text to inspected instruction data and a trained specialist."
