/** The runtime: opens a serialized graph and runs it. The only file of the engine that knows onnxruntime. */
import ort from "onnxruntime-node";
import { type DType, type Tensor, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { FedloomError, messageOf } from "../../../base/errors.ts";
import type { Device, Runtime, Session, SessionOptions } from "../runtime.ts";
import { saveProgram } from "../save.ts";
import { isSettled } from "../settled.ts";

/** What an engine takes where it is told nothing else. */
export const onnxRuntime: Runtime = {
  kernels: (device) => (device === "cpu" ? "all" : "standard"),
  open(program, { opset, ...options }) {
    const passes = options.device === "cpu" && isSettled(program) ? "disabled" : "all";
    return openSession(saveProgram(program, opset), options, passes);
  },
  openModel: openSession,
};

const RUNTIME_TYPES: Partial<Record<DType, ort.Tensor.Type>> = {
  F32: "float32",
  F64: "float64",
  F16: "float16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U64: "uint64",
  U32: "uint32",
  U16: "uint16",
  U8: "uint8",
  BOOL: "bool",
};
const DTYPES = new Map(Object.entries(RUNTIME_TYPES).map(([dtype, type]) => [type, dtype as DType]));

/**
 * @param passes those of the runtime over the graph
 * @throws FedloomError F2115 where the device's provider is missing, F2116 where the runtime refuses the graph
 */
export async function openSession(
  model: Uint8Array,
  options: SessionOptions,
  passes: "all" | "disabled" = "all",
): Promise<Session> {
  let session: ort.InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, {
      executionProviders: options.device === "cpu" ? ["cpu"] : [options.device, "cpu"],
      graphOptimizationLevel: passes,
      executionMode: "sequential",
      enableCpuMemArena: true,
      // A planned arena holds every shape's plan at once: 40 % more memory, no gain in time.
      enableMemPattern: false,
      logSeverityLevel: 3,
      ...(options.threads !== undefined && { intraOpNumThreads: options.threads }),
      extra: {
        session: {
          model_external_initializers_file_folder_path: options.folder,
          disable_prepacking: options.packWeights ? "0" : "1",
        },
      },
    });
  } catch (cause) {
    throw openingFailed(cause, options.device);
  }
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(inputs, outputs = session.outputNames) {
      const feeds = Object.fromEntries([...inputs].map(([name, value]) => [name, toRuntime(name, value)]));
      try {
        const results = await session.run(feeds, outputs);
        return tensorSet(Object.entries(results).map(([name, value]) => [name, fromRuntime(name, value)]));
      } catch (cause) {
        throw new FedloomError("F2116", `Cannot run the graph: ${messageOf(cause)}`, {}, { cause });
      }
    },
    close: () => session.release(),
  };
}

function openingFailed(cause: unknown, device: Device): FedloomError {
  const message = messageOf(cause);
  if (device !== "cpu" && /provider|backend|library|shared|\.so|\.dll/i.test(message))
    return new FedloomError(
      "F2115",
      `Cannot use device "${device}": the runtime cannot load its execution provider (${message}); run "fedloom doctor"`,
      { device },
      { cause },
    );
  return new FedloomError("F2116", `Cannot open the graph: ${message}`, {}, { cause });
}

function toRuntime(name: string, value: Tensor): ort.Tensor {
  const type = RUNTIME_TYPES[value.dtype];
  if (type === undefined)
    throw new FedloomError("F2114", `Cannot use input "${name}": the runtime takes no ${value.dtype}`);
  const given = new ort.Tensor(type, value.data as ort.Tensor.DataTypeMap["float32"], value.shape);
  // Where Node has Float16Array the library holds the data as one, of which its binding reads no element.
  if (value.dtype === "F16") Object.defineProperty(given, "data", { value: value.data });
  return given;
}

function fromRuntime(name: string, value: ort.Tensor): Tensor {
  const dtype = DTYPES.get(value.type);
  if (dtype === undefined)
    throw new FedloomError("F2116", `Cannot read output "${name}": its type is ${value.type}`);
  // The runtime pairs types and arrays as RUNTIME_TYPES does, but for the Float16Array of newer Nodes.
  const data = value.data as Tensor["data"] | Float16Array;
  if (!(data instanceof Float16Array)) return tensor(dtype, value.dims, data);
  return tensor(dtype, value.dims, new Uint16Array(data.buffer, data.byteOffset, data.length));
}
