/** Where images are looked at: one pane, or two to compare, with tools for the pointer and the keyboard. */

import type { Series } from "./api";
import { byId, choices, make, plain } from "./dom";
import { PictureView } from "./picture";
import { type Brush, type Layer, type Point, pinch, type Style, type Viewer, type Window } from "./viewer";
import type { Plane, VolumeView } from "./volume";

export type Tool = "point" | "pan" | "window" | "brush";

/** Usual windows of CT, in Hounsfield units. */
const PRESETS: Readonly<Record<string, Window>> = {
  "soft tissue": { centre: 40, width: 400 },
  lung: { centre: -600, width: 1500 },
  bone: { centre: 300, width: 1500 },
  brain: { centre: 40, width: 80 },
  liver: { centre: 60, width: 160 },
};
const STYLES: readonly Style[] = ["fill", "outline", "probability"];
const PLANES: readonly Plane[] = ["axial", "coronal", "sagittal", "all"];
const ZOOM_STEP = 1.25;
/** Share of the window's width that a pixel of dragging changes. */
const WINDOW_STEP = 1 / 256;

interface Pane {
  figure: HTMLElement;
  caption: HTMLElement;
  viewer: Viewer;
}

export class Stage {
  /** Called with the place of the slice along the series, 0 to 1; null in another plane than the series'. */
  onSlice: (along: number | null) => void = () => {};
  /** Called after every stroke of the brush, and when one is taken back. */
  onStroke: () => void = () => {};
  brush: Brush = { radius: 8, erase: false };
  private panes: Pane[] = [];
  private upload: Series | null = null;
  private content: Blob | null = null;
  private tool: Tool = "point";
  private style: Style = "fill";
  private plane: Plane = "axial";
  /** Opening and drawing take turns, and of several drawings that wait only the last is made. */
  private turn: Promise<void> = Promise.resolve();
  private wanted: { layers: readonly (readonly Layer[])[]; captions: readonly string[] } | null = null;
  private readonly chooseTool: (tool: Tool) => void;
  private readonly chooseStyle: (style: Style) => void;

  /** `onStyle` is called when another style is chosen, and sees to it that it is drawn. */
  constructor(private readonly onStyle: (style: Style) => void) {
    this.chooseTool = choices(byId("tools", HTMLFieldSetElement), "tool",
      [["point", "Point"], ["pan", "Move"], ["window", "Window"], ["brush", "Brush"]] as const, (tool) => (this.tool = tool));
    this.chooseStyle = choices(byId("styles", HTMLFieldSetElement), "style",
      [["fill", "Mask"], ["outline", "Outline"], ["probability", "Probability"]] as const, (style) => {
        this.style = style;
        this.onStyle(style);
      });
    byId("zoom-in", HTMLButtonElement).addEventListener("click", () => this.zoom(1));
    byId("zoom-out", HTMLButtonElement).addEventListener("click", () => this.zoom(-1));
    byId("reset", HTMLButtonElement).addEventListener("click", () => this.reset());
    byId("slice", HTMLInputElement).addEventListener("input", (event) => {
      this.first?.showSlice(Number((event.target as HTMLInputElement).value) - 1);
    });
    byId("plane", HTMLSelectElement).addEventListener("change", (event) => {
      this.setPlane((event.target as HTMLSelectElement).value as Plane);
    });
    for (const id of ["centre", "width"]) byId(id, HTMLInputElement).addEventListener("change", () => this.typeWindow());
    const preset = byId("preset", HTMLSelectElement);
    for (const name of Object.keys(PRESETS)) preset.append(make("option", { value: name }, name));
    preset.addEventListener("change", () => PRESETS[preset.value] && this.first?.setWindow(PRESETS[preset.value] as Window));
    byId("window-reset", HTMLButtonElement).addEventListener("click", () => this.first?.setWindow(this.first.openedWindow()));
    this.offer("brush", false);
  }

  get drawing(): Style {
    return this.style;
  }

