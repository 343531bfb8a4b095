/** What the model learnt, suggested while a phrase is typed. */

import type { Target } from "./api";
import { byId, make } from "./dom";

const MOST = 8;
/** Letters from which a target is found by its other names, too; too many begin with the same two. */
const SYNONYMS_FROM = 3;

const input = byId("phrase", HTMLInputElement);
const list = byId("suggestions", HTMLUListElement);
let targets: readonly { phrase: string; names: string; about: string }[] = [];
let active = -1;

export function setTargets(learnt: readonly Target[]): void {
  targets = learnt.map((each) => ({
    phrase: each.target,
    names: each.names.join(" "),
    about: each.learnt_on.join(", "),
  }));
  if (document.activeElement === input && input.value.trim() !== "") show();
}

/** Targets all of whose typed words start one of their own; those that start with the text come first. */
function matching(text: string): typeof targets {
  const typed = text.toLowerCase().trim();
  const words = typed.split(/\s+/).filter(Boolean);
  const found = targets.filter(({ phrase, names, about }) => {
    const other = typed.length < SYNONYMS_FROM ? "" : names;
    const own = `${phrase} ${other} ${about}`.toLowerCase().split(/[\s,-]+/);
    return words.every((word) => own.some((each) => each.startsWith(word)));
  });
  return found.sort((one, other) => Number(other.phrase.startsWith(typed)) - Number(one.phrase.startsWith(typed))).slice(0, MOST);
}

function show(): void {
  const found = input.value.trim() === "" && document.activeElement !== input ? [] : matching(input.value);
  active = -1;
  input.removeAttribute("aria-activedescendant");
  list.replaceChildren(
    ...found.map(({ phrase, about }, place) => {
      const option = make("li", { id: `suggestion-${place}`, role: "option" }, make("span", {}, phrase), " ", make("small", {}, about));
      option.setAttribute("aria-selected", "false");
      option.dataset["phrase"] = phrase;
      option.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        choose(phrase);
      });
      return option;
    }),
  );
  open(found.length > 0);
}

function open(shown: boolean): void {
  list.hidden = !shown;
  input.setAttribute("aria-expanded", String(shown));
  if (!shown) input.removeAttribute("aria-activedescendant");
}

function choose(phrase: string): void {
  input.value = phrase;
  open(false);
  input.form?.requestSubmit();
}

function move(by: number): void {
  const options = [...list.children] as HTMLElement[];
  if (options.length === 0) return;
  active = (active + by + options.length + (active < 0 && by < 0 ? 1 : 0)) % options.length;
  options.forEach((each, place) => each.setAttribute("aria-selected", String(place === active)));
  input.setAttribute("aria-activedescendant", `suggestion-${active}`);
  options[active]?.scrollIntoView({ block: "nearest" });
}

input.addEventListener("input", show);
input.addEventListener("blur", () => open(false));
input.form?.addEventListener("submit", () => open(false));
input.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !list.hidden) {
    event.stopPropagation();
    open(false);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (list.hidden) show();
    move(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Enter" && !list.hidden && active >= 0) {
    event.preventDefault();
    choose((list.children[active] as HTMLElement).dataset["phrase"] ?? "");
  }
});
