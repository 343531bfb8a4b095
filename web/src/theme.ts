/** Light or dark: the system's choice until the switch is used. */

import { byId } from "./dom";

const KEY = "vesalius-theme";
const toggle = byId("theme", HTMLButtonElement);
const system = matchMedia("(prefers-color-scheme: dark)");

export function switchTheme(): void {
  const chosen = isDark() ? "light" : "dark";
  localStorage.setItem(KEY, chosen);
  show();
}

function isDark(): boolean {
  const chosen = localStorage.getItem(KEY);
  return chosen ? chosen === "dark" : system.matches;
}

function show(): void {
  document.documentElement.dataset["theme"] = isDark() ? "dark" : "light";
  toggle.setAttribute("aria-pressed", String(isDark()));
}

toggle.addEventListener("click", switchTheme);
system.addEventListener("change", show);
show();
