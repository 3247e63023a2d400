/**
 * What a linear layer does in its block, read from its path behind the block's number. Libraries have many words for
 * the same role and renamed modules between releases ("attention.self.query", "attention.q_proj", "attn.Wq").
 *
 * A name may leave open what it means: "up_proj" is the first matrix of a perceptron with a gate or without one. So
 * a path has a list of roles, the likeliest first.
 */

const ATTENTION = /attn|attention/i;
/** Attention over another sequence has the same words, but is not the block's own. */
const CROSS = /cross|encdec|enc_dec|encoder_attn|encoder_attention/i;
/** The perceptrons of experts and other numbered parts are told apart by their number, not by a role. */
const NUMBERED = /(?:^|\.)\d+\./;

const IN_ATTENTION: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^(q|query|wq|w_q|to_q|q_(proj|lin|linear)|(query|linear)_(proj|q))$/i, ["q"]],
  [/^(k|key|wk|w_k|to_k|k_(proj|lin|linear)|(key|linear)_(proj|k))$/i, ["k"]],
  [/^(v|value|wv|w_v|to_v|v_(proj|lin|linear)|(value|linear)_(proj|v))$/i, ["v"]],
  [/^(qkv|qkv_proj|query_key_value|c_attn|in_proj|wqkv|w_pack|to_qkv|qkv_linear)$/i, ["qkv"]],
  [
    /^(o|wo|w_o|o_proj|out_proj|out_lin|dense|proj|c_proj|to_out|attn_out|linear_out|projection_layer|output_proj)$/i,
    ["o"],
  ],
];

const IN_PERCEPTRON: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^(gate|gate_proj|wi_0)$/i, ["gate"]],
  [/^w1$/i, ["gate", "fc1"]],
  [/^(up_proj|wi_1)$/i, ["up", "fc1"]],
  [/^w3$/i, ["up"]],
  [/^(down_proj|w2|wo)$/i, ["down", "fc2"]],
  [/^(gate_up_proj|wi|w12)$/i, ["gate_up", "fc1"]],
  [
    /^(fc1|fc_in|c_fc|lin1|linear1|linear_fc1|linear_1|pwconv1|dense_h_to_4h|intermediate_dense|intermediate\.dense)$/i,
    ["fc1", "gate_up"],
  ],
  [
    /^(fc2|fc_out|c_proj|lin2|linear2|linear_fc2|linear_2|pwconv2|dense_4h_to_h|output_dense|output\.dense)$/i,
    ["fc2", "down"],
  ],
];

/** Roles of "self_attn.q_proj" or "output.dense"; of a path that none fits, the path itself. */
export function rolesOf(rest: string): readonly string[] {
  if (CROSS.test(rest) || NUMBERED.test(rest)) return [rest];
  const parts = rest.split(".");
  const leaf = parts.at(-1)!;
  const isAttention = ATTENTION.test(rest);
  const words = isAttention ? IN_ATTENTION : IN_PERCEPTRON;
  for (const [pattern, roles] of words)
    if (pattern.test(leaf) || (!isAttention && pattern.test(parts.slice(-2).join(".")))) return roles;
  return [rest];
}

/** Layers that give the output: PEFT's "all-linear" leaves them out. */
export const HEADS = /(^|\.)(lm_head|classifier|score|embed_out|head)$/;
