/** Keys that work while nothing is typed, and the list of them. */

import { byId, make } from "./dom";
import { recall, remember } from "./storage";

export interface Key {
  keys: string;
  /** How they are listed, if otherwise. */
  shown?: string;
  does: string;
  /** Gets the key that was pressed; left out for keys that belong to an element. */
  act?: (key: string) => void;
}

const OFF = "vesalius-no-keys";

export function listenToKeys(keys: readonly Key[]): void {
  const dialog = byId("help", HTMLDialogElement);
  const single = byId("single-keys", HTMLInputElement);
  const list = byId("key-list", HTMLDListElement);
  for (const { keys: all, shown = all, does } of keys) {
    const parts = shown.split(" ").map((each) => make("kbd", {}, each));
    list.append(make("dt", {}, ...parts.flatMap((each) => [each, " "])), make("dd", {}, does));
  }
  const open = () => dialog.showModal();
  byId("keys", HTMLButtonElement).addEventListener("click", open);
  single.checked = recall("localStorage", OFF) === null;
  single.addEventListener("change", () => remember("localStorage", OFF, single.checked ? null : "yes"));
  const acts = new Map(keys.flatMap(({ keys: all, act }) => (act ? all.split(" ").map((key) => [key, act] as const) : [])));
  acts.set("?", open);
  addEventListener("keydown", (event) => {
    if (!single.checked || event.ctrlKey || event.metaKey || event.altKey || dialog.open || isTyping(event.target)) return;
    const act = acts.get(event.key);
    if (!act) return;
    event.preventDefault();
    act(event.key);
  });
}

function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["radio", "checkbox", "range", "color", "button"].includes(target.type);
}
