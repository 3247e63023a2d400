import { type Metric, mean, refuse, type Scored, truthOf } from "./metric.ts";
import { normalizeVqa } from "./vqa-normalize.ts";

function share(scored: readonly Scored[]): number {
  return mean(
    scored.map(({ example, answer }) =>
      normalizeVqa(answer.text, "strict") === normalizeVqa(truthOf(example), "strict") ? 1 : 0,
    ),
  );
}

/** Questions of one kind by the dataset's field `answer_type`, blanks and case aside ("CLOSED " occurs). */
function ofType(name: string, type: "OPEN" | "CLOSED"): Metric {
  return {
    name,
    meaning: `share of ${type.toLowerCase()} questions answered as the truth after normalization`,
    better: "higher",
    compute(scored) {
      const chosen = scored.filter((one) => one.example.fields?.answer_type?.trim().toUpperCase() === type);
      if (chosen.length === 0) refuse(name, `it wants examples of answer_type ${type}, got none`);
      return share(chosen);
    },
  };
}

export const vqa: Metric = {
  name: "vqa",
  meaning: "share of questions answered as the truth after normalization",
  better: "higher",
  compute: share,
};

export const vqaOpen: Metric = ofType("vqa-open", "OPEN");
export const vqaClosed: Metric = ofType("vqa-closed", "CLOSED");
