/** docs/errors.md from the table of codes. */
import { ERROR_CODES, type ErrorCode } from "../base/errors.ts";

const FAMILIES: readonly (readonly [prefix: string, title: string])[] = [
  ["F1", "Configuration and command line"],
  ["F2", "Data, models and training"],
  ["F3", "Adapters and aggregation"],
  ["F4", "Coordinator and store"],
  ["F5", "Wire and client nodes"],
  ["F6", "Scenarios, partitions and replays"],
];

export function errorsPage(): string {
  const codes: [string, ErrorCode][] = Object.entries(ERROR_CODES);
  const sections = FAMILIES.map(([prefix, title]) => {
    const rows = codes
      .filter(([code]) => code.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(
        ([code, entry]) =>
          `### ${code}\n\n${entry.meaning}\n\n- Status: \`${entry.status}\`\n- Remedy: ${entry.remedy}\n`,
      );
    return `## ${title}\n\n${rows.join("\n")}`;
  });
  return `# Errors

<!-- Written by "npm run generate" from base/error-codes; do not edit. -->

Every refusal and failure carries a code. It is printed behind the message, stands in \`--json\` output as \`code\`,
and crosses the wire unchanged between client nodes and coordinator. The status is gRPC's: \`unavailable\`,
\`aborted\` and \`resource_exhausted\` may pass when tried again; the others need a change first.

${sections.join("\n")}`;
}
