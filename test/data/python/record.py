"""Records what CPython says about numbers, JSON, CSV and blanks.

    python record.py > recorded.json
"""
import csv
import io
import json
import random
import re
import struct
import sys

rng = random.Random(5)
floats = [0.0, -0.0, 1.0, 2.5, 1e-4, 9.9e-5, 1e-5, 123456789.0, 1e15, 1e16, 1.5e16, 1e22, 5e-324, 1.7976931348623157e308, 0.1, 1 / 3]
while len(floats) < 400:
    value = struct.unpack("<d", rng.randbytes(8))[0]
    if value == value and abs(value) != float("inf"):
        floats.append(value)
documents = [
    '{"b": 1, "2": 2.0, "1": 1e5, "b": true}',
    '[1E400, -1E400, NaN, -Infinity, -0, 0.10, 12345678901234567890]',
    '{"a": ["\\u00e9\\ud83d\\ude00", "\\u2028", "\\u007f", "\\t\\b\\f/\\\\"], "e": [], "o": {}}',
]
alphabet = 'ab"\t\n'
tables = ["h\tx\n" + "".join(rng.choice(alphabet) for _ in range(rng.randrange(12))) for _ in range(600)]
tables += ["", "h\n", "h\tx\r\n1\t2\r\n", "h\tx\n\n1\t2\t3\t4\n", 'h\tx\n1\t"open\n2\tb"\n', "h\tx\r1\t2\r"]
texts = ["".join(chr(c) for c in (97, c, c, 98, c)) for c in range(0x3100) if chr(c).isspace() or c == 0xFEFF]
texts += ["see http://a.b/c\u00a0now", "xhttps://q end", "HTTP://no http", " http://only "]


def rows(text):
    stream = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    return list(csv.DictReader(stream, delimiter="\t"))


json.dump(
    {
        "python": sys.version.split()[0],
        "floats": [[struct.pack(">d", value).hex(), str(value)] for value in floats],
        "json": [
            [text, json.dumps(json.loads(text)), json.dumps(json.loads(text), ensure_ascii=False, indent=4)]
            for text in documents
        ],
        "tables": [[text, json.dumps(rows(text), ensure_ascii=False)] for text in tables],
        "split": [[text, text.split(), text.strip()] for text in texts],
        "urls": [[text, re.sub(r"http\S+", "", text).strip()] for text in texts],
    },
    sys.stdout,
)
