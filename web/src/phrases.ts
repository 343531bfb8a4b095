/** Phrases as chips: colour, opacity, on or off, and what the model answered. */

import type { Answer } from "./api";
import { button, byId, make, percent, plain, probability } from "./dom";
import { type Layer, toColour } from "./viewer";

/** Bright on dark images, and apart for the colour-blind as far as eight can be. */
const COLOURS = ["#ffb000", "#56b4e9", "#3ddc97", "#ff7ab8", "#b693ff", "#f7e463", "#ff8a4c", "#2dd4d4"];
const KEYS = 9;
/** Phrases of one request; MOST_PHRASES of the service. */
const MOST_ASKED = 32;

export interface Phrase {
  text: string;
  colour: string;
  opacity: number;
  isOn: boolean;
  state: "waiting" | "asking" | "answered" | "failed";
  answer: Answer | null;
  mask: Blob | null;
  probability: Blob | null;
  /** The mask as it was corrected by hand. */
  corrected: Blob | null;
  /** Whether strokes were made that are not downloaded. */
  isUnsaved: boolean;
  update: () => void;
}

const UNANSWERED = {
  state: "waiting", answer: null, mask: null, probability: null, corrected: null, isUnsaved: false,
} as const;

interface Actions {
  /** What is drawn has changed. */
  draw: () => void;
  /** Phrases were added. */
  ask: () => void;
  /** Hand the mask of a phrase to the user. */
  download: (phrase: Phrase) => void;
  /** Go to a slice, counted from 0. */
  go: (slice: number) => void;
  /** Whether a phrase may go, with all that was made of it. */
  mayRemove: (phrase: Phrase) => boolean;
  /** The list has changed, or an answer has. */
  list: () => void;
}

export class Phrases {
  readonly all: Phrase[] = [];
  private readonly list = byId("chips", HTMLOListElement);
  private made = 0;

