from decodebench.collate.collate import collate
from decodebench.collate.findings import findings
from decodebench.core.store import Store


def found(logs):
    collate(logs.folder)
    with Store.open(logs.folder) as store:
        return "\n".join(findings(store, "exp"))


def test_a_clean_experiment_has_none(logs):
    logs.speeds("a", [0.1, 0.1, 0.1])
    assert found(logs) == ""


def test_unfinished_rounds_with_reasons(logs):
    logs.speeds("a", [0.1, 0.1])
    logs.write("a", 2, status="crashed", reason="signal 9")
    logs.write("a", 3, end=False)
    text = found(logs)
    assert "round 2 of 'a f16' is crashed: signal 9" in text and "round 3 of 'a f16' is incomplete" in text


def test_outlier_and_noise(logs):
    logs.speeds("a", [0.1, 0.101, 0.1, 0.099, 0.3])
    text = found(logs)
    assert "round 4 of 'a f16' is an outlier" in text and "very noisy" in text and "are needed" in text


def test_cold_start_and_token_cap(logs, make_sample, make_steps):
    samples = [make_sample(i, make_steps(ttft=2.0 if i == 0 else 0.5), finish="length") for i in range(4)]
    logs.write("a", content=samples, samples=4, task="t")
    text = found(logs)
    assert "takes 4.0 times as long" in text and "4 of 4 generations hit the limit of 64 tokens" in text


def test_an_option_that_changed_nothing(logs):
    logs.speeds("a", [0.1, 0.102, 0.099], backend="x", options={"n": 1, "m": 0})
    logs.speeds("b", [0.101, 0.1, 0.1], backend="x", options={"n": 2, "m": 0})
    assert "option 'n' changed nothing between 1 and 2" in found(logs)


def test_accuracy_lost_with_a_quantisation(logs, make_sample, make_steps):
    problems = [make_sample(i, make_steps()) for i in range(20)]
    common = {"content": problems, "samples": 20, "task": "t", "backend": "x"}
    logs.write("a", scores=[1.0] * 20, **common)
    logs.write("b", scores=[0.0] * 20, quantisation="q2", bits_per_weight=2.5, **common)
    assert "'x q2' loses accuracy: -100.0 points against 'x f16'" in found(logs)


def test_outputs_that_change_between_rounds(logs, make_sample, make_steps):
    for round in range(2):
        logs.write("a", round, [make_sample(0, make_steps(first_id=10 + round)), make_sample(1, make_steps())])
    assert "not deterministic: greedy outputs of 1 of 2 problems" in found(logs)


def test_drift(logs):
    logs.speeds("a", [0.100, 0.105, 0.110, 0.115, 0.121, 0.126])
    assert "drifts" in found(logs)


def test_a_device_that_others_used_is_told(logs):
    for index, others in enumerate((0, 2, 1)):
        logs.write("a", index, device="cuda:0", device_other_processes=others)
        logs.write("b", index, device="cuda:0", device_other_processes=0)
    shared = [line for line in found(logs).splitlines() if "shared" in line]
    assert shared == [
        "2 of 3 rounds of 'a f16' shared cuda:0 with up to 2 other processes; measure again on a free device"
    ]
