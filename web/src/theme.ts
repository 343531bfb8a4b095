/** Light or dark: the system's choice until the switch is used. */

import { byId } from "./dom";
import { recall, remember } from "./storage";

const KEY = "vesalius-theme";
const toggle = byId("theme", HTMLButtonElement);
const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = recall("localStorage", KEY);

export function switchTheme(): void {
  chosen = isDark() ? "light" : "dark";
  remember("localStorage", KEY, chosen);
  show();
}

function isDark(): boolean {
  return chosen ? chosen === "dark" : system.matches;
}

function show(): void {
  document.documentElement.dataset["theme"] = isDark() ? "dark" : "light";
  toggle.setAttribute("aria-pressed", String(isDark()));
}

toggle.addEventListener("click", switchTheme);
system.addEventListener("change", show);
show();