  constructor(private readonly actions: Actions) {
    const form = byId("ask", HTMLFormElement);
    const input = byId("phrase", HTMLInputElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.add(input.value);
      input.value = "";
    });
  }

  /** Add a phrase; one that is there is asked again if it failed. */
  add(typed: string): void {
    const text = typed.trim().replace(/\s+/g, " ");
    const known = this.all.find((each) => each.text === text);
    if (known?.state === "failed") {
      this.set(known, { state: "waiting" });
      this.actions.ask();
    }
    if (!text || known) return;
    const phrase: Phrase = {
      text, colour: COLOURS[this.made++ % COLOURS.length] as string, opacity: 0.4, isOn: true,
      ...UNANSWERED, update: () => {},
    };
    this.all.push(phrase);
    this.list.append(this.chip(phrase));
    this.changed();
    this.actions.ask();
  }

  /** Forget all answers, as another image is opened. */
  forget(): void {
    for (const phrase of this.all) {
      Object.assign(phrase, UNANSWERED);
      phrase.update();
    }
    this.changed();
  }

  /** Those that are to be asked next, no more than a request may have. */
  waiting(): Phrase[] {
    return this.all.filter((each) => each.state === "waiting").slice(0, MOST_ASKED);
  }

  set(phrase: Phrase, change: Partial<Phrase>): void {
    Object.assign(phrase, change);
    phrase.update();
    this.changed();
  }

  /** Phrases that have a mask. */
  masked(): Phrase[] {
    return this.all.filter((each) => each.mask !== null);
  }

  /** Switch the phrase with this place on or off. */
  toggle(place: number): void {
    const phrase = this.all[place];
    if (phrase) this.set(phrase, { isOn: !phrase.isOn });
    this.actions.draw();
  }

  /** Show all masks, or none if all are shown. */
  toggleAll(): void {
    const isOn = this.all.some((each) => !each.isOn);
    for (const phrase of this.all) this.set(phrase, { isOn });
    this.actions.draw();
  }

  private changed(): void {
    byId("no-phrases", HTMLParagraphElement).hidden = this.all.length > 0;
    this.actions.list();
  }

  private chip(phrase: Phrase): HTMLLIElement {
    const shown = make("input", { type: "checkbox", checked: true });
    const colour = make("input", { type: "color", value: phrase.colour });
    const opacity = make("input", { type: "range", min: "0", max: "1", step: "0.05", value: String(phrase.opacity) });
    const verdict = make("div", { className: "verdict" });
    const remove = button("×", () => this.remove(phrase, chip), { className: "remove" });
    const download = button("Mask", () => this.actions.download(phrase), { className: "small" });
    const key = make("kbd", {});
    const chip = make(
      "li",
      { className: "chip" },
      make("div", { className: "head" }, colour, make("label", { className: "choice name" }, shown, phrase.text), key, remove),
      verdict,
      make("div", { className: "row settings" }, make("label", { className: "grow" }, "Opacity", opacity), download),
    );
    const name = plain(phrase.text);
    colour.setAttribute("aria-label", `Colour of ${name}`);
    opacity.setAttribute("aria-label", `Opacity of ${name}`);
    remove.setAttribute("aria-label", `Remove ${name}`);
    download.setAttribute("aria-label", `Download the mask of ${name}`);
    shown.addEventListener("change", () => this.draw(phrase, { isOn: shown.checked }));
    colour.addEventListener("input", () => this.draw(phrase, { colour: colour.value }));
    opacity.addEventListener("input", () => this.draw(phrase, { opacity: Number(opacity.value) }));
    phrase.update = () => {
      const place = this.all.indexOf(phrase) + 1;
      key.textContent = place <= KEYS ? String(place) : "";
      key.hidden = place > KEYS;
      shown.checked = phrase.isOn;
      chip.style.setProperty("--colour", phrase.colour);
      chip.dataset["state"] = phrase.state;
      chip.classList.toggle("refused", phrase.answer?.reason != null);
      download.disabled = phrase.mask === null;
      verdict.replaceChildren(...this.verdict(phrase));
    };
    phrase.update();
    return chip;
  }

  private draw(phrase: Phrase, change: Partial<Phrase>): void {
    this.set(phrase, change);
    this.actions.draw();
  }

  private remove(phrase: Phrase, chip: HTMLElement): void {
    if (!this.actions.mayRemove(phrase)) return;
    this.all.splice(this.all.indexOf(phrase), 1);
    chip.remove();
    for (const each of this.all) each.update();
    byId("phrase", HTMLInputElement).focus();
    this.changed();
    this.actions.draw();
  }

  /** What the model answered, in words. */
  private verdict({ state, answer }: Phrase): (Node | string)[] {
    if (state === "waiting") return [make("span", { className: "soft" }, "waits for an image")];
    if (state === "asking") return [make("span", { className: "soft" }, "asking …")];
    if (!answer) return [make("span", { className: "bad" }, "no answer")];
    if (answer.reason) return [this.refusal(answer)];
    const facts = [
      existence(answer),
      !answer.share ? "nothing marked" : `${percent(answer.share)} marked`,
    ];
    if (answer.volume_ml) facts.push(`${answer.volume_ml.toFixed(answer.volume_ml < 10 ? 1 : 0)}\u00a0ml`);
    const said = remark(answer);
    if (answer.target && answer.target !== answer.phrase && !said.includes(answer.target)) facts.push(`read as '${answer.target}'`);
    const meter = make("meter", { min: 0, max: 1, value: answer.existence ?? 0 });
    meter.setAttribute("aria-hidden", "true");
    return [
      ...(answer.existence === null ? [] : [meter]),
      make("span", {}, facts.join(" · "), ...this.slices(answer)),
      ...(said ? [make("span", { className: "remark soft" }, said)] : []),
    ];
  }

  /** The way to what is marked, which may lie in slices far from the one that is shown. */
  private slices({ slices_marked }: Answer): (Node | string)[] {
    const [first, last] = [slices_marked?.at(0), slices_marked?.at(-1)];
    if (!slices_marked || first === undefined || last === undefined) return [];
    const middle = slices_marked[Math.floor(slices_marked.length / 2)] as number;
    const label = first === last ? `slice ${first + 1}` : `slices ${first + 1}–${last + 1}`;
    return [" · ", button(label, () => this.actions.go(middle), { className: "link", title: "Go to the middle of them" })];
  }

  /** Why the model was not asked, and what it could be asked instead. */
  private refusal(answer: Answer): Node {
    const { reason, nearest } = answer;
    const said = make("strong", { className: "bad" }, reason ?? "");
    if (nearest.length === 0) return make("span", {}, said, answer.remark ? `: ${remark(answer)}` : "");
    const offers = nearest.flatMap((each) => [" ", button(each, () => this.add(each), { className: "link" })]);
    return make("span", {}, said, "; nearest:", ...offers);
  }
}

/** How it was understood, without the phrase, which the chip shows already. */
function remark(answer: Answer): string {
  return (answer.remark ?? "").replace(`'${answer.phrase}': `, "");
}

/** How probable it is that the image shows what was asked for, in words. */
function existence(answer: Answer): string {
  return answer.existence === null ? "existence not judged" : `existence ${probability(answer.existence)}`;
}

/** The answer as a sentence; empty while there is none. */
export function describe({ text, answer }: Phrase): string {
  if (!answer) return "";
  if (answer.reason) return `${text}: ${answer.reason}.`;
  return `${text}: ${existence(answer)}.`;
}

/** What a pane shows. */
export function caption(shown: readonly Phrase[]): string {
  const said = shown.map(({ text, answer }) => (answer ? `${text} (${existence(answer)})` : text));
  return said.join(", ") || "no masks shown";
}

/** What of the phrases is drawn. */
export function toLayers(phrases: readonly Phrase[]): Layer[] {
  return phrases.flatMap((each) =>
    each.answer && each.mask
      ? [{ number: each.answer.number, colour: toColour(each.colour), opacity: each.opacity, mask: each.mask, probability: each.probability }]
      : [],
  );
}
