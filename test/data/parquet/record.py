"""Writes the parquet files beside it; run with pyarrow.

    python record.py
"""
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

here = pathlib.Path(__file__).parent
image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
single = pa.table(
    {
        "image": pa.array([{"bytes": bytes([i, 1, 2]), "path": f"{i}.png"} for i in range(5)], image),
        "question": [f"what is {i}?" for i in range(5)],
        "answer": [f"number {i}" for i in range(5)],
    }
)
pq.write_table(single, here / "single" / "train-00000-of-00001.parquet", row_group_size=2)
content = pa.struct([("role", pa.string()), ("content", pa.string())])
several = pa.table(
    {
        "messages": pa.array(
            [
                [{"role": "user", "content": "<image>" * i + "go"}, {"role": "assistant", "content": str(i)}]
                for i in range(3)
            ],
            pa.list_(content),
        ),
        "images": pa.array(
            [[{"bytes": bytes([9, i, j]), "path": None} for j in range(i)] for i in range(3)], pa.list_(image)
        ),
    }
)
pq.write_table(several, here / "several" / "test-00000-of-00001.parquet", row_group_size=2)
features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
classes = pa.table(
    {
        "image": pa.array([{"bytes": bytes([i]), "path": None} for i in range(3)], image),
        "label": pa.array([1, 0, 1], pa.int64()),
    }
).replace_schema_metadata({"huggingface": json.dumps(features)})
pq.write_table(classes, here / "classes" / "validation-00000-of-00001.parquet")
sparse = pa.table(
    {
        "image": pa.array([{"bytes": bytes([0]), "path": None}, None, {"bytes": bytes([2]), "path": None}], image),
        "question": ["x", "y", "z"],
        "choices": [["a", "b"]] * 3,
        "answer": pa.array([1, 0, 1], pa.int8()),
    }
)
pq.write_table(sparse, here / "sparse" / "train-00000-of-00001.parquet")
