"""The command `aquilt`: each subcommand is one call of the package. What a user can put right is one line, without a stack trace."""
import os
from pathlib import Path
from typing import Annotated, Optional

import typer
from typer.core import TyperGroup

import aquilt
from aquilt.core import LANGS, TASKS, UserError


class Commands(TyperGroup):
    "Commands whose errors are sentences: exit code 2 for what the user can put right, 130 for Ctrl-C."

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UserError as e:
            code, sentence = 2, " ".join(str(e).split())
        except KeyboardInterrupt:
            code, sentence = 130, "stopped; the same command goes on from here."
        typer.echo(f"aquilt: {sentence}", err=True)
        raise typer.Exit(code)


app = typer.Typer(cls=Commands, name="aquilt", add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
ProfileName = Annotated[str, typer.Option("--profile", help="smoke, mini, single_gpu or paper.")]
RunDir = Annotated[Optional[Path], typer.Option("--run-dir", help="Where the run's files go; runs/PROFILE if not given.")]


def use(run_dir: Path | None) -> None:
    "Open the run in this directory from now on."
    if run_dir:
        os.environ["AQUILT_RUN_DIR"] = str(run_dir.absolute())


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(aquilt.__version__)
        raise typer.Exit()


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")] = False) -> None:
    "AQuilt: from unlabeled text to inspected instruction data and a trained specialist."


@app.command()
def reproduce(profile: ProfileName = "mini",
              only: Annotated[Optional[list[str]], typer.Option(help="A notebook by name, module or number (32b, or 32 for all of section 3.2); may be repeated.")] = None,
              run_dir: RunDir = None) -> None:
    "Run the notebooks in order; make every table and figure, and a report. The same command resumes a run that was stopped."
    from aquilt.reproduce import reproduce
    typer.echo(f"Tables, figures and report.html are in {reproduce(profile, only or (), run_dir)}")


@app.command()
def report(profile: ProfileName = "mini", run_dir: RunDir = None) -> None:
    "Make the report of a run again from its results, tables and figures."
    from aquilt.report import write_report
    from aquilt.runs import figures_dir, open_run
    use(run_dir)
    run = open_run(profile)
    typer.echo(write_report(run, figures_dir(run)))


@app.command()
def doctor() -> None:
    "Say what this machine has and which profiles it can run."
    from aquilt.reproduce import doctor
    typer.echo(doctor())


Steps = Annotated[Optional[int], typer.Option(min=1, help="Training steps; those of the shipped models if not given.")]
Folder = Annotated[Path, typer.Argument(help="Where the model, its tokenizer and its log go.")]


@app.command()
def pretrain(architecture: Annotated[str, typer.Argument(help="qwen2 or llama.")], folder: Folder, steps: Steps = None, seed: int = 0,
             start: Annotated[Optional[Path], typer.Option(help="A finished base model to begin with, where names and shapes agree.")] = None,
             exercise: Annotated[bool, typer.Option("--exercise", help="Exercises alone, in short rows: a step of the shipped models' training.")] = False) -> None:
    "Train a base model of the miniature. The same command resumes a training that was stopped."
    from aquilt.pretraining import pretrain
    typer.echo(pretrain(architecture, folder, seed=seed, start=start, exercise=exercise, **({"steps": steps} if steps else {})))


@app.command()
def instruct(base: Annotated[Path, typer.Argument(help="The folder of a base model of the miniature.")], folder: Folder, steps: Steps = None, seed: int = 0) -> None:
    "Train the instruct version of a base model. The same command resumes a training that was stopped."
    from aquilt.pretraining import instruct
    typer.echo(instruct(base, folder, seed=seed, **({"steps": steps} if steps else {})))


@app.command()
def synthesize(file: Annotated[Path, typer.Argument(help="Your text: .txt, or .jsonl with a field text.")],
               task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")],
               out: Annotated[Path, typer.Option(help="The records, .jsonl or .parquet.")],
               lang: Annotated[str, typer.Option(help=f"Language of the text: {' or '.join(LANGS)}.")] = "en",
               profile: ProfileName = "mini", run_dir: RunDir = None) -> None:
    "Make inspected instruction data from your own text with the synthesiser of a run."
    from aquilt.synthesis import synthesize_file
    use(run_dir)
    counts = synthesize_file(file, task, out, lang, profile)
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} passages became records that passed inspection")


def main() -> None:
    "The entry point."
    app()


if __name__ == "__main__":
    main()
