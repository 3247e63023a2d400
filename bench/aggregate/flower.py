"""Flower's own strategies on replies that are already in memory as messages."""
import json, logging, os, resource, sys, time

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
import numpy as np
from flwr.supercore.task_identity import TaskIdentity

TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as strategies

logging.getLogger("flwr").setLevel(logging.ERROR)
clients, mib, rounds = (int(x) for x in sys.argv[1:4])
tensors = mib * 2**20 // (4 * 8 * 2048)
rng = np.random.default_rng(1)
base = {f"t{i}": rng.random((8, 2048), dtype=np.float32) for i in range(tensors)}


class Grid:
    def get_node_ids(self):
        return list(range(1, clients + 1))


def record():
    return ArrayRecord({name: Array(value) for name, value in base.items()})


def measure(name, strategy, repeats):
    sent = list(strategy.configure_train(1, record(), ConfigRecord({}), Grid()))
    replies = []
    for k, message in enumerate(sent):
        arrays = ArrayRecord({t: Array(value + np.float32(k * 1e-3)) for t, value in base.items()})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10 + k})})
        replies.append(Message(content, reply_to=message))
    seconds, cpu = [], []
    for _ in range(repeats):
        started, cpu_started = time.perf_counter(), time.process_time()
        strategy.aggregate_train(1, list(replies))
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - cpu_started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"name": name, "seconds": seconds, "cpuSeconds": cpu, "peakMib": peak}), flush=True)


every = {"fraction_train": 1.0, "fraction_evaluate": 0.0}
measure("fedavg", strategies.FedAvg(**every), rounds)
measure("fedadam", strategies.FedAdam(**every), rounds)
measure("krum", strategies.Krum(num_malicious_nodes=1, **every), rounds)
measure("median", strategies.FedMedian(**every), 1)
