import { describe, expect, test } from "vitest";
import { shapeOf } from "../../../scenarios/replay/benchmark-data.ts";
import type { Setting } from "../../../scenarios/replay/cell.ts";
import { profileNamed } from "../../../scenarios/replay/profiles.ts";
import { csvReport } from "../../../scenarios/replay/report/csv.ts";
import type { ReportFacts } from "../../../scenarios/replay/report/facts.ts";
import { htmlReport } from "../../../scenarios/replay/report/html.ts";
import { markdownReport } from "../../../scenarios/replay/report/markdown.ts";
import { gainsOf, tablesOf } from "../../../scenarios/replay/report/tables.ts";
import type { CellRecord } from "../../../scenarios/replay/result-files.ts";

const missing = { scenario: "missing", level: 0.5 } as const;
const aligned = { scenario: "aligned", level: 0.5 } as const;

interface Given {
  readonly method: string;
  readonly value: number;
  readonly seed?: number;
  readonly setting?: Setting | undefined;
}

/** A finished cell on the meme set with this AUC. */
function finished({ method, value, seed = 0, setting = missing }: Given): CellRecord {
  const metrics = { "auc-hard": value, "recall:hateful": value / 2 };
  return {
    ok: true,
    frozen: "f",
    result: {
      cell: { dataset: "hateful-memes", setting, method, seed },
      metrics,
      curve: [
        { round: 1, metrics: { "auc-hard": value - 5 } },
        { round: 2, metrics },
      ],
      bytesUp: 2 ** 20,
      bytesDown: 2 ** 21,
      seconds: 3,
    },
  };
}

const failed = (method: string, reason: string, seed = 0): CellRecord => ({
  ok: false,
  frozen: "f",
  cell: { dataset: "hateful-memes", setting: missing, method, seed },
  reason,
});

const baseline = (method: string, value: number): CellRecord => {
  const record = finished({ method, value });
  if (!record.ok) throw new TypeError("a finished cell is ok");
  return {
    ...record,
    result: { ...record.result, curve: [], cell: { dataset: "hateful-memes", method, seed: 0 } },
  };
};

const tableOf = (records: readonly CellRecord[]) => tablesOf(records, shapeOf)[0]!;
const entryOf = (records: readonly CellRecord[], method: string, column = "missing-0.5") =>
  tableOf(records)
    .rows.find((row) => row.method.name === method)!
    .entries.get(column);

describe("a table", () => {
  const seeds = [60, 63, 69].map((value, seed) => finished({ method: "fedavg", value, seed }));

  test("has mean and sample deviation over seeds", () => {
    const entry = entryOf(seeds, "fedavg")!;
    expect(entry.mean).toBe(64);
    // ((60-64)² + (63-64)² + (69-64)²) / (3 - 1) = 42 / 2 = 21
    expect(entry.deviation).toBeCloseTo(Math.sqrt(21), 12);
    expect(entry.values).toEqual([60, 63, 69]);
  });

  test("tells no deviation of one seed", () => {
    expect(entryOf([finished({ method: "fedavg", value: 60 })], "fedavg")!.deviation).toBeUndefined();
  });

  test("puts the published number beside the rule that has one", () => {
    const records = [finished({ method: "fedyogi", value: 50 }), finished({ method: "fedavg", value: 50 })];
    expect(entryOf(records, "fedyogi")!.published).toBe(75.12); // Hateful-Memes, missing 0.5
    expect(entryOf(records, "fedavg")!.published).toBeUndefined();
  });

  test("ranks federated methods of a column; ties share the better rank, baselines have none", () => {
    const records = [
      finished({ method: "fedavg", value: 60 }),
      finished({ method: "mean", value: 70 }),
      finished({ method: "fedyogi", value: 60 }),
      finished({ method: "fedadam", value: 50 }),
      finished({ method: "local", value: 99 }),
      finished({ method: "fedavg", value: 10, setting: aligned }),
      finished({ method: "mean", value: 20, setting: aligned }),
    ];
    const ranks = ["mean", "fedavg", "fedyogi", "fedadam", "local"].map(
      (name) => entryOf(records, name)!.rank,
    );
    expect(ranks).toEqual([1, 2, 2, 4, undefined]);
    const { rows } = tableOf(records);
    const meanRank = (name: string) => rows.find(({ method }) => method.name === name)!.meanRank;
    expect(meanRank("mean")).toBe(1);
    expect(meanRank("fedavg")).toBe(2); // second in both columns
    expect(meanRank("local")).toBeUndefined();
  });

  test("keeps the numbers of seeds that finished where another failed", () => {
    const table = tableOf([...seeds.slice(0, 2), failed("fedavg", "no memory", 2)]);
    const [row] = table.rows;
    expect(row!.entries.get("missing-0.5")!.mean).toBe(61.5);
    expect(row!.failures.get("missing-0.5")).toBe("no memory");
  });
});

