/** Volumes and masks as NiiVue holds them. */

import { NVImage } from "@niivue/niivue";

export async function read(content: Blob, name: string): Promise<NVImage> {
  return NVImage.loadFromUrl({ url: name, name, buffer: await content.arrayBuffer() });
}

/**
 * Refuse what the graphics card cannot hold as one texture: NiiVue would draw it in the order of its file, with left and
 * right exchanged, and no mask over it.
 */
export function checkSize(image: NVImage, gl: WebGL2RenderingContext): void {
  const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE) as number;
  const sides = image.hdr?.dims.slice(1, 4) ?? [];
  if (sides.every((each) => each <= most)) return;
  throw new Error(
    `This volume of ${sides.join(" × ")} voxels is too large for this browser to draw, which takes ${most} along each side. ` +
      "Phrases can be asked all the same, and their masks downloaded.",
  );
}

/** Keep those voxels of a mask that touch its outside within their slice. */
export function keepRim(image: NVImage, sliceAxis: number): void {
  const values = image.img as Uint8Array;
  const [, width = 1, height = 1, depth = 1] = image.hdr?.dims ?? [];
  const strides = [1, width, width * height];
  const sizes = [width, height, depth];
  const within = [0, 1, 2].filter((axis) => axis !== sliceAxis);
  image.img = values.map((value, place) => {
    if (!value) return 0;
    const isRim = within.some((axis) => {
      const [stride, size] = [strides[axis] as number, sizes[axis] as number];
      const at = Math.floor(place / stride) % size;
      return at === 0 || at === size - 1 || !values[place - stride] || !values[place + stride];
    });
    return isRim ? 1 : 0;
  });
}
