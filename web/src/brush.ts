/** The brush that corrects masks: its controls beside the image, and its keys. They work while they are shown. */

import { byId } from "./dom";
import { say } from "./messages";
import type { Stage } from "./stage";

const controls = byId("brushes", HTMLDivElement);
const size = byId("size", HTMLInputElement);

export class BrushControls {
  constructor(private readonly stage: Stage) {
    size.addEventListener("input", () => this.resized());
    this.resized();
    for (const each of controls.querySelectorAll<HTMLInputElement>("[name=brush]")) {
      each.addEventListener("change", () => (stage.brush = { ...stage.brush, erase: each.value === "erase" }));
    }
    byId("undo", HTMLButtonElement).addEventListener("click", () => this.undo());
    addEventListener("keydown", (event) => {
      const isTyping = event.target instanceof HTMLInputElement && event.target.type === "text";
      if (controls.hidden || isTyping || event.key !== "z" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.undo();
    });
  }

  show(isShown: boolean): void {
    controls.hidden = !isShown;
  }

  /** In pixels or voxels of the image. */
  setSize(radius: number): void {
    size.value = String(radius);
    this.resized();
  }

  resize(by: number): void {
    this.setSize(size.valueAsNumber + by);
  }

  choose(kind: "add" | "erase"): void {
    if (controls.hidden) return;
    controls.querySelector<HTMLInputElement>(`[value=${kind}]`)?.click();
    this.stage.choose("brush");
  }

  private undo(): void {
    say(this.stage.undo() ? "Taken back." : `Nothing more to take back; the last ${this.stage.stepsBack} strokes are kept.`);
  }

  private resized(): void {
    this.stage.brush = { ...this.stage.brush, radius: size.valueAsNumber };
    byId("size-text", HTMLSpanElement).textContent = size.value;
  }
}
