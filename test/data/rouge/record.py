"""Records what the package rouge_score says about seeded pairs of answers.

    python record.py > scores.json
"""
import json
import random
import sys
from importlib.metadata import version

from rouge_score.rouge_scorer import RougeScorer

rng = random.Random(3)
words = "the left lung shows a small mass, no effusion. T2-weighted X-ray 3.5cm naïve yes".split()
pairs = [(" ".join(rng.choices(words, k=rng.randrange(12))), " ".join(rng.choices(words, k=rng.randrange(12)))) for _ in range(200)]
scorer = RougeScorer(["rougeL"], use_stemmer=False)
scores = [[truth, answer, scorer.score(truth, answer)["rougeL"].fmeasure] for truth, answer in pairs]
json.dump({"versions": {"python": sys.version.split()[0], "rouge-score": version("rouge-score")}, "pairs": scores}, sys.stdout)