  /** Handle of the image that is on the screen; null while there is none. */
  get shown(): string | null {
    return this.panes.length > 0 ? (this.upload?.id ?? null) : null;
  }

  /** Show nothing, until another image is opened. */
  clear(): Promise<void> {
    return this.inTurn(async () => this.close());
  }

  /** Ask for an image, as at first. */
  leave(): Promise<void> {
    return this.inTurn(async () => {
      this.close();
      byId("drop", HTMLDivElement).hidden = false;
      byId("viewer", HTMLDivElement).hidden = true;
    });
  }

  /** Show an image, without masks. */
  open(upload: Series, content: Blob): Promise<void> {
    return this.inTurn(() => this.openNow(upload, content));
  }

  private async openNow(upload: Series, content: Blob): Promise<void> {
    this.close();
    this.wanted = null; // what was to be drawn belongs to another image
    this.upload = upload;
    this.content = content;
    const drop = byId("drop", HTMLDivElement);
    const isFocused = drop.contains(document.activeElement);
    drop.hidden = true;
    byId("viewer", HTMLDivElement).hidden = false;
    const isVolume = upload.kind === "volume";
    byId("plane-choice", HTMLLabelElement).hidden = !isVolume;
    byId("preset-choice", HTMLLabelElement).hidden = !isVolume || upload.modality !== "CT";
    byId("preset", HTMLSelectElement).value = "";
    byId("slice-choice", HTMLLabelElement).hidden = true; // of the image before; this one may fail
    this.tell("");
    this.panes = [await this.makePane()];
    if (isFocused) this.panes[0]?.figure.focus({ preventScroll: true });
    this.plane = "axial";
    if (isVolume) this.setPlane(this.acquired());
    this.offer("point", isVolume); // pictures have no crosshair
    this.chooseTool(isVolume ? "point" : "pan");
    this.heard(this.panes[0] as Pane);
  }

  /** Masks for each pane; the number of panes follows. */
  draw(layers: readonly (readonly Layer[])[], captions: readonly string[]): Promise<void> {
    const isNext = this.wanted === null;
    this.wanted = { layers, captions };
    return isNext ? this.inTurn(() => this.drawNow()) : this.turn;
  }

  private async drawNow(): Promise<void> {
    const { wanted } = this;
    this.wanted = null;
    if (!wanted || this.panes.length === 0) return;
    const { layers, captions } = wanted;
    while (this.panes.length > layers.length) this.drop(this.panes.pop() as Pane);
    while (this.panes.length < layers.length) {
      const pane = await this.makePane();
      this.panes.push(pane);
      pane.viewer.follow(this.panes[0]?.viewer as Viewer);
    }
    for (const [place, pane] of this.panes.entries()) {
      pane.caption.textContent = plain(this.panes.length > 1 ? (captions[place] ?? "") : "");
      await pane.viewer.setLayers(layers[place] ?? [], this.style);
      pane.viewer.canvas.setAttribute("aria-label", `${plain(this.upload?.name ?? "")}: ${plain(captions[place] ?? "")}`);
    }
  }

  /** Go to a slice of the series, counted from 0. */
  jump(index: number): void {
    if (this.plane !== this.acquired()) this.setPlane(this.acquired());
    this.first?.showSlice(index);
    this.reveal();
  }

  /** Scroll there, where something else fills the screen. */
  reveal(): void {
    byId("viewer", HTMLDivElement).scrollIntoView({ block: "nearest" });
  }

  async edit(layer: Layer): Promise<void> {
    const viewer = this.first;
    await viewer?.startEditing(layer);
    if (viewer !== this.first) return; // another image was opened meanwhile
    this.offer("brush", true);
    this.chooseTool("brush");
    this.reveal();
  }

  stopEditing(): void {
    this.first?.stopEditing();
    this.offer("brush", false);
    this.chooseTool(this.upload?.kind === "volume" ? "point" : "pan");
  }

  undo(): boolean {
    const isTaken = this.first?.undo() ?? false;
    if (isTaken) this.onStroke();
    return isTaken;
  }

