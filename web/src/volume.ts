/** Volumes and series, drawn by NiiVue. This module is loaded when the first volume is opened. */

import { cmapper, MULTIPLANAR_TYPE, type NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import { checkSize, keepRim, read } from "./grid";
import type { Brush, Colour, Layer, Point, Style, Viewer, Window } from "./viewer";

export type Plane = "axial" | "coronal" | "sagittal" | "all";

const TYPES = {
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  all: SLICE_TYPE.MULTIPLANAR,
} as const;
/** Axis of the volume (to the right, to the front, to the head) that runs across the slices. */
const AXES = { axial: 2, coronal: 1, sagittal: 0, all: 2 } as const;
/** The same for NiiVue's numbers of axial, coronal and sagittal slices. */
const ACROSS: Readonly<Record<number, number>> = {
  [SLICE_TYPE.AXIAL]: 2, [SLICE_TYPE.CORONAL]: 1, [SLICE_TYPE.SAGITTAL]: 0,
};
/** What one step to the right and one down on the screen are along these axes; patients' right is at the left. */
const STEPS = {
  axial: { right: [-1, 0, 0], down: [0, -1, 0] },
  coronal: { right: [-1, 0, 0], down: [0, 0, -1] },
  sagittal: { right: [0, -1, 0], down: [0, 0, -1] },
} as const;
const STEPS_BACK = 16;
/** Width of the crosshair's lines in percent of the image, at zoom 1. */
const CROSSHAIR = 0.3;

type Triple = [number, number, number];

export class VolumeView implements Viewer {
  onChange: () => void = () => {};
  readonly stepsBack = STEPS_BACK - 1;
  private plane: Plane = "axial";
  private readonly overlays = new Map<number, { image: NVImage; style: Style }>();
  /** Number of the answer whose mask is corrected. */
  private edits: number | null = null;
  private strokes = 0;

  private constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly niivue: Niivue,
    private readonly opened: Window,
    private readonly sliceAxis: number,
    private readonly placed: boolean,
  ) {}

  /** `sliceAxis` is the axis of the file, from 0, along which slices lie; what is not `placed` has no sides to name. */
  static async open(canvas: HTMLCanvasElement, content: Blob, sliceAxis: number, placed: boolean): Promise<VolumeView> {
    const niivue = new Niivue({
      interactive: false,
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isOrientationTextVisible: placed,
      sliceType: SLICE_TYPE.AXIAL,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.39, 0.73, 0.9, 0.8],
      crosshairWidth: CROSSHAIR,
      crosshairWidthUnit: "percent",
      crosshairGap: 6,
      fontColor: [0.75, 0.75, 0.75, 1],
      fontMinPx: 13,
      loadingText: "",
      logLevel: "silent",
      maxDrawUndoBitmaps: STEPS_BACK,
      is2DSliceShader: false,
    });
    await niivue.attachToCanvas(canvas, false);
    const image = await read(content, "image.nii.gz");
    image.colorbarVisible = false;
    const view = new VolumeView(canvas, niivue, toWindow(image), sliceAxis, placed);
    try {
      checkSize(image, niivue.gl);
      niivue.addVolume(image);
    } catch (error) {
      view.close();
      throw error;
    }
    view.goTo(view.voxel()); // of an even number of slices, NiiVue shows the middle two at once
    return view;
  }

  setPlane(plane: Plane): void {
    this.plane = plane;
    this.niivue.setSliceType(TYPES[plane]);
    this.onChange();
  }

  /** The plane of the series' slices. */
  acquired(): Plane {
    const axis = (this.image().permRAS ?? []).findIndex((each) => Math.abs(each) === this.sliceAxis + 1);
    return (["sagittal", "coronal", "axial"] as const)[axis] ?? "axial";
  }

  sliceCount(): number {
    return this.dims()[AXES[this.plane]];
  }

  slice(): number {
    return this.voxel()[AXES[this.plane]];
  }

  showSlice(index: number): void {
    const voxel = this.voxel();
    voxel[AXES[this.plane]] = Math.min(Math.max(0, index), this.sliceCount() - 1);
    this.goTo(voxel);
  }

  async setLayers(layers: readonly Layer[], style: Style): Promise<void> {
    const wanted = new Set(layers.map((each) => each.number));
    for (const [number, { image, style: drawn }] of this.overlays) {
      if (wanted.has(number) && drawn === style) continue;
      this.niivue.removeVolume(image);
      this.overlays.delete(number);
    }
    for (const layer of layers) await this.setLayer(layer, style);
    this.niivue.updateGLVolume();
  }

  pan(from: Point, to: Point): void {
    const [start, end] = [this.at(from), this.at(to)];
    if (!start || !end) return;
    const zoom = this.view()[3];
    const [before, after] = [triple(this.niivue.frac2mm(start.place)), triple(this.niivue.frac2mm(end.place))];
    const moved = triple(this.view().map((value, axis) => value + zoom * ((after[axis] ?? 0) - (before[axis] ?? 0))));
    this.show([...moved, zoom]);
    this.onChange();
  }

  zoom(factor: number, at: Point | null): void {
    const view = this.view();
    const next = Math.min(Math.max(view[3] * factor, 0.25), 32);
    const centre = (at && this.at(at)?.place) ?? this.niivue.scene.crosshairPos;
    const millimetres = triple(this.niivue.frac2mm(centre));
    const moved = triple(view.map((value, axis) => value + (view[3] - next) * (millimetres[axis] ?? 0)));
    this.show([...moved, next]);
    this.onChange();
  }

  reset(): void {
    this.show([0, 0, 0, 1]);
    this.setWindow(this.opened);
  }

  window(): Window {
    return toWindow(this.image());
  }

  openedWindow(): Window {
    return this.opened;
  }

  setWindow({ centre, width }: Window): void {
    const image = this.image();
    image.cal_min = centre - width / 2;
    image.cal_max = centre + width / 2;
    this.niivue.updateGLVolume();
    this.onChange();
  }

  pointAt(at: Point): void {
    const found = this.at(at);
    if (found) this.goTo(triple(this.niivue.frac2vox(found.place)));
  }

  describe(at: Point | null): string {
    const place = at ? this.at(at)?.place : this.niivue.scene.crosshairPos;
    if (!place) return "";
    const [x, y, z] = triple(this.niivue.frac2vox(place));
    const value = this.image().getValue(x, y, z);
    const voxel = `Voxel ${x}, ${y}, ${z}: ${Number.isInteger(value) ? value : value.toPrecision(4)}`;
    if (!this.placed) return voxel;
    const [right, front, head] = triple(this.niivue.frac2mm(place));
    const said = [side(right, "left", "right"), side(front, "back", "front"), side(head, "feet", "head")].join(", ");
    return `${voxel} · ${said} (mm)`;
  }

  step(right: number, down: number): void {
    const steps = STEPS[this.plane === "all" ? "axial" : this.plane];
    const voxel = this.voxel();
    for (const axis of [0, 1, 2] as const) voxel[axis] += right * steps.right[axis] + down * steps.down[axis];
    this.goTo(voxel);
  }

  async startEditing(layer: Layer): Promise<void> {
    const volume = await read(layer.mask, "mask.nii.gz");
    if (!this.niivue.loadDrawing(volume)) throw new Error("The mask lies on another grid than the image.");
    const [red, green, blue] = layer.colour;
    this.niivue.drawLut = cmapper.makeDrawLut({
      R: [0, red], G: [0, green], B: [0, blue], A: [0, 255], I: [0, 1], labels: ["", "mask"],
    });
    this.niivue.setDrawOpacity(0.6);
    this.edits = layer.number;
    this.strokes = 0;
  }

  paint(from: Point, to: Point, brush: Brush): void {
    const [start, end] = [this.at(from), this.at(to)];
    if (!start || !end || start.type !== end.type || end.type > SLICE_TYPE.SAGITTAL) return;
    const [first, last] = [triple(this.niivue.frac2vox(start.place)), triple(this.niivue.frac2vox(end.place))];
    const steps = Math.max(1, ...first.map((value, axis) => Math.abs((last[axis] ?? 0) - value)));
    for (let step = 0; step <= steps; step++) {
      const between = first.map((value, axis) => Math.round(value + (((last[axis] ?? 0) - value) * step) / steps));
      this.disc(triple(between), ACROSS[end.type] ?? 2, brush);
    }
    this.niivue.refreshDrawing(true);
  }

  dab(brush: Brush): void {
    this.disc(this.voxel(), AXES[this.plane], brush);
    this.niivue.refreshDrawing(true);
    this.endStroke();
  }

  endStroke(): void {
    if (this.edits === null) return;
    this.niivue.drawAddUndoBitmap();
    this.strokes = Math.min(this.strokes + 1, this.stepsBack);
  }

  showBrush(): void {}

  undo(): boolean {
    if (this.strokes === 0) return false;
    this.strokes -= 1;
    this.niivue.drawUndo();
    return true;
  }

  async edited(): Promise<{ content: Blob; name: string }> {
    const saved = await this.niivue.saveImage({ filename: "", isSaveDrawing: true, volumeByIndex: 0 });
    if (!(saved instanceof Uint8Array)) throw new Error("No mask is being corrected");
    return { content: new Blob([saved as Uint8Array<ArrayBuffer>]), name: "mask.nii" };
  }

  stopEditing(): void {
    if (this.edits === null) return;
    this.niivue.closeDrawing();
    this.edits = null;
  }

  follow(other: Viewer): void {
    if (!(other instanceof VolumeView)) return;
    if (this.plane !== other.plane) {
      this.plane = other.plane;
      this.niivue.setSliceType(TYPES[other.plane]);
    }
    this.niivue.scene.crosshairPos = triple(other.niivue.scene.crosshairPos);
    const [one, two] = [this.window(), other.window()];
    if (one.centre !== two.centre || one.width !== two.width) {
      this.image().cal_min = other.image().cal_min as number;
      this.image().cal_max = other.image().cal_max as number;
      this.niivue.updateGLVolume();
    }
    this.show(other.view());
  }

  close(): void {
    this.niivue.cleanup();
    this.niivue.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  private async setLayer(layer: Layer, style: Style): Promise<void> {
    const isProbability = style === "probability";
    const content = isProbability ? layer.probability : layer.mask;
    if (!content) return;
    const colormap = this.colormap(layer.colour, isProbability);
    let overlay = this.overlays.get(layer.number);
    if (!overlay) {
      const image = await read(content, isProbability ? "probability.nii.gz" : "mask.nii.gz");
      if (style === "outline") keepRim(image, this.sliceAxis);
      image.cal_min = 0;
      image.cal_max = 1;
      image.colorbarVisible = false;
      image.colormap = colormap;
      overlay = { image, style };
      this.overlays.set(layer.number, overlay);
      this.niivue.addVolume(image);
    }
    overlay.image.colormap = colormap;
    const drawn = style === "outline" ? Math.min(1, 2.5 * layer.opacity) : layer.opacity;
    overlay.image.opacity = layer.number === this.edits ? 0 : drawn;
  }

  /** One colour; where it shows a probability, the less so the smaller. */
  private colormap([red, green, blue]: Colour, graded: boolean): string {
    const name = `vesalius ${red} ${green} ${blue} ${graded}`;
    this.niivue.addColormap(name, {
      R: [red, red], G: [green, green], B: [blue, blue], A: [0, 255], I: graded ? [0, 255] : [127, 128],
    });
    return name;
  }

  /** A round spot within a slice; `across` is the axis that runs through it. */
  private disc(centre: Triple, across: number, { radius, erase }: Brush): void {
    const values = this.niivue.drawBitmap;
    if (!values) return;
    const dims = this.dims();
    const spacing = triple(this.image().pixDimsRAS?.slice(1) ?? [1, 1, 1]);
    const [first, second] = [0, 1, 2].filter((axis) => axis !== across) as [0 | 1, 1 | 2];
    const reach = radius * Math.min(spacing[first], spacing[second]);
    const strides = [1, dims[0], dims[0] * dims[1]] as const;
    const start = strides[0] * centre[0] + strides[1] * centre[1] + strides[2] * centre[2];
    const [wide, high] = [Math.ceil(reach / spacing[first]), Math.ceil(reach / spacing[second])];
    for (let x = -wide; x <= wide; x++) {
      for (let y = -high; y <= high; y++) {
        const [column, row] = [centre[first] + x, centre[second] + y];
        if (column < 0 || row < 0 || column >= dims[first] || row >= dims[second]) continue;
        if (Math.hypot(x * spacing[first], y * spacing[second]) > reach) continue;
        values[start + strides[first] * x + strides[second] * y] = erase ? 0 : 1;
      }
    }
  }

  /** Place in the volume, 0 to 1 along each axis, and the plane that shows it there. */
  private at(point: Point): { place: Triple; type: number } | null {
    const ratio = this.canvas.width / Math.max(1, this.canvas.clientWidth);
    const [x, y] = [point.x * ratio, point.y * ratio];
    const tile = this.niivue.tileIndex(x, y);
    if (tile < 0) return null;
    const place = triple(this.niivue.screenXY2TextureFrac(x, y, tile, true));
    const type = this.niivue.screenSlices[tile]?.axCorSag;
    return place[0] < 0 || type === undefined ? null : { place, type };
  }

  private image(): NVImage {
    return this.niivue.volumes[0] as NVImage;
  }

  private dims(): Triple {
    return triple(this.image().dimsRAS?.slice(1) ?? []);
  }

  private view(): [number, number, number, number] {
    const view = this.niivue.scene.pan2Dxyzmm;
    return [...triple(view), view[3] ?? 1];
  }

  private show(view: [number, number, number, number]): void {
    this.niivue.setCrosshairWidth(CROSSHAIR / view[3]); // as wide as before on the screen
    this.niivue.setPan2Dxyzmm([...view]);
  }

  private voxel(): Triple {
    return triple(this.niivue.frac2vox(this.niivue.scene.crosshairPos));
  }

  private goTo(voxel: Triple): void {
    const dims = this.dims();
    const [x, y, z] = voxel.map((value, axis) => Math.min(Math.max(0, value), (dims[axis] ?? 1) - 1));
    this.niivue.scene.crosshairPos = this.niivue.vox2frac([x ?? 0, y ?? 0, z ?? 0]);
    this.niivue.drawScene();
    this.onChange();
  }
}

function triple(vector: ArrayLike<number>): Triple {
  return [vector[0] ?? 0, vector[1] ?? 0, vector[2] ?? 0];
}

function toWindow(image: NVImage): Window {
  const [low, high] = [image.cal_min ?? 0, image.cal_max ?? 1];
  return { centre: (low + high) / 2, width: high - low };
}

function side(millimetres: number, negative: string, positive: string): string {
  return `${Math.abs(millimetres).toFixed(0)} ${millimetres < 0 ? negative : positive}`;
}
