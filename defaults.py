"""Every default of the toolkit, in one place, with the reason where it is not obvious."""

from __future__ import annotations

OUTPUT = "benchmark_output"
SEED = 42

ROUNDS = 5  # three leave a half-width of 9 % under 3 % launch noise, five find a difference of 10 % in 96 % of cases
MAX_ROUNDS = 20  # where rounds are added until a question is answered: half the width that five give
WARMUP = 1  # fixed and declared; never "until stable": two runs would then differ in warm-up
SAMPLES = 16
MAX_NEW_TOKENS = 128
BATCH_SIZE = 1
WAIT_IDLE_S = 600.0  # for other work to end, where that is asked for; a build or a test run takes as long
LAUNCHER = "local"  # the one that is always there
PLACEMENT_TIMEOUT_S = 60.0  # without a machine that can take a worker; nodes that are started late come in that time
TIMEOUT_S = 1800.0  # per round; a hang costs one round, not the night
WORKER_LINE_BYTES = 2**28  # that a worker may send at once: whole distributions over a long text
LOG_LINE_BYTES = 2**24  # of a raw log: the text of a prompt of some million tokens
ENGINE_TEXT_BYTES = 64 * 2**20  # of what an engine prints in a round; beyond, the middle is left out

MIN_EFFECT = 0.02  # differences below this are called equivalent, however certain
CONFIDENCE = 0.95
BOOTSTRAP_RESAMPLES = 2000

DEMO_FIRST_S = 60.0
DEMO_LIMIT_S = 150.0
DEMO_PAGE_S = 20.0  # of it, for comparing and for the page
DEMO_PROBLEMS = 16
DEMO_ROUNDS = 3

EXAMPLE_MODEL = "tiny:target"  # where nobody names a model; a backend that cannot run it has a stand-in
TIE_MARGIN = 1e-4  # log-probability gap of the two likeliest ids below which rounding decides
ROUNDED_TIE_MARGIN = 1e-3  # the same where weights, keys or values have fewer bits than float32
CONFORMANCE_TIMEOUT_S = 300.0  # per process of a check: engines that compile take a minute to load

MEMORY_HEADROOM = 1.3  # weights, KV cache and the engine's own buffers, as a multiple of the weight file
WORKER_BYTES = 512 * 2**20  # of a worker beside its weights: interpreter, an engine's libraries, a device's context

FIGURE_FORMAT = "png"
FIGURE_STYLE = "page"

IMPORT_EXPERIMENT = "imported"  # one for all tools, so that what they measured can be compared
IMPORT_LIMIT_BYTES = 100 * 10**6  # a foreign log is read whole, which takes some twelve times as much memory

STORE_WAIT_S = 10.0  # for another decodebench to let go of the store; a comparison takes a second or two
STORE_MEMORY = "800MB"  # of DuckDB while it writes; what it needs beyond goes to disk
