"""A training command for fedloom that trains LoRA on text models with PyTorch and PEFT.

    fedloom client ... --trainer command --command "python examples/pytorch/train.py"

It finds its task in the folder that FEDLOOM_TASK names and leaves its results in that folder's output/
(docs/command-trainer.md). The model directory has to hold PyTorch weights beside the ONNX graphs.
Wants: torch, transformers, peft.
"""

import json
import os
import pathlib
import random
import re
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, get_scheduler

FOLDER = pathlib.Path(os.environ["FEDLOOM_TASK"])
OUTPUT = FOLDER / "output"
NO_LABEL = -100


def main():
    task = json.loads((FOLDER / "task.json").read_text())
    if task["version"] != 1:
        sys.exit(f"task.json has version {task['version']}, this command knows version 1")
    random.seed(task.get("seed", ""))
    torch.manual_seed(random.getrandbits(63))
    {"adapter": make_adapter, "train": train, "predict": predict}[task["kind"]](task)


def make_adapter(task):
    wanted = task["adapter_config"]
    model = get_peft_model(base(task), LoraConfig(task_type="CAUSAL_LM", **wanted))
    model.save_pretrained(OUTPUT / "adapter")


def train(task):
    for name in ("regularizers", "extras", "measure", "corrections", "optimizer"):
        if task.get(name):
            sys.exit(f'the strategy asks for "{name}", which this command does not do')
    options = task["options"]
    if options["optim"] != "adamw":
        sys.exit(f'this command trains with adamw, not with {options["optim"]}')
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    model = PeftModel.from_pretrained(base(task), FOLDER / task["adapter"], is_trainable=True)
    model.train()
    for name, parameter in model.named_parameters():
        if task.get("frozen") and re.search(task["frozen"], name.replace(".default", "")):
            parameter.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    handed_out = [p.detach().clone() for p in parameters]
    rows = [encode(tokenizer, example, options["max_length"]) for example in examples(task)]

    per_step = options["per_device_train_batch_size"] * options["gradient_accumulation_steps"]
    per_epoch = -(-len(rows) // per_step)
    steps = options["max_steps"] if options["max_steps"] > 0 else -int(-options["num_train_epochs"] * per_epoch // 1)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=options["learning_rate"],
        betas=(options["adam_beta1"], options["adam_beta2"]),
        eps=options["adam_epsilon"],
        weight_decay=options["weight_decay"],
    )
    warmup = options["warmup_steps"] or -int(-steps * options["warmup_ratio"] // 1)
    scheduler = get_scheduler(options["lr_scheduler_type"], optimizer, warmup, steps)
    losses, labels, rates, order = [], [], [], []
    for step in range(steps):
        if not order:
            order = random.sample(rows, len(rows))
        batch, order = order[:per_step], order[per_step:]
        labelled = sum(sum(label != NO_LABEL for label in row["labels"]) for row in batch)
        total = 0.0
        size = options["per_device_train_batch_size"]
        for start in range(0, len(batch), size):
            inputs = padded(batch[start : start + size], tokenizer.pad_token_id or 0, model.device)
            targets = inputs.pop("labels")[:, 1:]
            logits = model(**inputs).logits[:, :-1]
            # The mean over all labels of the step, not a mean of means.
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=NO_LABEL, reduction="sum"
            )
            (loss / labelled).backward()
            total += loss.item()
        add_proximal(model, parameters, handed_out, task.get("proximal"))
        if options["max_grad_norm"] > 0:
            torch.nn.utils.clip_grad_norm_(parameters, options["max_grad_norm"])
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(total / labelled)
        labels.append(labelled)
        report = dict(step=step + 1, steps=steps, epoch=(step + 1) / per_epoch, loss=losses[-1], learning_rate=rates[-1])
        print(json.dumps(report), flush=True)
    model.save_pretrained(OUTPUT / "adapter")
    result = dict(
        steps=steps,
        tokens=sum(labels),
        loss=sum(loss * count for loss, count in zip(losses, labels)) / sum(labels),
        loss_first=losses[0],
        loss_last=losses[-1],
        learning_rate_mean=sum(rates) / steps,
    )
    (OUTPUT / "result.json").write_text(json.dumps(result))


def add_proximal(model, parameters, handed_out, proximal):
    """Adds weight * mu * (w - w_handed_out) to the gradients of the layers in the range."""
    if proximal is None:
        return
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for name, parameter, start in zip(names, parameters, handed_out):
        layer = re.search(r"\.(\d+)\.", name)
        first, last = proximal.get("layers") or (None, None)
        inside = first is None or (layer is not None and first <= int(layer[1]) <= last)
        if inside and parameter.grad is not None:
            parameter.grad += proximal["mu"] * proximal["weight"] * (parameter.detach() - start)


@torch.no_grad()
def predict(task):
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    model = base(task)
    if task["adapter"] is not None:
        model = PeftModel.from_pretrained(model, FOLDER / task["adapter"])
    model.eval()

    def likelihood(row):
        inputs = padded([row], tokenizer.pad_token_id or 0, model.device)
        targets = inputs.pop("labels")[0, 1:]
        scores = torch.log_softmax(model(**inputs).logits[0, :-1].float(), dim=-1)
        kept = targets != NO_LABEL
        return scores[kept, targets[kept]].sum().item(), int(kept.sum())

    with open(OUTPUT / "predictions.jsonl", "w") as file:
        for example in examples(task):
            line = dict(id=example["id"])
            if example.get("options"):
                scores = []
                for option in example["options"]:
                    score, tokens = likelihood(encode(tokenizer, example, answer=option))
                    scores.append(score if task["option_score"] == "sum" else score / tokens)
                line.update(option_scores=scores, text=example["options"][scores.index(max(scores))])
            else:
                prompt = torch.tensor([prompt_ids(tokenizer, example)], device=model.device)
                said = model.generate(input_ids=prompt, max_new_tokens=task["max_new_tokens"], do_sample=False)
                line["text"] = tokenizer.decode(said[0, prompt.shape[1] :], skip_special_tokens=True).strip()
            if task["loss"] and example["messages"][-1]["role"] == "assistant":
                score, tokens = likelihood(encode(tokenizer, example))
                line.update(loss=-score / tokens, tokens=tokens)
            file.write(json.dumps(line) + "\n")


def base(task):
    model = AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    return model.to("cuda" if task["device"] == "cuda" else "cpu")


def examples(task):
    for line in open(FOLDER / task["examples"]):
        example = json.loads(line)
        if example["images"] or example["audios"]:
            sys.exit(f'example "{example["id"]}" has media; this command trains text models')
        yield example


def prompt_ids(tokenizer, example):
    turns = example["messages"]
    asked = turns[:-1] if turns[-1]["role"] == "assistant" else turns
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encode(tokenizer, example, max_length=None, answer=None):
    """Token ids of the conversation, and labels on the answer and its end token."""
    turns = example["messages"]
    answer = turns[-1]["content"] if answer is None else answer
    asked = turns[:-1] if turns[-1]["role"] == "assistant" else turns
    text = tokenizer.apply_chat_template([*asked, dict(role="assistant", content=answer)], tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    prompt = prompt_ids(tokenizer, example)
    start = next((i for i, pair in enumerate(zip(ids, prompt)) if pair[0] != pair[1]), min(len(ids), len(prompt)))
    special = set(tokenizer.all_special_ids)
    end = next((i + 1 for i in reversed(range(start, len(ids))) if ids[i] in special), len(ids))
    if max_length is not None and end > max_length:
        sys.exit(f'example "{example["id"]}" has {end} tokens, at most {max_length} are allowed')
    return dict(input_ids=ids[:end], labels=[NO_LABEL] * start + ids[start:end])


def padded(rows, pad_id, device):
    length = max(len(row["input_ids"]) for row in rows)
    pad = lambda values, filler: values + [filler] * (length - len(values))
    return {
        "input_ids": torch.tensor([pad(row["input_ids"], pad_id) for row in rows], device=device),
        "attention_mask": torch.tensor([pad([1] * len(row["input_ids"]), 0) for row in rows], device=device),
        "labels": torch.tensor([pad(row["labels"], NO_LABEL) for row in rows], device=device),
    }


if __name__ == "__main__":
    main()
