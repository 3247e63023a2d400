"""Writes one file per compression codec below codecs/; run with pyarrow (26.0.1 wrote those beside it).

    python codecs.py
"""
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

here = pathlib.Path(__file__).parent
image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
rows = 40  # the same words again and again, so that every codec really makes them smaller
table = pa.table(
    {
        "image": pa.array([{"bytes": bytes([i, 1, 2]), "path": f"{i}.png"} for i in range(rows)], image),
        "question": [f"what is the number that this picture shows, {i}?" for i in range(rows)],
        "answer": [f"number {i}" for i in range(rows)],
    }
)
for codec in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
    folder = here / "codecs" / codec
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "train-00000-of-00001.parquet", compression=codec, row_group_size=25)
