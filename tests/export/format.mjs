// Exits with 1 and a difference's first line where a file is not formatted as hclwrite would format it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { format } = createRequire(import.meta.url)(process.argv[2]);
let wrong = 0;
for (const path of process.argv.slice(3)) {
  const text = readFileSync(path, "utf8");
  const should = await format(text);
  if (text === should) continue;
  const [is, want] = [text.split("\n"), should.split("\n")];
  const n = is.findIndex((line, n) => line !== want[n]);
  console.error(`${path}:${n + 1} is ${JSON.stringify(is[n])}, formatted ${JSON.stringify(want[n])}`);
  wrong = 1;
}
process.exit(wrong);
