/** A program in the order that it is run in: which kernel, what it reads, and what nobody reads after it. */
import { FedloomError } from "../../base/errors.ts";
import type { Operation, Program, Value } from "../onnx/program.ts";
import { KERNELS } from "./kernels/index.ts";
import type { Kernel } from "./kernels/kernel.ts";
import { tfType } from "./types.ts";

const KERNEL_OF = new Map(KERNELS.map((kernel) => [`${kernel.domain ?? ""}::${kernel.op}`, kernel]));

export interface Step {
  readonly call: Operation;
  readonly kernel: Kernel;
  /** By position; undefined where the node has none or its numbers are read from the program. */
  readonly inputs: readonly (Value | undefined)[];
  /** Values that are freed once the step ran: read for the last time, or made for nobody. */
  readonly last: readonly Value[];
}

export interface RunPlan {
  readonly steps: readonly Step[];
  /** Constants that steps or outputs read. */
  readonly constants: ReadonlySet<Value>;
  /** Inputs of the program that steps or outputs read. */
  readonly inputs: ReadonlySet<Value>;
}

/** @throws FedloomError F2111 naming the first operator, its node and why, where tfjs does not compute one */
export function planRun({ operations, outputs }: Program): RunPlan {
  const calls = operations.map((call) => {
    const kernel = kernelOf(call);
    const inputs = call.inputs.map((value, i) => (kernel.stated?.includes(i) ? undefined : value));
    for (const value of [...inputs, ...call.outputs])
      if (value !== undefined && tfType(value.type) === undefined)
        throw refused(call, `${value.type} is not computed with`);
    return { call, kernel, inputs };
  });
  const kept = new Set(outputs.values());
  const read = new Set<Value>(kept);
  const steps = calls
    .toReversed()
    .map(({ call, kernel, inputs }): Step => {
      const fresh = new Set(
        [...inputs, ...call.outputs].filter((value) => value !== undefined && !read.has(value)),
      );
      for (const value of fresh) read.add(value!);
      return {
        call,
        kernel,
        inputs,
        last: [...fresh].filter((value) => value!.weight === undefined) as Value[],
      };
    })
    .reverse();
  const all = [...read];
  return {
    steps,
    constants: new Set(all.filter(({ weight }) => weight !== undefined)),
    inputs: new Set(all.filter(({ input }) => input)),
  };
}

function kernelOf(call: Operation): Kernel {
  const kernel = KERNEL_OF.get(`${call.domain}::${call.op}`);
  if (kernel === undefined) throw refused(call, "it is not known there");
  const reason = kernel.refuses?.(call);
  if (reason !== undefined) throw refused(call, reason);
  return kernel;
}

function refused(call: Operation, reason: string): FedloomError {
  const operator = call.domain === "" ? call.op : `${call.domain}.${call.op}`;
  return new FedloomError(
    "F2111",
    `Cannot run operator ${operator} of node "${call.name}" with tfjs: ${reason}; "--trainer onnx" may run it`,
    { operator, node: call.name },
  );
}
