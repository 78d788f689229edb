// Unpacks the browser that @sparticuz/chromium carries into node_modules/.browser.
import { createReadStream, createWriteStream, mkdirSync, rmSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

const packed = new URL("node_modules/@sparticuz/chromium/bin/", import.meta.url).pathname;
const unpacked = new URL("node_modules/.browser/", import.meta.url).pathname;

rmSync(unpacked, { recursive: true, force: true });
mkdirSync(unpacked);
const unpack = (name, target) =>
  pipeline(createReadStream(packed + name), createBrotliDecompress(), target);
await unpack("chromium.br", createWriteStream(unpacked + "chromium", { mode: 0o755 }));
for (const name of ["al2023", "fonts", "swiftshader"]) {
  await unpack(`${name}.tar.br`, extract(unpacked));
}
