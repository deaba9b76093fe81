"""A log parser, a task, a figure and a finding, written from docs/hooks.md alone."""

from decodebench import Doubt, Figure, FindingCheck, LogParser, Score, Task, TaskSample, hookimpl
from decodebench.core.contract.finding import Place
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.sdk.logs.text import head_text, malformed

decodebench_api = ">=3,<4"


class Tsv(LogParser):
    name, summary, version = "my-tsv", "what my engine prints: prompt, tokens, seconds", "1"

    def matches(self, path, head):
        return head_text(head).startswith("my-engine\t")

    def read(self, path):
        lines = path.read_text().splitlines()
        run_id = f"{path.name}-{len(lines)}"
        yield Run(
            run_id=run_id,
            experiment="",
            cell_id="",
            round=0,
            started_at="2026-01-01T00:00:00Z",
            backend="my-engine",
            model="m",
            quantisation="f16",
            device="cpu",
            samples=len(lines) - 1,
            warmup=0,
            max_new_tokens=64,
            settings={"threads": lines[0].split("\t")[1]},
        )
        for index, line in enumerate(lines[1:]):
            try:
                prompt, tokens, seconds = line.split("\t")
                count, total = int(tokens), float(seconds)
            except ValueError as error:
                raise malformed(path, index + 2, "line", f"{line!r} has no three columns") from error
            yield Sample(run_id=run_id, index=index, sample_id=prompt, prompt=prompt, output_tokens=count)
            for step in range(count):
                yield RecordedStep(
                    run_id=run_id,
                    sample=index,
                    index=step,
                    tokens=1,
                    t_s=total * (step + 1) / count,
                    step_s=total / count,
                )


class Sums(Task):
    name, version, summary = "my-sums", "1", "adds two digits"
    template, extraction, source = "{a}+{b}=", "the first word", "made here"
    max_new_tokens = 4

    def samples(self, n, seed):
        for i in range(n):
            a, b = (seed + i) % 10, (3 * i) % 10
            yield TaskSample(id=f"my-sums/{seed}/{i}", prompt=f"{a}+{b}=", reference=str(a + b))

    def score(self, sample, text):
        found = (text.split() or [None])[0]
        return Score(float(found == sample.reference), found)


def draw(axes, rows):
    axes.bar([row["label"] for row in rows], [row["rate"] for row in rows])


SPEED = Figure(
    id="my_speed",
    title="Decode speed",
    draw=draw,
    sql="SELECT backend || ' ' || coalesce(settings->>'threads', '') AS label, avg(decode_tokens_per_s) AS rate "
    "FROM run_metrics WHERE experiment = $experiment AND status = 'ok' GROUP BY ALL ORDER BY label",
)


def few(cells):
    for cell in cells:
        short = [row for row in cell["measured"] if (row["output_tokens"] or 0) < 5]
        if short:
            yield Doubt(
                f"{cell['label']}: {len(short)} answers have fewer than 5 tokens",
                "ask for longer ones",
                [Place(run_id=cell["run_id"], sample=row["index"]) for row in short],
                "note",
            )


@hookimpl
def decodebench_log_parsers():
    return [Tsv]


@hookimpl
def decodebench_tasks():
    return [Sums]


@hookimpl
def decodebench_figures():
    return [SPEED]


@hookimpl
def decodebench_findings():
    return [FindingCheck("few-tokens", "answers of fewer than five tokens", few)]
