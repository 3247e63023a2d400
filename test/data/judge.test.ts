import { expect, test } from "vitest";
import type { Example } from "../../data/example.ts";
import { judge } from "../../data/metrics/judge.ts";
import type { Scored } from "../../data/metrics/metric.ts";

function scored(id: string, answer_type: string, truth: string, text: string): Scored {
  const example: Example = {
    id,
    turns: [
      { role: "user", content: `<image>\nquestion ${id}` },
      { role: "assistant", content: truth },
    ],
    images: [],
    audios: [],
    fields: { answer_type },
  };
  return { example, answer: { id, text } };
}

/** Recorded replies by the question they answer, and what was asked. */
function recorded(replies: Readonly<Record<string, string | number | object>>) {
  const asked: { url: string; authorization: string | null; model: string; prompt: string }[] = [];
  const fake = async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const body = JSON.parse(String(init?.body)) as { model: string; messages: { content: string }[] };
    const prompt = body.messages[0]!.content;
    asked.push({
      url: String(url),
      authorization: new Headers(init?.headers).get("authorization"),
      model: body.model,
      prompt,
    });
    const reply = replies[/question (\w+)/.exec(prompt)![1]!]!;
    if (typeof reply === "number") return new Response("no", { status: reply, statusText: "Busy" });
    const content = typeof reply === "string" ? { choices: [{ message: { content: reply } }] } : reply;
    return new Response(JSON.stringify(content));
  };
  return { asked, fetch: fake };
}

const options = { endpoint: "http://127.0.0.1:9/v1/", model: "any" };

test("the score is the share of 1, over all and apart for open and closed questions", async () => {
  const { fetch, asked } = recorded({
    a: "Good enough.\nCorrectness: 1",
    b: "Correctness: 0",
    c: "Correctness: **1**",
  });
  const all = [
    scored("a", "OPEN", "left lung", "the left"),
    scored("b", "OPEN", "x", "y"),
    scored("c", "CLOSED ", "yes", "Yes"),
  ];
  const result = await judge(all, { ...options, apiKey: "key", fetch });
  expect(result).toMatchObject({ overall: 2 / 3, open: 0.5, closed: 1 });
  expect(result.judgements.map((one) => one.id)).toEqual(["a", "b", "c"]);
  expect(asked[0]).toMatchObject({
    url: "http://127.0.0.1:9/v1/chat/completions",
    authorization: "Bearer key",
    model: "any",
  });
  expect(asked[0]!.prompt).toContain("Correct answer: left lung\nPredicted answer: the left\n");
});

test.each([
  ["a reply without a verdict", "well", 'the reply must hold "Correctness: 1"'],
  ["a verdict that is no 0 or 1", "Correctness: 10", 'the reply must hold "Correctness: 1"'],
  ["an endpoint that refuses", 503, "it answered 503 Busy"],
  ["a reply of another shape", { error: "x" }, "holds no choices[0].message.content"],
])("%s ends the judging by name, and scores nothing", async (_, reply, message) => {
  const { fetch } = recorded({ a: reply });
  await expect(judge([scored("a", "OPEN", "x", "y")], { ...options, fetch })).rejects.toMatchObject({
    code: "F2008",
    message: expect.stringContaining(message) as string,
  });
});
