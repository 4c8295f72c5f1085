"""Finished records, and models that are trained on them."""
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from aquilt.commands.options import Adapter, Engine, EngineArgs, Fields, Logic, Model, Passage, ProfileName, RECORDS, RunDir, Settings, app, argue, change, finite, something_left, use
from aquilt.foundations.core import beside


# ---- finished records and one's own models

@app.command()
def show(file: Annotated[Path, typer.Argument(help=f"{RECORDS}; the folder of a stage; or a ledger (.dropped.jsonl).")],
         html: Annotated[Optional[Path], typer.Option(help="Write a page of all of them instead, with search and filters; it needs no server.")] = None,
         rows: Annotated[int, typer.Option(min=0, help="How many are shown.")] = 5,
         search: Annotated[str, typer.Option(help="Only those that hold these words.")] = "",
         reason: Annotated[Optional[str], typer.Option(help="Only dropped ones whose reason holds these words; with '' all dropped ones.")] = None, fields: Fields = None) -> None:
    """Show records beside their passages, and what was dropped, by reason.

    \b
    aquilt show mine.jsonl --rows 3
    aquilt show mine.jsonl --reason "leans on"
    aquilt show mine.jsonl --html mine.html
    """
    from aquilt.own.show import show_file
    typer.echo(show_file(file, html, fields or (), rows, search, reason))


@app.command("export")
def export_(source: Annotated[Path, typer.Argument(metavar="IN", help=RECORDS)],
            to: Annotated[str, typer.Option(help="messages, prompt-completion, alpaca, sharegpt, llamafactory or parquet.")],
            out: Annotated[Path, typer.Option(help="The file to write; for llamafactory a folder, its dataset_dir.")],
            fields: Fields = None, logic: Logic = True, passage: Passage = None) -> None:
    """Write records as TRL, LLaMA-Factory or datasets load them.

    \b
    aquilt export mine.jsonl --to prompt-completion --out train.jsonl
    aquilt export mine.jsonl --to llamafactory --out data --no-logic
    """
    from aquilt.own.exports import export_file
    counts = export_file(source, to, out, fields or (), logic, passage)
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} rows written as {to}; the {counts['dropped']} others, each with its reason, are in {counts['ledger']}")


@app.command("inspect")
def inspect_(source: Annotated[Path, typer.Argument(metavar="IN", help=f"{RECORDS}. Each needs a passage.")],
             out: Annotated[Path, typer.Argument(metavar="OUT", help="The records with score and analysis, .jsonl or .parquet; the ledger goes beside it.")],
             least: Annotated[int, typer.Option(min=0, max=5, help="The lowest score that stays; the others go to the ledger.")] = 0,
             model: Annotated[str, typer.Option(help="A model of yours whose adapter inspects; the run's synthesiser if not given.")] = "",
             inspector: Annotated[str, typer.Option(help="The adapter that inspects; the run's if not given.")] = "",
             fields: Fields = None, profile: ProfileName = "mini", engine_args: EngineArgs = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    """Score anyone's records, from 1 to 5, with the inspector of a run. The same command goes on where it was stopped.

    \b
    aquilt inspect theirs.json scored.jsonl --field text=context
    aquilt inspect theirs.json better.jsonl --least 3
    """
    from aquilt.own.inspecting import inspect_file
    use(run_dir)
    argue(engine_args)
    change(settings)
    counts = inspect_file(source, out, profile, fields or (), least, model, inspector)
    something_left(counts, out)
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} records kept (scores: {', '.join(f'{s}: {n}' for s, n in counts['scores'].items())}); the {counts['dropped']} others, each with its reason, are in {beside(out)}")


@app.command()
def train(file: Annotated[Path, typer.Argument(help=RECORDS)], base: Annotated[str, typer.Option(help="The chat model to train: a folder, a hub id, or a name that `aquilt model` knows.")],
          out: Annotated[Path, typer.Option(help="Folder for the adapter and the ledger.")],
          epochs: Annotated[int, typer.Option(min=1, help="How often each example is seen.")] = 3,
          learning_rate: Annotated[float, typer.Option(min=1e-9, max=1, callback=finite, help="The highest learning rate.")] = 1e-4,
          batch_size: Annotated[int, typer.Option(min=1, help="Examples of an update.")] = 32, rank: Annotated[int, typer.Option(min=1, help="Rank (and alpha) of the LoRA.")] = 64,
          max_length: Annotated[int, typer.Option(min=8, help="The most tokens of an example; longer ones go to the ledger.")] = 2048, seed: int = 0,
          fields: Fields = None, logic: Logic = True, passage: Passage = None,
          merge: Annotated[bool, typer.Option("--merge", help="Write the whole model with the adapter in it, too, into OUT/merged.")] = False,
          launch: Annotated[str, typer.Option(help="How accelerate starts it: one, ddp, fsdp, zero3 or a file of yours; in this process if not given.")] = "") -> None:
    """Train a specialist, a LoRA of your chat model, on any records or chats. The same command goes on where it was stopped.

    \b
    aquilt train mine.jsonl --base Qwen/Qwen2.5-7B-Instruct --out specialist
    aquilt train chats.json --base qwen2-instruct --out specialist --rank 8 --epochs 8 --learning-rate 5e-3
    """
    from aquilt.own.specialist import train_file
    result = train_file(file, base, out, fields or (), logic, passage, merge, launch, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, rank=rank, max_length=max_length, seed=seed)
    counts, loss = result["counts"], result["loss"]
    fell = f", loss {loss[0]['loss']} to {loss[-1]['loss']}" if loss else ""
    if result["updates"] < 30: typer.echo(f"aquilt: {result['updates']} updates teach little: with so few examples take a smaller --batch-size, more --epochs or a higher --learning-rate.", err=True)
    typer.echo(f"{out / 'adapter'}: trained on {counts['kept']} of {counts['entered']} examples in {result['updates']} updates{fell}; the {counts['dropped']} others, each with its reason, are in {out / 'dropped.jsonl'}")


