/**
 * The benchmark's multiple-choice prompts: what is kept of an example decides which lines stand there and
 * what the instruction and the question say they are based on.
 *
 * The modality-agnostic form says ", without considering the modality" in both places, always; it is the paper's
 * prompt strategy, so that a client without pictures trains on the same words as one with them.
 *
 * Source: FedMLLM, https://arxiv.org/abs/2411.14717, §4 and its data_gen scripts
 */

export interface Kept {
  readonly text: boolean;
  readonly image: boolean;
}

export const PROMPT_FORMS = ["standard", "modality-agnostic"] as const;
export type PromptForm = (typeof PROMPT_FORMS)[number];

export interface Template {
  readonly name: string;
  /** Answers in full, "(A) not-hateful"; the class is the index. */
  readonly options: readonly string[];
  /** The user turn, with the mark "<image>" on its own line first where the picture is kept. */
  prompt(text: string, kept: Kept, form: PromptForm): string;
}

const AGNOSTIC = ", without considering the modality";

const basedOn = (kept: Kept, both: string): string => {
  if (kept.text && kept.image) return ` based on the ${both}`;
  if (kept.text) return " based on the text";
  return kept.image ? " based on the image" : "";
};

/** "(A) name", "(B) name", ... */
export function lettered(names: readonly string[]): string[] {
  return names.map((name, index) => `(${String.fromCharCode(65 + index)}) ${name}`);
}

function multipleChoice(definition: {
  name: string;
  question: string;
  classes: readonly string[];
  /** How the question says that it rests on both; the instruction says "text and image". */
  bothInQuestion: string;
}): Template {
  const options = lettered(definition.classes);
  return {
    name: definition.name,
    options,
    prompt(text, kept, form) {
      const above = form === "standard" ? basedOn(kept, "text and image") : AGNOSTIC;
      const asked = form === "standard" ? basedOn(kept, definition.bothInQuestion) : AGNOSTIC;
      return [
        ...(kept.image ? ["<image>"] : []),
        `Select the best answer to the following multiple-choice question${above}.`,
        ...(kept.text ? [text] : []),
        `${definition.question}${asked}?`,
        "Options:",
        ...options,
        "Answer with the option's letter from the given choices directly and only give the best option. The best answer is: ",
      ].join("\n");
    },
  };
}

export const hatefulMemesPrompt = multipleChoice({
  name: "hateful-memes",
  question: "Is the content hateful",
  classes: ["not-hateful", "hateful"],
  bothInQuestion: "text and image",
});

export const CRISIS_CLASSES = [
  "affected_individuals",
  "infrastructure_and_utility_damage",
  "injured_or_dead_people",
  "missing_or_found_people",
  "rescue_volunteering_or_donation_effort",
  "vehicle_damage",
  "other_relevant_information",
  "not_humanitarian",
] as const;

export const crisisPrompt = multipleChoice({
  name: "crisis-mmd",
  question: "What is the humanitarian category",
  classes: CRISIS_CLASSES,
  // The published scripts turn the words round here.
  bothInQuestion: "image and text",
});
