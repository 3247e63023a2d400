"""The same averages in numpy, replies in memory: a running float32 sum, and numpy.average in float64."""
import json, resource, sys, time
import numpy as np

clients, mib, rounds = (int(x) for x in sys.argv[1:4])
tensors = mib * 2**20 // (4 * 8 * 2048)
rng = np.random.default_rng(1)
replies = [[rng.random((8, 2048), dtype=np.float32) for _ in range(tensors)] for _ in range(clients)]
shares = np.arange(10, 10 + clients, dtype=np.float64)
shares /= shares.sum()


def running():
    result = []
    for i in range(tensors):
        total = np.zeros_like(replies[0][i])
        for share, reply in zip(shares, replies):
            total += np.float32(share) * reply[i]
        result.append(total)
    return result


def average():
    return [np.average([reply[i] for reply in replies], axis=0, weights=shares).astype(np.float32) for i in range(tensors)]


def median():
    return [np.median([reply[i] for reply in replies], axis=0) for i in range(tensors)]


for name, rule in (("running sum", running), ("average", average), ("median", median)):
    seconds, cpu = [], []
    for _ in range(rounds if name != "median" else 1):
        started, cpu_started = time.perf_counter(), time.process_time()
        rule()
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - cpu_started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"name": name, "seconds": seconds, "cpuSeconds": cpu, "peakMib": peak}), flush=True)
