/** What is known of an image, and of the other series that arrived with it. */

import type { Series } from "./api";
import { byId, make } from "./dom";

/** Names without what they all begin with, the name of the upload, as lists are too narrow for both. */
function describeSeries(all: readonly Series[]): string[] {
  const [first = ""] = all.map((each) => each.name);
  const ends = [...first.matchAll(/: /g)].map((each) => each.index + 2);
  const same = ends.findLast((end) => all.every((each) => each.name.startsWith(first.slice(0, end)))) ?? 0;
  return all.map(({ name, modality, depth }) => `${[name.slice(same), modality].filter(Boolean).join(" · ")} (${depth})`);
}

/** Let the user choose among several; `chosen` is the handle of the one that is shown. */
export function offerSeries(all: readonly Series[], chosen: string): void {
  const list = byId("series", HTMLSelectElement);
  byId("series-choice", HTMLLabelElement).hidden = all.length < 2;
  const names = describeSeries(all);
  list.replaceChildren(...all.map((each, place) => make("option", { value: each.id }, names[place] ?? "")));
  list.value = chosen;
}

export function showFacts({ kind, name, width, height, depth, spacing_mm, modality, expires_at, notices }: Series): void {
  const rows: [string, string][] = [
    ["Name", name],
    ["Size", `${width} × ${height}${kind === "volume" ? ` × ${depth}` : ""}`],
  ];
  if (spacing_mm) rows.push(["Spacing", `${spacing_mm.map((each) => Number(each.toPrecision(3))).join(" × ")} mm`]);
  if (modality) rows.push(["Modality", modality]);
  const expires = new Date(expires_at);
  if (!Number.isNaN(expires.valueOf())) rows.push(["Kept until", `${expires.toLocaleTimeString([], { timeStyle: "short" })} at least`]);
  byId("facts", HTMLDListElement).replaceChildren(...rows.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]));
  byId("notices", HTMLUListElement).replaceChildren(...notices.map((each) => make("li", {}, each)));
}
