// Bundle the page, with the licences of all that is in it, into src/vesalius/serve/web (or the folder given).
import { build } from "esbuild";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = process.argv[2] ?? join(here, "../src/vesalius/serve/web");

rmSync(outdir, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["index.html", "icon.svg", "page.css", "main.ts"].map((name) => `src/${name}`),
  outdir,
  bundle: true,
  splitting: true,
  minify: true,
  metafile: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  // Codecs of Zarr, 1.4 MB that only NiiVue's reader of Zarr would load; this page never opens any.
  external: ["numcodecs/*"],
  loader: { ".html": "copy", ".svg": "copy" },
  chunkNames: "[name]-[hash]",
  logLevel: "warning",
});

/** Name and version, licence and its text of each package whose code is bundled. */
const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
);
const texts = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license, homepage, repository } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const own = join(here, "licences", `${name.replace("/", "+")}.txt`);
  if (!file && !existsSync(own)) throw new Error(`${name} brings no licence text; put it into ${own}`);
  const home = homepage ?? (typeof repository === "string" ? repository : repository?.url) ?? "";
  return `${name} ${version} (${license}) ${home}\n\n${readFileSync(file ? join(folder, file) : own, "utf8").trim()}\n`;
});
writeFileSync(join(outdir, "licences.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));

for (const [path, { bytes }] of Object.entries(metafile.outputs)) console.log(`${String(Math.ceil(bytes / 1000)).padStart(6)} kB  ${path.split("/").pop()}`);
