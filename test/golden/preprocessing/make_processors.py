"""Writes processors.json: what transformers' image processors make of small random pictures.

Pixel values are recorded as SHA-256 of their float32 bytes, channels first: they must be equal to the bit.
Made with Python 3.11, transformers 5.23.0, pillow 11.1.0 and numpy 2.4.6. Run in this folder.
"""

import base64
import hashlib
import json

import numpy as np
import transformers
from PIL import Image

HALF = [0.5, 0.5, 0.5]
PROCESSORS = [
    ("SmolVLM", dict(size={"longest_edge": 96}, max_image_size={"longest_edge": 32}, do_image_splitting=True)),
    ("Idefics3", dict(size={"longest_edge": 128}, max_image_size={"longest_edge": 64}, do_image_splitting=True)),
    ("Idefics3", dict(size={"longest_edge": 96}, max_image_size={"longest_edge": 48}, do_image_splitting=False)),
    ("Idefics2", dict(size={"shortest_edge": 20, "longest_edge": 50}, do_image_splitting=False)),
    ("CLIP", dict(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})),
    ("CLIP", dict(size={"shortest_edge": 20}, crop_size={"height": 24, "width": 24}, resample=2)),
    ("Siglip", dict(size={"height": 28, "width": 28})),
    ("ViT", dict(size={"height": 28, "width": 28}, image_mean=HALF, image_std=HALF)),
    ("DeiT", dict(size={"height": 32, "width": 32}, crop_size={"height": 28, "width": 28})),
    ("Blip", dict(size={"height": 28, "width": 28})),
]
SIZES = [(100, 60), (37, 90), (64, 64), (20, 11), (30, 61)]

random = np.random.RandomState(3)
pictures = [random.randint(0, 256, (height, width, 3)).astype(np.uint8) for width, height in SIZES]
cases = []
for name, settings in PROCESSORS:
    processor = getattr(transformers, f"{name}ImageProcessorPil")(**settings)
    nested = name.startswith(("SmolVLM", "Idefics"))
    more = dict(return_row_col_info=True) if name in ("SmolVLM", "Idefics3") else {}
    results = []
    for picture in pictures:
        image = Image.fromarray(picture)
        out = processor([[image]] if nested else image, return_tensors="np", **more)
        pixels = np.ascontiguousarray(out["pixel_values"], dtype=np.float32)
        pixels = pixels.reshape(-1, *pixels.shape[-3:])
        grid = [int(np.ravel(out[key])[0]) if key in out else 0 for key in ("rows", "cols")]
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        results.append(dict(shape=list(pixels.shape), rows=grid[0], columns=grid[1], sha256=digest))
    config = dict(image_processor_type=f"{name}ImageProcessor", **settings)
    cases.append(dict(config=config, results=results))
with open("processors.json", "w") as file:
    encoded = [
        dict(width=w, height=h, data=base64.b64encode(p.tobytes()).decode()) for (w, h), p in zip(SIZES, pictures)
    ]
    json.dump(dict(transformers=transformers.__version__, pictures=encoded, cases=cases), file)
