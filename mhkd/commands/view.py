"""``mhkd view``."""

from pathlib import Path

import click

from ..terminal import legible, say
from .numbers import PORT


@click.command()
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--port", type=PORT, default=8765, show_default=True, help="0: any that is free.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--annotations", type=click.Path(exists=True), help="Folder, or one file; default: beside each slide."
)
@click.option(
    "--slides",
    type=click.Path(exists=True, file_okay=False),
    help="Where the slides are now, if they have moved.",
)
def view(out_dir: Path, port: int, no_browser: bool, annotations: str | None, slides: str | None) -> None:
    """Look at what `mhkd detect` found, and correct it: a web page with deep zoom, for this machine only.

    OUT_DIR is the folder that `mhkd detect --out` wrote. What you accept, reject, draw or give another class
    is kept in OUT_DIR/<slide>/corrections.jsonl the moment you do; `mhkd corrections` makes annotations of
    it. Nothing else in the folder is changed, nothing leaves the machine. Ctrl-C ends it.
    """
    import webbrowser

    from ..viewer.connections import few_arenas

    few_arenas()  # before others start threads

    from ..annotations.folders import annotations_in, lines, unused
    from ..slide_detection.differences import differences
    from ..slide_detection.finished import find_finished
    from ..viewer.content import DamagedSlide, ShownSlide
    from ..viewer.server import ADDRESS, make_server

    finished, unfinished, damaged = find_finished(out_dir)
    mixed = differences(finished)
    shown: list[ShownSlide | DamagedSlide] = [
        *(ShownSlide(f, slides, annotations, tuple(mixed)) for f in finished),
        *(DamagedSlide(name, reason) for name, reason in damaged.items()),
    ]
    server = make_server(shown, out_dir.absolute().name, port)
    for name in unfinished:
        say(f"not finished, so not shown: {legible(name)}", err=True)
    for reason in damaged.values():
        say(f"not shown: {reason}", err=True)
    for line in mixed:
        say(f"warning: {legible(line)}", err=True)
    for slide in shown:
        if slide.missing:
            say(f"without its picture: {slide.missing}", err=True)
    if annotations:
        files = [f.run["slide_file"] for f in finished]
        for line in lines(unused(annotations_in(annotations), files, {})):
            say(legible(line), err=True)
    url = f"http://{ADDRESS}:{server.server_port}/"
    say(f"{len(shown)} slides at {url} (Ctrl-C ends it)")
    if not no_browser:
        webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say()
    finally:
        server.server_close()
