"""MT-Bench: the first turns of its 80 conversations (L. Zheng et al., 2023), as prompts for speed alone."""

from __future__ import annotations

from ...core.contract.task import TaskSample
from .hub import HubData
from .hub_task import HubTask
from .rows import Row, listed


class MtBench(HubTask):
    """Open questions in eight categories. Their answers need a judge, so nobody scores them."""

    name = "mt-bench"
    version = "1"
    summary = "MT-Bench: first turns of 80 conversations in 8 categories; speed only"
    metric = None
    template = "{prompt[0]}"
    extraction = "none: answers are not scored"
    data = HubData("mt-bench", "HuggingFaceH4/mt_bench_prompts", "e3a795c5e9a82ee40611c416b8a7786c73198991")
    source = data.url
    split = "train"
    columns = ("prompt", "prompt_id")
    max_new_tokens = 1024

    def identity(self, at: int) -> str:
        """Use the data set's own number."""
        return str(self.rows[at]["prompt_id"])

    def sample(self, name: str, row: Row) -> TaskSample:
        """Ask the first turn."""
        first = listed(row, "prompt")[0]
        return TaskSample(name, f"{first}\n\n", "", (("user", first),))
