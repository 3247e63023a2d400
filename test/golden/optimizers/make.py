"""Writes steps.json: what torch's and transformers' optimizers and schedules do in six steps.

Made with Python 3.11, torch 2.15.0 and transformers 5.23.0. Run in this folder: python make.py
"""

import json

import torch
import transformers
from transformers.optimization import Adafactor, get_scheduler

SHAPES = {"matrix": (3, 4), "vector": (5,)}
OPTIMIZERS = {
    "adamw": (dict(weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.99), lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)),
    "sgd": (dict(weight_decay=0.1, momentum=0.8), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8, weight_decay=0.1)),
    "adafactor": (
        dict(weight_decay=0.1),
        lambda p: Adafactor(p, lr=0.01, weight_decay=0.1, scale_parameter=False, relative_step=False, warmup_init=False),
    ),
}
STEPS = 6

torch.manual_seed(5)
start = {name: torch.randn(shape) for name, shape in SHAPES.items()}
gradients = [{name: torch.randn(shape) * 3 for name, shape in SHAPES.items()} for _ in range(STEPS)]
flat = lambda tensors: {name: tensor.flatten().tolist() for name, tensor in tensors.items()}

runs = []
for optim, (options, make) in OPTIMIZERS.items():
    parameters = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in start.items()}
    optimizer = make(list(parameters.values()))
    for step in gradients:
        for name, parameter in parameters.items():
            parameter.grad = step[name].clone()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 4.0)
        optimizer.step()
    runs.append(dict(optim=optim, options=options, final=flat({n: p.detach() for n, p in parameters.items()})))

schedules = []
for kind in ("constant", "constant_with_warmup", "linear", "cosine"):
    for warmup in (0, 3):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=10)
        rates = []
        for _ in range(10):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        schedules.append(dict(kind=kind, warmup=warmup, rates=rates))

with open("steps.json", "w") as file:
    json.dump(
        dict(
            torch=torch.__version__,
            transformers=transformers.__version__,
            shapes={name: list(shape) for name, shape in SHAPES.items()},
            maxGradNorm=4.0,
            start=flat(start),
            gradients=[flat(step) for step in gradients],
            runs=runs,
            schedules=schedules,
        ),
        file,
    )
