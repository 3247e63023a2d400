"""Writes resize.json: what Pillow's resize makes of small random pictures, every filter, larger and smaller.

Made with Python 3, pillow 11.1.0 and numpy 2.4.6. Run in this folder: python make.py
"""

import base64
import json

import numpy as np
import PIL
from PIL import Image

SIZES = [((13, 9), [(8, 8), (32, 20), (13, 20), (30, 3)]), ((40, 31), [(16, 16), (7, 50)])]

random = np.random.RandomState(7)
encode = lambda array: base64.b64encode(array.tobytes()).decode()
cases = []
for (width, height), targets in SIZES:
    source = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
    results = []
    for to_width, to_height in targets:
        for resample in range(6):
            resized = np.asarray(Image.fromarray(source).resize((to_width, to_height), resample))
            results.append(dict(width=to_width, height=to_height, resample=resample, data=encode(resized)))
    cases.append(dict(width=width, height=height, data=encode(source), results=results))
with open("resize.json", "w") as file:
    json.dump(dict(pillow=PIL.__version__, cases=cases), file)
