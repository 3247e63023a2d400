/**
 * Which module of a graph a path of an adapter means. Exporters drop wrapper modules from node names, and
 * the Python library renamed modules between releases, so paths are compared in a common form: the part
 * from the numbered layer on, with one word for each role.
 */
import type { LinearModule } from "../engine.ts";

/** Words of old and new releases for the same module, on the part behind the layer's number. */
const ROLES: readonly (readonly [RegExp, string])[] = [
  [
    /^(?:self_attn|self_attention|attention\.attention|attention\.self|attention|attn)\.(?:q_proj|query|q)$/,
    "q",
  ],
  [
    /^(?:self_attn|self_attention|attention\.attention|attention\.self|attention|attn)\.(?:k_proj|key|k)$/,
    "k",
  ],
  [
    /^(?:self_attn|self_attention|attention\.attention|attention\.self|attention|attn)\.(?:v_proj|value|v)$/,
    "v",
  ],
  [
    /^(?:self_attn|self_attention|attention|attn)\.(?:o_proj|out_proj|dense|output\.dense|proj|c_proj|wo)$/,
    "o",
  ],
  [/^(?:mlp\.fc1|intermediate\.dense|fc1|mlp\.dense_h_to_4h|mlp\.c_fc)$/, "fc1"],
  [/^(?:mlp\.fc2|output\.dense|fc2|mlp\.dense_4h_to_h|mlp\.c_proj)$/, "fc2"],
  [/^(?:mlp|feed_forward)\.(gate_proj|up_proj|down_proj)$/, "$1"],
];

const LAYER = /(?:^|\.)(?:encoder\.|decoder\.)?(?:layers|layer|blocks|block|h)\.(\d+)\.(.+)$/;
const ENCODER_WORDS = /vision|visual|image|audio|speech|connector|projector|tower/;
const TEXT_ROOTS = new Set(["model", "language_model", "text_model", "lm_head", "transformer"]);

/** Layer and role, or the whole path where there is no numbered layer. */
export function canonicalPath(path: string): string {
  const layer = LAYER.exec(path);
  if (layer === null) return path;
  let rest = layer[2]!;
  for (const [pattern, role] of ROLES) {
    if (!pattern.test(rest)) continue;
    rest = rest.replace(pattern, role);
    break;
  }
  return `layers.${layer[1]}.${rest}`;
}

/** Whether an adapter's path can belong to this kind of graph at all: q_proj of layer 0 is in every tower. */
export function belongsTo(path: string, isEncoder: boolean): boolean {
  if (ENCODER_WORDS.test(path)) return isEncoder;
  return !isEncoder || !TEXT_ROOTS.has(path.split(".")[0]!);
}

/** The module that `path` means, or undefined. Exact names win, then the common form. */
export function matchModule(
  path: string,
  modules: readonly LinearModule[],
  isEncoder: boolean,
): LinearModule | undefined {
  const exact = modules.find((module) => module.path === path);
  if (exact !== undefined) return exact;
  if (!belongsTo(path, isEncoder)) return undefined;
  return closest(path, modules) ?? closest(path, packedWholes(modules));
}

/** An adapter of a model that has the packed projection itself, such as Phi-3, has one pair for all of it. */
function packedWholes(modules: readonly LinearModule[]): readonly LinearModule[] {
  return modules.flatMap(({ packed, columns, ...rest }): LinearModule[] =>
    packed !== undefined && columns?.[0] === 0 ? [{ ...rest, path: packed, out: rest.nodeOut }] : [],
  );
}

function closest(path: string, modules: readonly LinearModule[]): LinearModule | undefined {
  const wanted = canonicalPath(path);
  const isLayer = wanted !== path;
  const matches = modules.filter((module) => {
    const own = canonicalPath(module.path);
    if (own === wanted) return true;
    return !isLayer && own === module.path && (isSuffix(own, wanted) || isSuffix(wanted, own));
  });
  // Several towers in one graph: the one with the longest common end is meant.
  return matches.sort((a, b) => commonEnd(b.path, path) - commonEnd(a.path, path))[0];
}

function isSuffix(short: string, long: string): boolean {
  return long === short || long.endsWith(`.${short}`);
}

function commonEnd(a: string, b: string): number {
  const [x, y] = [a.split(".").reverse(), b.split(".").reverse()];
  const different = x.findIndex((part, i) => part !== y[i]);
  return different < 0 ? x.length : different;
}