describe("gains", () => {
  test("are differences seed by seed to the same rule without the strategy", () => {
    const records = [
      ...[60, 62, 70].map((value, seed) => finished({ method: "fedavg", value, seed })),
      ...[61, 66].map((value, seed) => finished({ method: "fedavg+prompt", value, seed })),
      finished({ method: "fedavg-wide", value: 60 }),
      finished({ method: "ownership", value: 58 }), // masks want the encoder's tensors: beside FedAvg that has them
      finished({ method: "fedyogi+both", value: 90 }), // without its plain form there is nothing to compare with
    ];
    const gains = gainsOf(records, shapeOf);
    expect(gains.map(({ method, base, differences }) => [method.name, base.name, differences])).toEqual([
      ["fedavg+prompt", "fedavg", [1, 4]],
      ["ownership", "fedavg-wide", [-2]],
    ]);
    expect(gains[0]!.mean).toBe(2.5);
    expect(gains[0]!.deviation).toBeCloseTo(Math.sqrt(4.5), 12); // (1.5² + 1.5²) / 1
  });

  test("do not mix settings", () => {
    const records = [
      finished({ method: "fedavg", value: 60, setting: aligned }),
      finished({ method: "fedavg+prompt", value: 70 }),
    ];
    expect(gainsOf(records, shapeOf)).toEqual([]);
  });
});

test("the CSV has every number of a cell, and quotes what needs it", () => {
  const record = finished({ method: "fedavg", value: 60 });
  if (!record.ok) throw new TypeError("a finished cell is ok");
  const named = { 'recall:a "b", c': 12, "recall:two\r\nlines": 3 };
  const csv = csvReport([{ ...record, result: { ...record.result, metrics: named } }, failed("mean", "x")]);
  expect(csv).toBe(
    [
      "dataset,setting,method,seed,round,metric,value",
      'hateful-memes,missing-0.5,fedavg,0,,"recall:a ""b"", c",12',
      'hateful-memes,missing-0.5,fedavg,0,,"recall:two\r\nlines",3',
      "hateful-memes,missing-0.5,fedavg,0,,bytes_up,1048576",
      "hateful-memes,missing-0.5,fedavg,0,,bytes_down,2097152",
      "hateful-memes,missing-0.5,fedavg,0,,seconds,3",
      "hateful-memes,missing-0.5,fedavg,0,1,auc-hard,55",
      "hateful-memes,missing-0.5,fedavg,0,2,auc-hard,60",
      "hateful-memes,missing-0.5,fedavg,0,2,recall:hateful,30",
      "",
    ].join("\n"),
  );
});

describe("the written report", () => {
  const records = [
    baseline("zero-shot", 51.25),
    finished({ method: "fedavg", value: 60 }),
    finished({ method: "fedyogi", value: 66.6 }),
    finished({ method: "fedavg+prompt", value: 63 }),
    failed("mean", 'Cannot <script>alert("1")</script>\nof two lines'),
  ];
  const facts: ReportFacts = {
    profile: profileNamed("quick"),
    replayed: { frozen: new Map([["hateful-memes", "0123abcd"]]), records, data: "d" },
    model: "<model>",
    baseModel: "b".repeat(64),
    drawn: true,
    command: "fedloom replay fedmllm --cells 'a&b'",
    jobs: 2,
    threads: 1,
    version: "1.2.3",
  };
  const tables = tablesOf(records, shapeOf);
  const gains = gainsOf(records, shapeOf);
  const html = htmlReport(facts, tables, gains, {
    fairness: [],
    partitions: new Map([["hateful-memes", ["<svg id='drawn'></svg>"]]]),
  });
  const markdown = markdownReport(facts, tables, gains);

  test("HTML needs nothing from anywhere: no script, no file, no address", () => {
    expect(html).not.toMatch(/<script|<link|<img|<iframe|<object|@import|javascript:/i);
    expect(html).not.toMatch(/\b(src|href|srcset|data)\s*=/i);
    expect(html).not.toMatch(/url\(\s*["']?(?!#)/i);
    // A namespace is a name, not an address that is asked.
    expect(html.replaceAll("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|\/\/[a-z]/i);
  });

  test("HTML opens and closes every element once", () => {
    const count = (pattern: RegExp): number => html.match(pattern)?.length ?? 0;
    for (const name of [
      "table",
      "thead",
      "tbody",
      "tr",
      "th",
      "td",
      "svg",
      "details",
      "div",
      "h2",
      "ul",
      "li",
    ]) {
      expect([name, count(new RegExp(`<${name}[\\s>]`, "g"))]).toEqual([
        name,
        count(new RegExp(`</${name}>`, "g")),
      ]);
    }
  });

  test("both show our number beside the published one, the best in bold, and the baseline in every column", () => {
    expect(html).toContain('<td class="best">66.6 <small>[75.1]</small></td>');
    expect(markdown).toContain("| FedYogi | 66.6 [75.1] | 1.0 |");
    expect(markdown).toContain("| Zero-shot | 51.3 |");
    expect(markdown).toContain(
      "| FedAvg, prompt strategy | FedAvg | hateful-memes | missing-0.5 | AUC of the answers | +3.0 | 1 |  |",
    );
  });

  test("both name failed cells with the reason, on one line and as text", () => {
    const line =
      'hateful-memes, missing-0.5, FedAvg, uniform weights: Cannot <script>alert("1")</script> of two lines';
    expect(markdown).toContain(`- ${line}\n`);
    expect(html).toContain("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; of two lines</li>");
    expect(markdown).toContain("Cells: 4 finished, 1 failed.");
  });

  test("both say the frozen section and the command; HTML holds curve and partition picture", () => {
    for (const text of [html, markdown]) expect(text).toContain("0123abcd");
    expect(markdown).toContain("fedloom replay fedmllm --cells 'a&b'");
    expect(html).toContain("--cells 'a&amp;b'");
    expect(html.match(/<polyline/g)).toHaveLength(4); // two rules, and the strategy beside its rule
    expect(html).toContain("<svg id='drawn'></svg>");
  });
});