  get stepsBack(): number {
    return this.first?.stepsBack ?? 0;
  }

  edited(): Promise<{ content: Blob; name: string }> {
    if (!this.first) throw new Error("No image is open");
    return this.first.edited();
  }

  choose(tool: Tool): void {
    if (!this.input(tool).disabled) this.chooseTool(tool);
  }

  nextStyle(): void {
    this.chooseStyle(STYLES[(STYLES.indexOf(this.style) + 1) % STYLES.length] as Style);
  }

  nextPlane(): void {
    if (this.upload?.kind === "volume") this.setPlane(PLANES[(PLANES.indexOf(this.plane) + 1) % PLANES.length] as Plane);
  }

  zoom(steps: number): void {
    this.first?.zoom(ZOOM_STEP ** steps, null);
  }

  reset(): void {
    this.first?.reset();
  }

  scroll(slices: number): void {
    this.first?.showSlice(this.first.slice() + slices);
  }

  private inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.turn.then(act);
    this.turn = done.catch(() => {});
    return done;
  }

  private get first(): Viewer | undefined {
    return this.panes[0]?.viewer;
  }

  private close(): void {
    for (const pane of this.panes) this.drop(pane);
    this.panes = [];
    this.offer("brush", false);
  }

  private drop(pane: Pane): void {
    pane.viewer.close();
    pane.figure.remove();
  }

  private setPlane(plane: Plane): void {
    this.plane = plane;
    byId("plane", HTMLSelectElement).value = plane;
    (this.first as VolumeView | undefined)?.setPlane(plane);
  }

  /** The plane in which the series was taken. */
  private acquired(): Plane {
    return this.upload?.kind === "volume" ? ((this.first as VolumeView | undefined)?.acquired() ?? "axial") : "axial";
  }

  private async makePane(): Promise<Pane> {
    const upload = this.upload as Series;
    const canvas = make("canvas", {});
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", plain(upload.name));
    const caption = make("figcaption", {});
    const figure = make("figure", { className: "pane", tabIndex: 0 }, make("div", { className: "canvas" }, canvas), caption);
    figure.setAttribute("role", "group");
    figure.setAttribute("aria-label", "Image; the arrow keys move, Page Up and Page Down change slices");
    byId("panes", HTMLDivElement).append(figure);
    try {
      const content = this.content as Blob;
      const viewer = upload.kind === "volume"
        ? await (await import("./volume")).VolumeView.open(canvas, content, upload.slice_axis ?? 2, upload.placed)
        : await PictureView.open(canvas, content, upload.spacing_mm);
      const pane = { figure, caption, viewer };
      viewer.onChange = () => this.heard(pane);
      this.listen(pane);
      return pane;
    } catch (error) {
      figure.remove();
      throw error;
    }
  }

  /** A viewer has changed: the other follows, and what is told about it. */
  private heard(pane: Pane): void {
    for (const other of this.panes) if (other !== pane) other.viewer.follow(pane.viewer);
    const { viewer } = pane;
    const count = viewer.sliceCount();
    const slider = byId("slice", HTMLInputElement);
    byId("slice-choice", HTMLLabelElement).hidden = count < 2;
    slider.max = String(count);
    slider.value = String(viewer.slice() + 1);
    byId("slice-text", HTMLSpanElement).textContent = `${viewer.slice() + 1} of ${count}`;
    const { centre, width } = viewer.window();
    const round = (value: number) => String(Math.abs(value) < 10 ? Number(value.toPrecision(3)) : Math.round(value));
    byId("window-text", HTMLSpanElement).textContent = `${round(centre)} ± ${round(width / 2)}`;
    byId("centre", HTMLInputElement).value = round(centre);
    byId("width", HTMLInputElement).value = round(width);
    this.tell(viewer.describe(null));
    this.onSlice(this.plane === this.acquired() ? (viewer.slice() + 0.5) / count : null);
  }

  private tell(text: string): void {
    byId("position", HTMLParagraphElement).textContent = text || "\u00a0";
  }

  private typeWindow(): void {
    const [centre, width] = ["centre", "width"].map((id) => byId(id, HTMLInputElement).valueAsNumber);
    if (Number.isFinite(centre) && Number(width) > 0) this.first?.setWindow({ centre, width } as Window);
    else if (this.panes[0]) this.heard(this.panes[0]); // which writes the window that is shown
  }

  private offer(tool: Tool, isOffered: boolean): void {
    const input = this.input(tool);
    input.disabled = !isOffered;
    input.closest("label")?.toggleAttribute("hidden", !isOffered);
  }

  private input(tool: Tool): HTMLInputElement {
    return byId("tools", HTMLFieldSetElement).querySelector(`[value="${tool}"]`) as HTMLInputElement;
  }

  /** Pointer and keyboard of a pane. */
  private listen({ figure, viewer }: Pane): void {
    const { canvas } = viewer;
    const pointers = new Map<number, Point>();
    let tool: Tool = this.tool;
    const place = (event: MouseEvent): Point => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      figure.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      tool = event.button === 2 ? "window" : event.button === 1 ? "pan" : this.tool;
      if (pointers.size === 1 && tool === "point") viewer.pointAt(place(event));
      if (pointers.size === 1 && tool === "brush") viewer.paint(place(event), place(event), this.brush);
    });
    canvas.addEventListener("pointermove", (event) => {
      const to = place(event);
      const from = pointers.get(event.pointerId);
      if (!from) this.hover(viewer, to);
      else if (pointers.size === 2) pinch(viewer, pointers, event.pointerId, to);
      else this.drag(viewer, tool, from, to);
      if (from) pointers.set(event.pointerId, to);
    });
    const end = (event: PointerEvent) => {
      if (!pointers.delete(event.pointerId) || tool !== "brush") return;
      viewer.endStroke();
      this.onStroke();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => {
      viewer.showBrush(null, this.brush.radius);
      this.tell(viewer.describe(null));
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const isZoom = event.ctrlKey || event.metaKey || viewer.sliceCount() < 2;
      if (isZoom) viewer.zoom(ZOOM_STEP ** (-event.deltaY / 100), place(event));
      else viewer.showSlice(viewer.slice() - Math.sign(event.deltaY));
    }, { passive: false });
    figure.addEventListener("keydown", (event) => this.key(viewer, event));
  }

  private hover(viewer: Viewer, at: Point): void {
    this.tell(viewer.describe(at));
    viewer.showBrush(this.tool === "brush" ? at : null, this.brush.radius);
  }

  private drag(viewer: Viewer, tool: Tool, from: Point, to: Point): void {
    if (tool === "point") viewer.pointAt(to);
    if (tool === "pan") viewer.pan(from, to);
    if (tool === "brush") viewer.paint(from, to, this.brush);
    if (tool === "window") {
      const { centre, width } = viewer.window();
      const step = Math.max(width, viewer.openedWindow().width / 16) * WINDOW_STEP;
      const least = viewer.openedWindow().width / 1000;
      viewer.setWindow({ centre: centre + (to.y - from.y) * step, width: Math.max(least, width + (to.x - from.x) * step * 2) });
    }
  }

  private dab(viewer: Viewer): void {
    if (this.tool !== "brush") return;
    viewer.dab(this.brush);
    this.onStroke();
  }

  private key(viewer: Viewer, event: KeyboardEvent): void {
    const steps: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => viewer.step(-1, 0),
      ArrowRight: () => viewer.step(1, 0),
      ArrowUp: () => viewer.step(0, -1),
      ArrowDown: () => viewer.step(0, 1),
      PageUp: () => viewer.showSlice(viewer.slice() + (event.shiftKey ? 10 : 1)),
      PageDown: () => viewer.showSlice(viewer.slice() - (event.shiftKey ? 10 : 1)),
      Home: () => viewer.showSlice(0),
      End: () => viewer.showSlice(viewer.sliceCount() - 1),
      " ": () => this.dab(viewer),
    };
    const act = steps[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
}
