"""``mhkd``: the project's one command-line program."""

import sys
from pathlib import Path

import click

from .commands.numbers import ABOVE_0, FROM_0, FROM_1, SEED, SHARE
from .errors import in_one_line
from .version import __version__


class _Group(click.Group):
    """Bad input is one clear line and a non-zero exit, not a traceback."""

    def invoke(self, ctx):
        with in_one_line("mhkd"):
            return super().invoke(ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mhkd")
def main():
    """Find glomeruli in low-resolution kidney slides with a detector that a high-resolution one taught."""


folder = click.Path(file_okay=False, path_type=Path)
existing = click.Path(exists=True, path_type=Path)


@main.command()
@click.option("--out", type=folder, default="output/demo", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
def demo(out, seed):
    """Slides, teacher, four steps, LR-only student, table and pictures, small, on a CPU.

    Stopped, it goes on where it was. Everything is written below OUT.
    """
    from .demo import run_demo

    run_demo(out, seed)


@main.command("make-slides")
@click.argument("out", type=folder)
@click.option("-n", "--num-slides", type=FROM_1, default=4, show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--size-px", type=FROM_1, default=4096, show_default=True,
              help="Width and height at base level.")
@click.option("--mpp", type=ABOVE_0, default=1.0, show_default=True, help="Micrometres per base pixel.")
@click.option("--num-glomeruli", type=FROM_0, nargs=2, default=(25, 50), show_default=True,
              help="Least and most.")
@click.option("--workers", type=FROM_1, default=1, show_default=True, help="Processes.")
def make_slides_command(out, num_slides, seed, **options):
    """Draw kidney-like slides with annotations: pyramidal TIFF and QuPath GeoJSON."""
    from .synthetic import make_slides

    least, most = options["num_glomeruli"]
    if least > most:
        raise click.BadParameter(f"--num-glomeruli {least} {most}: the least comes first, then the most")
    for path in make_slides(out, num_slides, seed=seed, **options):
        click.echo(path)


@main.command()
@click.option("--student", type=existing, required=True, help="Folder of an exported student.")
@click.option("--dataset", help="A dataset's name, e.g. kidney_roi_val.")
@click.option("--dataset-of", metavar="FILE", help="Take DATASETS.TEST of this config instead.")
@click.option("--out", type=folder, required=True, help="Folder for the pictures.")
@click.option("--score-threshold", type=SHARE, default=0.5, show_default=True)
@click.option("--limit", type=FROM_1, help="At most so many pictures.")
@click.option("--device", default="", help="cpu, cuda, ...; default: CUDA if there is one.")
def overlay(student, dataset, dataset_of, out, score_threshold, limit, device):
    """Draw what a student finds on LR: HR beside LR, false positives red, false negatives yellow."""
    from .config_files import find_config
    from .visualization.predict import overlay_dataset, test_sets

    if not dataset and not dataset_of:
        raise click.UsageError("give --dataset or --dataset-of")
    for name in [dataset] if dataset else test_sets(find_config(dataset_of)):
        paths = overlay_dataset(student, name, out, score_threshold, limit, device)
        click.echo(f"{len(paths)} pictures in {out}")


@main.command()
@click.argument("output_dirs", nargs=-1, required=True, type=existing)
@click.option("--out", type=click.Path(path_type=Path),
              help="PNG, SVG or PDF, by its ending. Default: curves.png in the first folder.")
def curves(output_dirs, out):
    """Draw losses and scores over the iterations of one or more trainings."""
    from .visualization.predict import draw_curves, name_runs

    out = out or output_dirs[0] / "curves.png"
    draw_curves(name_runs(output_dirs), out)
    click.echo(out)


@main.command()
@click.argument("output_dir", type=existing)
@click.option("--lr-only", type=existing, help="OUTPUT_DIR of the same student trained with schedule none.")
@click.option("--out", type=folder, help="Write results.json and results.md there too.")
def results(output_dir, lr_only, out):
    """Print the table of a training: teacher, direct, LR-only, and what each step of its schedule added."""
    from .evaluation.report import collect, markdown
    from .files import write_json, write_text

    found = collect(output_dir, lr_only)
    click.echo(markdown(found))
    if out:
        write_json(found, out / "results.json")
        write_text(markdown(found), out / "results.md")


@main.command()
@click.argument("checkpoint", type=existing)
@click.option("--out", type=folder, required=True, help="Folder for model_final.pth and config.yaml.")
@click.option("--network", type=click.Choice(["student", "teacher"]), default="student", show_default=True)
def export(checkpoint, out, network):
    """Take the student (or the teacher) out of any training checkpoint."""
    from .engine.exported import export_checkpoint

    click.echo(export_checkpoint(checkpoint, out, network))


@main.command("inspect")
@click.argument("datasets", nargs=-1, required=True)
@click.option("--out", type=folder, default="output/inspect", show_default=True)
@click.option("--num-images", type=FROM_0, default=6, show_default=True,
              help="On a contact sheet; 0: none is drawn.")
@click.option("--lr-factor", type=FROM_1, default=4, show_default=True, help="HR pixels per LR pixel.")
@click.option("--lr-filter", type=click.Choice(["area", "lanczos"]), default="area", show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any warning.")
def inspect_command(datasets, out, strict, **options):
    """Count, check and draw DATASETS: "my_kidneys" (all splits) or "my_kidneys_train".

    Prints images, slides, patients and objects by class, and the objects' sizes (in micrometres where
    the images record their mpp). Warns of slides or patients in two splits, of boxes that are empty or
    outside their images, of classes that training does not see, and of sizes that no glomerulus has.
    OUT gets a contact sheet of each split with its boxes, HR beside LR, histograms of the sizes, and
    all of it as JSON.
    """
    from .visualization.inspection import inspect

    report, warnings = inspect(datasets, out, **options)
    click.echo(report)
    if strict and warnings:
        sys.exit(1)


from .commands.detect import detect as detect_command  # noqa: E402
from .commands.score import score as score_command  # noqa: E402
from .commands.table import table as table_command  # noqa: E402
from .commands.tile import tile as tile_command  # noqa: E402
from .commands.train import evaluate as evaluate_command  # noqa: E402
from .commands.train import train as train_command  # noqa: E402
from .commands.view import view as view_command  # noqa: E402

main.add_command(detect_command)
main.add_command(score_command)
main.add_command(table_command)
main.add_command(tile_command)
main.add_command(train_command)
main.add_command(evaluate_command)
main.add_command(view_command)
