/** Training options under the names that users know from Hugging Face's TrainingArguments. */
import { z } from "zod";

export const trainingOptions = z.strictObject({
  learning_rate: z.number().positive().default(2e-4),
  lr_scheduler_type: z.enum(["constant", "constant_with_warmup", "linear", "cosine"]).default("constant"),
  /** Share of the steps over which the learning rate rises from 0; `warmup_steps` wins where it is not 0. */
  warmup_ratio: z.number().min(0).max(1).default(0),
  warmup_steps: z.int().min(0).default(0),
  num_train_epochs: z.number().positive().default(1),
  /** Optimizer steps; wins over num_train_epochs where it is positive. */
  max_steps: z.int().default(-1),
  per_device_train_batch_size: z.int().positive().default(8),
  gradient_accumulation_steps: z.int().positive().default(1),
  /** Global norm that gradients are clipped to; 0 switches clipping off. */
  max_grad_norm: z.number().min(0).default(1),
  optim: z.enum(["adamw", "sgd", "adafactor"]).default("adamw"),
  weight_decay: z.number().min(0).default(0),
  adam_beta1: z.number().min(0).lt(1).default(0.9),
  adam_beta2: z.number().min(0).lt(1).default(0.999),
  adam_epsilon: z.number().positive().default(1e-8),
  momentum: z.number().min(0).lt(1).default(0),
  /** Goes on with the optimizer's state of the client's last task in the run; else every task starts afresh. */
  keep_optimizer_state: z.boolean().default(false),
  /** Computes activations again on the way back instead of keeping them: less memory, more time, the same result. */
  gradient_checkpointing: z.boolean().default(false),
  /** Longest example in tokens; a longer one is refused. */
  max_length: z.int().positive().default(1024),
});

export type TrainingOptions = z.output<typeof trainingOptions>;
