"""The results of a folder: opened, compared, checked, drawn, reported, exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ... import defaults
from ...collate.collate import Announce, CollateReport, Problem, open_current
from ...collate.collate import collate as read_logs
from ...collate.comparison.compare import Choices
from ...collate.comparison.compare import compare as compare_cells
from ...collate.comparison.log_entry import log_entry as markdown_entries
from ...collate.comparison.observations import choose_experiment, experiments
from ...collate.findings import findings
from ...collate.store_update.loading import Progress
from ...viz.privacy import Names
from ..errors import UsageError
from ..measure.plan import check_experiment_name
from ..records.store import Store
from ..records.store_file import FILE_NAME
from .comparison import Comparison
from .drawn import Drawn
from .plan_again import plan_again
from .plugins import installed_plugins
from .table import Table, Tabular, html_table

if TYPE_CHECKING:
    from ...collate.comparison.history import History
    from ...collate.parsers.foreign import Intake
    from ...collate.speculation.figures import Speculation
    from ...viz.plot import Format
    from ..contract.finding import Finding

PAGE, SLIDES = "report.html", "report.pdf"
_SUMMARY = """
SELECT experiment, count(DISTINCT cell_id), count(*) FILTER (status = 'ok'), count(*) FILTER (status != 'ok')
FROM runs GROUP BY experiment"""


class Results(Tabular):
    """The results of an output folder, open for reading; a context manager.

    Attributes:
        folder: the output folder.
        store: its store, brought up to date; closed with ``close``, which a run into the same folder needs.
        problems: raw logs that could not be read, and why.
        unread: those of them that the system did not let us read, such as on an I/O error.
    """

    def __init__(
        self, folder: Path, store: Store, problems: Sequence[Problem] = (), unread: Sequence[str] = ()
    ) -> None:
        self.folder, self.store, self.problems, self.unread = folder, store, problems, unread

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments, the latest first."""
        return experiments(self.store)

    def choose(self, experiment: str | None = None) -> str:
        """Return an experiment's name after a check, the latest by default; raises ``UsageError`` without one."""
        return choose_experiment(self.store, experiment)

    def compare(self, **chosen: Unpack[Choices]) -> Comparison:
        """Compare the cells of an experiment, by default of the latest.

        Args:
            **chosen: ``experiment``, ``by`` (backend, model, quantisation, device or an option), ``baseline`` (a
                cell's label, or a value), ``metric`` (a name in docs/metrics.md), ``min_effect`` (relative difference
                below which cells are equivalent), ``over`` (``"rounds"`` or ``"prompts"``: what intervals generalise
                to), ``steady_state`` (exclude the first measured sample of every round from times).

        Raises:
            UsageError: an unknown experiment, dimension, baseline or metric; the store is empty.
        """
        with self._view(chosen.get("steady_state", False)) as store:
            return Comparison.of(compare_cells(store, **chosen, further=installed_plugins().findings.values))

    def findings(self, experiment: str | None = None) -> tuple[Finding, ...]:
        """Return the findings of an experiment, the most severe first."""
        return findings(self.store, self.choose(experiment), further=installed_plugins().findings.values)

    def history(self, metric: str | None = None) -> History:
        """Return a metric of every cell over all experiments; raises ``UsageError`` if none has it."""
        from ...collate.comparison.history import history

        return history(self.store, metric)

    def speculation(
        self, experiment: str | None = None, *, baseline: str | None = None, steady_state: bool = False
    ) -> Speculation:
        """Analyse the speculative decoding of an experiment: acceptance, cycle costs, block sizes, pairs.

        Raises:
            UsageError: an unknown experiment or baseline; nothing in the experiment drafts.
        """
        from ...collate.speculation import analyse

        with self._view(steady_state) as store:
            further = installed_plugins().analyses.values()
            return analyse(store, experiment, steady_state=steady_state, baseline=baseline, further=further)

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Table:
        """Run SQL on the store; docs/python.md lists its tables and views."""
        return Table(*self.store.query(sql, parameters))

    def table(self) -> Table:
        """Return a row per round of all experiments, with every column of ``run_metrics`` (docs/hooks.md)."""
        return self.query("SELECT * FROM run_metrics ORDER BY started_at, run_id")

    def _repr_html_(self) -> str:
        names = {name: number for number, name in enumerate(self.experiments)}
        rows = self.store.query(_SUMMARY)[1]
        shown = [list(map(str, row)) for row in sorted(rows, key=lambda row: names[row[0]])]
        return html_table(["experiment", "cells", "rounds", "not finished"], shown, title=str(self.folder))

    def draw(
        self,
        figures: Sequence[str] | None = None,
        comparison: Comparison | None = None,
        *,
        to: str | Path | None = None,
        fmt: Format = "png",
        look: str = defaults.FIGURE_STYLE,
    ) -> Drawn:
        """Draw figures of an experiment into files.

        Args:
            figures: ids, see ``decodebench plot --list``; None: all that the logs support.
            comparison: of the experiment, whose baseline ratios are drawn against; by default that of the latest.
            to: folder of the files; by default ``figures`` in the output folder.
            fmt: of the files: png, svg or pdf.
            look: size of figure and text: page, talk or paper.

        Raises:
            UsageError: an unknown id, format or look.
        """
        from ...viz.drawing.declarations import declared
        from ...viz.plot import MissingDataError, choose, plot

        plugins = installed_plugins()
        chosen = choose(plugins.figures.values(), figures)
        target = self.folder / "figures" if to is None else Path(to)
        try:
            with declared(plugins.backends):
                return Drawn(plot(self.store, chosen, comparison or self.compare(), target, fmt, look=look))
        except MissingDataError as missing:
            return Drawn(missing.written, str(missing))

    def report(
        self,
        comparison: Comparison | None = None,
        *,
        to: str | Path | None = None,
        figures: Sequence[str] | None = None,
        anonymise: bool = True,
    ) -> Path:
        """Write a self-contained HTML page about a comparison and return its path.

        Args:
            comparison: by default that of the latest experiment.
            to: the file; by default ``report.html`` in the output folder.
            figures: ids of those on the page; None: all.
            anonymise: remove host and user names and home folders.

        Raises:
            UsageError: an unknown figure.
            DecodebenchError: the file cannot be written.
        """
        from ...viz.drawing.declarations import declared
        from ...viz.plot import choose
        from ...viz.report import write_report

        plugins = installed_plugins()
        shown, chosen = comparison or self.compare(), choose(plugins.figures.values(), figures)
        with self._view(shown.steady_state) as store, declared(plugins.backends):
            names = Names.of(store, shown.experiment) if anonymise else None
            path, plan = Path(to or self.folder / PAGE), plan_again(store, self.folder, shown.experiment)
            return write_report(store, shown, path, figures=chosen, reproduce=plan, names=names)

    def slides(
        self,
        comparison: Comparison | None = None,
        *,
        to: str | Path | None = None,
        template: str | Path | None = None,
        anonymise: bool = True,
        all_figures: bool = False,
    ) -> Path:
        """Write slides about a comparison as PDF and return its path; their sources are in a folder next to it.

        Args:
            comparison: by default that of the latest experiment.
            to: the PDF; by default ``report.pdf`` in the output folder.
            template: a Typst file instead of the built-in one.
            anonymise: remove host and user names and home folders.
            all_figures: a slide for every figure that the logs support, not only for five.

        Raises:
            UsageError: the file name does not end in .pdf; the template cannot be read or does not compile.
            DecodebenchError: a file cannot be written.
        """
        from ...viz.drawing.declarations import declared
        from ...viz.slides import MOST_FIGURES, TEMPLATE, draw_pictures, make_deck, write_slides

        plugins = installed_plugins()
        shown, path = comparison or self.compare(), Path(to or self.folder / SLIDES)
        if path.suffix.lower() != ".pdf":
            raise UsageError(f"--slides writes a PDF: {path} must end in .pdf", code="wrong-suffix")
        with self._view(shown.steady_state) as store, declared(plugins.backends):
            names = Names.of(store, shown.experiment) if anonymise else None
            most = None if all_figures else MOST_FIGURES
            pictures = draw_pictures(store, shown, list(plugins.figures.values()), names=names, most=most)
            deck = make_deck(store, shown, pictures, plan_again(store, self.folder, shown.experiment), names)
            return write_slides(deck, path, pictures, template=Path(template or TEMPLATE))

    def log_entry(self, comparison: Comparison | None = None, *, anonymise: bool = True) -> str:
        """Return an experiment as Markdown for a log: one entry per cell, ``anonymise`` as in ``report``."""
        shown = comparison or self.compare()
        text = markdown_entries(self.store, shown)
        return Names.of(self.store, shown.experiment).hide(text) if anonymise else text

    def export(
        self,
        fmt: str = "csv",
        experiment: str | None = None,
        *,
        to: str | Path | None = None,
        cumulative_text: bool = False,
    ) -> list[Path]:
        """Write the store as files of another format and return their paths.

        Args:
            fmt: csv, parquet, json, llm-d, or what plugins add.
            experiment: which; by default all.
            to: their folder, or the file if the format writes one; by default the output folder. A path with the
                suffix of the format's file is the file; folders are created.
            cumulative_text: csv only: the whole text so far in every row, not only the step's piece.

        Raises:
            UsageError: an unknown format or experiment, a file for a format that writes several, or
                ``cumulative_text`` with another format than csv.
        """
        from .exports import write_export

        chosen = None if experiment is None else self.choose(experiment)
        return write_export(self.store, fmt, chosen, Path(to or self.folder), cumulative_text=cumulative_text)

    @contextmanager
    def _view(self, steady_state: bool) -> Iterator[Store]:
        """Give the store, or a view of it that may leave out first samples, as long as it is open."""
        if not steady_state:
            yield self.store
            return
        with Store.open(self.store.path.parent) as store:
            store.leave_out_first_samples()
            yield store

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open(
    folder: str | Path = defaults.OUTPUT,
    *,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Results:
    """Bring the store of ``folder`` up to date with its raw logs and open it for reading.

    Args:
        folder: an output folder.
        progress: called before each log that is read with how many are done, how many there are, and its name.
        announce: gets a line where something takes its time, such as an older store that is rebuilt.

    Raises:
        UsageError: there is neither a raw log nor a store.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(
            f"no results: folder {path} does not exist; measure with `decodebench run -o {path}`", code="folder-missing"
        )
    if not (path / "raw").is_dir():
        if not (path / FILE_NAME).exists():
            raise UsageError(
                f"no results in {path}: nothing was measured into it; measure with `decodebench run -o {path}`, or "
                f"import logs with `decodebench collate {path} --import LOG`",
                code="no-results",
            )
        return Results(path, Store.open(path))
    opened = open_current(path, installed_plugins(), progress=progress, announce=announce)
    return Results(path, opened.store, opened.problems, opened.unread)


def compare(source: Results | str | Path = defaults.OUTPUT, **chosen: Unpack[Choices]) -> Comparison:
    """Compare the cells of an experiment in a folder, by default of the latest; see ``Results.compare``.

    Args:
        source: an output folder, or its open results.
        **chosen: as ``Results.compare`` takes them.
    """
    if isinstance(source, Results):
        return source.compare(**chosen)
    with open(source) as results:
        return results.compare(**chosen)


def collate(
    folder: str | Path,
    *,
    rebuild: bool = False,
    intake: Intake | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> CollateReport:
    """Read the raw logs of a folder into its store, other tools' logs first where there are any.

    Args:
        folder: an output folder.
        rebuild: drop the store and read every log anew.
        intake: other tools' logs to copy into the folder.
        progress, announce: as ``open`` takes them.

    Raises:
        UsageError: the store cannot be opened for writing, or an unknown format, or no name of an experiment.
    """
    if intake is not None:
        check_experiment_name(intake.experiment)  # it becomes a part of a path
    return read_logs(
        Path(folder), installed_plugins(), rebuild=rebuild, intake=intake, progress=progress, announce=announce
    )
