/** What the page says: the status line that screen readers hear, errors that stay until closed, and progress. */

import { ServiceError } from "./api";
import { button, byId, make, plain } from "./dom";

const LABELS: Readonly<Record<string, string>> = { expected: "Expected", got: "Got", remedy: "What to do" };

const line = byId("status", HTMLParagraphElement);
const errors = byId("errors", HTMLDivElement);
const bar = byId("progress", HTMLProgressElement);

/** Say what happens, or happened. */
export function say(text: string): void {
  line.textContent = plain(text);
}

/** Show what went wrong until it is closed. */
export function showError(error: unknown): void {
  const known = error instanceof ServiceError ? error : new ServiceError(error instanceof Error ? error.message : String(error), 0);
  const details = make("dl", {});
  let { what } = known;
  for (const [key, value] of known.details) {
    if (key === "where") what = `${value}: ${what}`;
    else details.append(make("dt", {}, LABELS[key] ?? key), make("dd", {}, value));
  }
  const box = make("div", { className: "error" }, make("p", {}, make("strong", {}, what)), details);
  box.append(button("Close", () => box.remove()));
  errors.replaceChildren(box);
  say("");
}

export function clearErrors(): void {
  errors.replaceChildren();
}

/** How far something is, 0 to 1; `undefined` while nobody knows, `null` when it is over. */
export function showProgress(share: number | null | undefined): void {
  bar.hidden = share === null;
  if (typeof share === "number") bar.value = share;
  else bar.removeAttribute("value");
}
