/** The body of a request, checked against its schema. */
import type { Context } from "hono";
import type { z } from "zod";
import { FedloomError } from "../../base/errors.ts";

/** @throws FedloomError F4018 with every problem of the body */
export async function bodyOf<Schema extends z.ZodType>(
  context: Context,
  schema: Schema,
): Promise<z.output<Schema>> {
  const text = await context.req.text();
  let json: unknown;
  try {
    json = text === "" ? {} : JSON.parse(text);
  } catch (cause) {
    throw new FedloomError("F4018", `Cannot read the request: its body is no JSON`, {}, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `"${path.join(".")}": ${message}`);
  throw new FedloomError("F4018", `Cannot read the request: ${problems.join("; ")}`, { problems });
}
