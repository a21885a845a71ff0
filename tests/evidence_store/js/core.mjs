// The core of verify.html, taken out of the page as it is shipped, and run by node.
import { readFileSync } from "node:fs";

const PAGE = new URL("../../../evidence_store/templates/verify.html", import.meta.url);
const [, source] = /<script id="core">([\s\S]*?)<\/script>/.exec(readFileSync(PAGE, "utf-8"));

export const Core = new Function(`${source}\nreturn Core;`)();