@app.command()
def evaluate(model: Model, test: Annotated[Path, typer.Argument(help="Your questions, each with its right answer or answers, or with options; in any form that records have.")],
             out: Annotated[Path, typer.Option(help="A row for each question, with the model's answer and its scores, .jsonl.")],
             adapter: Adapter = None, fields: Fields = None, passage: Passage = None,
             tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 1024, engine: Engine = "", engine_args: EngineArgs = None,
             harness: Annotated[Optional[Path], typer.Option(help="Write the test as a task of lm-evaluation-harness, too, into this folder.")] = None,
             judge: Annotated[str, typer.Option(metavar="MODEL@ADDRESS|VARIABLE", help="A strong model that scores each answer from 1 to 5, too; VARIABLE of the environment holds the key.")] = "") -> None:
    """Ask a model your own questions: exact match, F1, ROUGE-L, choice, a judge. The same command goes on where it was stopped.

    \b
    aquilt evaluate Qwen/Qwen2.5-7B-Instruct test.jsonl --adapter specialist --out answers.jsonl
    """
    from aquilt.own.evaluating import evaluate_file
    argue(engine_args)
    result = evaluate_file(model, test, out, adapter, fields or (), passage, tokens, engine, harness, judge)
    for name, row in result["scores"].items():
        typer.echo(f"{name:<8} {row['mean']:6.2f}  (95 %: {row['interval'][0]} to {row['interval'][1]}; {row['n']} questions)")
    lost = f"; {result['dropped']} rows are no questions ({beside(out)} says why)" if result["dropped"] else ""
    unasked = f"; {result['errors']} could not be asked (field error)" if result["errors"] else ""
    cut = f"; {result['cut off']} answers were cut off at {tokens} tokens" if result["cut off"] else ""
    unjudged = f"; {result['unjudged']} answers have no judgement (field unjudged)" if result["unjudged"] else ""
    typer.echo(f"{out}: {result['n']} questions with answers and scores{unasked}{cut}{unjudged}{lost}")
    if harness: typer.echo(result["harness"])


@app.command()
def chat(model: Model, adapter: Adapter = None,
         temperature: Annotated[float, typer.Option(min=0, max=2, callback=finite, help="0 gives the likeliest answer, always the same.")] = 0.0,
         tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 512, engine: Engine = "", engine_args: EngineArgs = None) -> None:
    """Talk with a model; an empty line or Ctrl-D ends it.

    \b
    aquilt chat Qwen/Qwen2.5-7B-Instruct --adapter specialist
    """
    from aquilt.models.engines import Sampling
    from aquilt.own.inspecting import find_adapter
    from aquilt.own.specialist import converse, open_model
    argue(engine_args)
    lora = find_adapter(adapter)
    opened = open_model(model, engine)

    def ask() -> str:
        try: return input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt): return ""
    converse(opened, ask, typer.echo, lora, Sampling(temperature, 1.0, tokens))


@app.command()
def push(path: Annotated[Path, typer.Argument(help="A file of records, or the folder of an adapter.")],
         to: Annotated[str, typer.Option(help="The repository on the hub, OWNER/NAME.")],
         licence: Annotated[str, typer.Option(help="The licence that you give it, like cc-by-4.0.")] = "",
         base: Annotated[str, typer.Option(help="The hub id of the model that an adapter changes, where it is not known.")] = "",
         public: Annotated[bool, typer.Option("--public", help="Make the repository public; otherwise a new one is private.")] = False,
         yes: Annotated[bool, typer.Option("--yes", help="Push it, with the token in HF_TOKEN.")] = False) -> None:
    """Show a dataset or adapter with its card as the hub would have it; push it with --yes.

    \b
    aquilt push mine.jsonl --to me/my-data --licence cc-by-4.0
    """
    from aquilt.own.push import push
    typer.echo(push(path, to, licence, base, public, yes))
