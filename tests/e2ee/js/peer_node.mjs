// One JSON command a line on standard input, one JSON answer a line on standard output.
import { createInterface } from "node:readline";

import { handle } from "./peer.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await handle(JSON.parse(line)))}\n`);
}
