/** "What is this?": modality, plane, and stations and organs along the series; a click goes there. */

import type { Label, Names, Range } from "./api";
import { button, make, probability } from "./dom";

const ENDS: Readonly<Record<string, string>> = {
  axial: "feet → head", coronal: "back → front", sagittal: "left → right",
};

/** Show what was named in `place`; `go` gets the slice that was chosen, counted from 0. */
export function showNames(place: HTMLElement, names: Names, go: (slice: number) => void): void {
  const count = names.slices.length;
  const facts = make("dl", { className: "facts" });
  for (const [what, label] of [["Modality", names.modality], ["Protocol", names.protocol], ["Plane", names.plane]] as const) {
    if (label.label || label.probability !== null) facts.append(make("dt", {}, what), make("dd", {}, said(label)));
  }
  const jump = (range: Range) => go(Math.floor((range.first + range.last) / 2));
  const lists = (["stations", "organs"] as const).flatMap((kind) => {
    const ranges = names[kind];
    const title = make("h3", {}, kind === "stations" ? "Stations" : "Organs");
    if (ranges.length === 0) return [title, make("p", { className: "soft small" }, "none named")];
    return [title, count > 1 ? strip(ranges, count, jump) : flat(ranges)];
  });
  const end = count > 1 ? [make("p", { className: "soft small" }, `Slices run ${ENDS[names.plane.label ?? ""] ?? "first → last"}. Choose a bar to go to its middle.`)] : [];
  place.replaceChildren(facts, ...lists, ...end);
}

/** Mark the slice that is shown, 0 to 1 along the series; null where the series is shown in another plane. */
export function markSlice(place: HTMLElement, along: number | null): void {
  place.style.setProperty("--along", String(along ?? 0));
  place.classList.toggle("marked", along !== null);
}

function said({ label, probability: value, source }: Label): string {
  return [label ?? "unsure", value === null ? "" : probability(value), source === "header" ? "from the header" : ""]
    .filter(Boolean).join(" · ");
}

function name(range: Range): string {
  return range.label ?? "unsure";
}

/** Labels of a single picture. */
function flat(ranges: readonly Range[]): HTMLElement {
  const items = ranges.map((each) => make("li", {}, name(each), each.probability === null ? "" : ` ${probability(each.probability)}`));
  return make("ul", { className: "flat" }, ...items);
}

/** A row a label, with a bar over the slices of each range. */
function strip(ranges: readonly Range[], count: number, jump: (range: Range) => void): HTMLElement {
  const rows = new Map<string, Range[]>();
  for (const range of ranges) rows.set(name(range), [...(rows.get(name(range)) ?? []), range]);
  const list = make("ul", { className: "strip" });
  for (const [label, found] of rows) {
    const track = make("span", { className: "track" });
    for (const range of found) {
      const sure = range.probability === null ? "" : `, probability ${probability(range.probability)}`;
      const text = `${label}, slices ${range.first + 1} to ${range.last + 1}${sure}`;
      const bar = button("", () => jump(range), { title: text });
      bar.setAttribute("aria-label", `${text}: go there`);
      bar.style.setProperty("--from", String(range.first / count));
      bar.style.setProperty("--share", String((range.last - range.first + 1) / count));
      bar.style.setProperty("--sure", String(range.probability ?? 0));
      track.append(bar);
    }
    list.append(make("li", {}, make("span", { className: "label" }, label), track));
  }
  return list;
}
