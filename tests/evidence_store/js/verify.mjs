// Verifies bundles with the core of verify.html. Each line of stdin is {"path", "key", "since", "witnesses", "flip"}, each line of stdout the outcome;
// "flip" names a file and the place of a byte in it, one bit of which is changed on the way.
import { readFileSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { Core } from "./core.mjs";

/** The files of a folder as a browser lists them. */
function listed(root, [flipped, place] = [], folder = "") {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder ? `${folder}/${entry.name}` : entry.name;
    if (entry.isDirectory()) return listed(root, [flipped, place], path);
    const bytes = readFileSync(join(root, path));
    if (path === flipped) bytes[place] ^= 1;
    const blob = new Blob([bytes]);
    return [{ webkitRelativePath: `${basename(root)}/${path}`, size: blob.size, stream: () => blob.stream(), arrayBuffer: () => blob.arrayBuffer() }];
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { path, key, since, witnesses, flip } = JSON.parse(line);
  let found;
  try {
    const files = statSync(path).isDirectory() ? await Core.folder(listed(path, flip)) : await Core.zip(new Blob([readFileSync(path)]));
    found = await Core.verify(files, { pin: Core.fingerprint(key ?? ""), since: since ?? "", witnesses: await Core.witnesses((witnesses ?? []).join(" ")) });
  } catch (error) {
    if (!(error instanceof Core.Refused)) throw error;
    found = { result: "NOT verified", problems: [{ path: ".", what: error.message }] };
  }
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
