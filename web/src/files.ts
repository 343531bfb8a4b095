/** Files that are chosen or dropped, folders with all that is in them. */

import type { Sent } from "./api";
import { byId } from "./dom";

/** Call `open` with the files whenever some are chosen or dropped anywhere on the page; `fail` if they cannot be read. */
export function onFiles(open: (files: readonly Sent[]) => void, fail: (error: unknown) => void): void {
  for (const [trigger, id] of [["choose", "files"], ["another", "files"], ["choose-folder", "folder"]] as const) {
    const input = byId(id, HTMLInputElement);
    byId(trigger, HTMLButtonElement).addEventListener("click", () => input.click());
  }
  for (const id of ["files", "folder"]) {
    const input = byId(id, HTMLInputElement);
    input.addEventListener("change", () => {
      const files = [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      input.value = "";
      if (files.length > 0) open(files);
    });
  }
  let depth = 0;
  const mark = (change: number) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", () => mark(1));
  addEventListener("dragleave", () => mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-depth);
    void dropped(event.dataTransfer).then((files) => files.length > 0 && open(files), fail);
  });
}

async function dropped(transfer: DataTransfer | null): Promise<Sent[]> {
  if (!transfer) return [];
  const plain = [...transfer.files].map((file) => ({ file, path: file.name }));
  const entries = [...transfer.items].map((each) => each.webkitGetAsEntry()).filter((each) => each !== null);
  if (!entries.some((each) => each.isDirectory)) return plain;
  return (await Promise.all(entries.map(within))).flat();
}

async function within(entry: FileSystemEntry): Promise<Sent[]> {
  if (entry instanceof FileSystemFileEntry) {
    const file = await new Promise<File>((found, lost) => entry.file(found, lost));
    return [{ file, path: entry.fullPath.replace(/^\/+/, "") }];
  }
  if (!(entry instanceof FileSystemDirectoryEntry)) return [];
  const reader = entry.createReader();
  const found: Sent[] = [];
  for (;;) {
    // A reader gives a hundred entries at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((read, lost) => reader.readEntries(read, lost));
    if (some.length === 0) return found;
    for (const each of some) found.push(...(await within(each)));
  }
}
