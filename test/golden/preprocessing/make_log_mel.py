"""Writes log-mel.json: what transformers' WhisperFeatureExtractor makes of a made-up chirp.

Sound: x[i] = 0.5 sin(2 pi (200 t + 1500 t^2)) + 0.05 sin(2 pi 3100 t), t = i / rate, of the seconds given; features are
[feature_size, frames] flat, rounded to six digits. Made with Python 3.11, transformers 5.24.0, torch 2.15.0 and
numpy 2.4.6. Run in this folder.
"""

import json

import numpy as np
from transformers import WhisperFeatureExtractor

CASES = [
    (dict(feature_size=16, sampling_rate=16000, hop_length=160, n_fft=400, chunk_length=1), 0.6),
    (dict(feature_size=10, sampling_rate=8000, hop_length=100, n_fft=256, chunk_length=1, padding_value=0.01), 0.9),
]

out = []
for config, seconds in CASES:
    rate = config["sampling_rate"]
    t = np.arange(int(seconds * rate)) / rate
    sound = 0.5 * np.sin(2 * np.pi * (200 * t + 1500 * t * t)) + 0.05 * np.sin(2 * np.pi * 3100 * t)
    extractor = WhisperFeatureExtractor(**config)
    features = extractor(sound.astype(np.float32), sampling_rate=rate, return_tensors="np").input_features[0]
    out.append(
        dict(
            config=dict(config, feature_extractor_type="WhisperFeatureExtractor"),
            seconds=seconds,
            shape=list(features.shape),
            features=[round(float(v), 6) for v in features.reshape(-1)],
        )
    )
with open("log-mel.json", "w") as file:
    json.dump(out, file)
    file.write("\n")
