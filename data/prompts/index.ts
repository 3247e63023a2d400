/** The templates by name, and examples with fewer modalities or another wording. */
import { FedloomError } from "../../base/errors.ts";
import { type Example, MARK, type Modality, type Turn } from "../example.ts";
import { crisisPrompt, hatefulMemesPrompt, type PromptForm, type Template } from "./multiple-choice.ts";

export const TEMPLATES: readonly Template[] = [hatefulMemesPrompt, crisisPrompt];

/** @throws FedloomError F2005 */
export function templateNamed(name: string): Template {
  const template = TEMPLATES.find((known) => known.name === name);
  if (template !== undefined) return template;
  const known = TEMPLATES.map((one) => one.name).join(", ");
  throw new FedloomError("F2005", `Cannot build the prompt "${name}": known are ${known}`, { name });
}

/**
 * The example as a client that keeps only some modalities has it.
 *
 * With a template the whole user turn is built again. Without one, media go with their marks (and the line break
 * after a mark); dropped text leaves the marks alone in user turns. What the example lacks anyway stays lacking.
 */
export function withKept(
  example: Example,
  keep: readonly Modality[],
  form: PromptForm = "standard",
): Example {
  const kept = { text: keep.includes("text"), image: keep.includes("image"), audio: keep.includes("audio") };
  const images = kept.image ? example.images : [];
  const audios = kept.audio ? example.audios : [];
  if (example.template !== undefined) {
    const { name } = example.template;
    const text = kept.text ? example.template.text : undefined;
    const shown = { text: text !== undefined, image: images.length > 0 };
    const prompt = templateNamed(name).prompt(text ?? "", shown, form);
    const turns = example.turns.map((turn) => (turn.role === "user" ? { ...turn, content: prompt } : turn));
    return { ...example, turns, images, audios, template: { name, ...(text !== undefined && { text }) } };
  }
  if (kept.text && kept.image && kept.audio) return example;
  const turns = example.turns.map((turn) => (turn.role === "user" ? userTurn(turn, kept) : turn));
  return { ...example, turns, images, audios };
}

function userTurn(turn: Turn, kept: Readonly<Record<Modality, boolean>>): Turn {
  let content = turn.content;
  if (!kept.text) content = (content.match(/<image>|<audio>/g) ?? []).join("");
  if (!kept.image) content = content.replaceAll(/<image>\n?/g, "");
  if (!kept.audio) content = content.replaceAll(/<audio>\n?/g, "");
  return { ...turn, content };
}

/** Whether a text holds a medium's mark; a template's text must not, or it would be taken for one. */
export function holdsMark(text: string): boolean {
  return text.includes(MARK.image) || text.includes(MARK.audio);
}
