/** Elements of the page. Text from outside (file names, phrases, messages) only ever becomes text. */

/** Characters that a browser would obey or hide: controls, and marks that turn the direction of what follows. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Text whose hidden characters can be seen. */
export function plain(text: string): string {
  return text.replace(HIDDEN, (found) => (found === "\n" ? " " : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`));
}

/** The element of index.html with this id. */
export function byId<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} called ${id}`);
  return found;
}

type Properties<K extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[K], "style">>;

/** A new element; strings among its children become text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties<K> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children.map((each) => (typeof each === "string" ? plain(each) : each)));
  return element;
}

/** A button that does something. */
export function button(label: string, act: () => void, properties: Properties<"button"> = {}): HTMLButtonElement {
  const element = make("button", { type: "button", ...properties }, label);
  element.addEventListener("click", act);
  return element;
}

/** Radio buttons of one name, in a fieldset; the first is chosen. */
export function choices<T extends string>(
  fieldset: HTMLFieldSetElement,
  name: string,
  options: readonly (readonly [T, string])[],
  act: (value: T) => void,
): (value: T) => void {
  const inputs = options.map(([value, label], place) => {
    const input = make("input", { type: "radio", name, value, checked: place === 0 });
    input.addEventListener("change", () => act(value));
    fieldset.append(make("label", { className: "choice" }, input, label));
    return input;
  });
  return (value) => {
    for (const each of inputs) each.checked = each.value === value;
    act(value);
  };
}

/** A number between 0 and 1 as text, never rounded to certainty. */
export function probability(value: number): string {
  if (value > 0 && value < 0.005) return "< 0.01";
  if (value < 1 && value > 0.995) return "> 0.99";
  return value.toFixed(2);
}

/** A share of all pixels as text, never rounded down to nothing. */
export function percent(share: number): string {
  if (share === 0) return "0\u00a0%";
  return share < 0.001 ? "<\u00a00.1\u00a0%" : `${(100 * share).toFixed(1)}\u00a0%`;
}

/** Hand a file to the user. */
export function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
