"""One LoRA step of PyTorch + PEFT per line of standard input, timed: the other side of `npm run bench -- train`.

Arguments: a JSON object with the decoder's shape, batch, length, labels per example, threads.
Prints {"ready": true}, then for each line {"wall": s, "cpu": s, "rss": MiB}.
"""
import json
import os
import resource
import sys
import time

spec = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(spec["threads"])
os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(spec["threads"])
torch.manual_seed(0)
shape = spec["shape"]
config = LlamaConfig(
    vocab_size=shape["vocabulary"],
    hidden_size=shape["hidden"],
    intermediate_size=shape["ffn"],
    num_hidden_layers=shape["layers"],
    num_attention_heads=shape["heads"],
    num_key_value_heads=shape["keyHeads"],
    head_dim=shape["headSize"],
    max_position_embeddings=8192,
    tie_word_embeddings=False,
)
config._attn_implementation = "sdpa"
model = LlamaForCausalLM(config).eval()
targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
ids = torch.randint(0, shape["vocabulary"], (spec["batch"], spec["length"]))
mask = torch.zeros_like(ids)
labels = torch.full_like(ids, -100)
for row, length in enumerate(spec["lengths"]):
    mask[row, :length] = 1
    labels[row, length - min(spec["labels"], length - 1) : length] = ids[row, length - min(spec["labels"], length - 1) : length]
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "rss": rss}), flush=True)
