/** The README.md of an adapter's directory: what hubs and people read. */
import type { Adapter } from "./adapter.ts";
import { sizeOf } from "./tensor.ts";

export interface CardFacts {
  /** One paragraph each, in the order given. */
  readonly paragraphs?: readonly string[];
  /** Numbers worth a line: {"rounds": "8", "clients": "4"}. */
  readonly table?: Readonly<Record<string, string>>;
}

/** The head is YAML as the hub wants it: https://huggingface.co/docs/hub/model-cards */
export function modelCard({ config, tensors }: Adapter, { paragraphs = [], table = {} }: CardFacts): string {
  let parameters = 0;
  for (const tensor of tensors.values()) parameters += sizeOf(tensor.shape);
  const rows = {
    rank: String(config.rank),
    alpha: String(config.alpha),
    parameters: String(parameters),
    ...table,
  };
  const head = [
    ...(config.baseName === undefined ? [] : [`base_model: ${JSON.stringify(config.baseName)}`]),
    "library_name: peft",
    "tags:",
    "- lora",
    "- federated-learning",
    "- fedloom",
  ];
  return [
    "---",
    ...head,
    "---",
    "",
    "# LoRA adapter",
    "",
    ...(paragraphs.length > 0 ? paragraphs : ["Made by fedloom."]).flatMap((paragraph) => [paragraph, ""]),
    "| | |",
    "|---|---|",
    ...Object.entries(rows).map(([name, value]) => `| ${name} | ${value.replaceAll("|", "\\|")} |`),
    "",
  ].join("\n");
}
