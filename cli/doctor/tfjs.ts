/** Which tfjs is there and works, for each device that it may compute on. */
import { duration } from "../units.ts";
import { attempt } from "./attempt.ts";
import type { Check } from "./check.ts";
import type { TfjsAnswer } from "./try-tfjs.ts";

/** The trainer on the processor, and on a GPU where the package for it is installed or was asked for. */
export async function tfjsChecks(): Promise<Check[]> {
  return Promise.all([tfjsCheck("trainer tfjs", "cpu"), tfjsCheck("trainer tfjs cuda", "cuda")]);
}

async function tfjsCheck(name: string, device: "cpu" | "cuda"): Promise<Check> {
  const { answer, end, stderr } = await attempt<TfjsAnswer>("try-tfjs", [device]);
  const check = { name, required: false };
  if (answer?.works === true) {
    const broken = answer.broken.map(
      ({ package: other, reason }) => `; ${other} does not work: ${short(reason)}`,
    );
    const finding = `${answer.name}: ran the shipped vision encoder in ${duration(answer.ms)}${broken.join("")}`;
    return { ...check, ok: true, finding };
  }
  if (answer !== undefined) {
    const { finding, remedy } = answer;
    return { ...check, ok: false, finding: short(finding), ...(remedy !== undefined && { remedy }) };
  }
  const said = stderr.split("\n").find((line) => line.trim() !== "");
  return { ...check, ok: false, finding: short(said ?? end) };
}

const short = (text: string): string => (text.length > 160 ? `${text.slice(0, 160)}...` : text);
