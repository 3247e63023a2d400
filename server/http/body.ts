/** The body of a request, checked against its schema. */
import type { Context } from "hono";
import type { z } from "zod";
import { problemsOf } from "../../base/config-problems.ts";
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
  const problems = problemsOf(parsed.error.issues, { data: json, where: () => "" }, schema, []);
  throw new FedloomError("F4018", `Cannot read the request: ${problems.join("; ")}`, { problems });
}
